import type { z } from 'zod'
import type { ImageBuilder } from '../builder/builder.ts'
import type { KeyRing } from '../config/rules/encryption.ts'
import type { ConfigStore } from '../config/store/store.ts'
import type { HttpClient } from '../core/http/client.ts'
import type { Log } from '../core/log.ts'
import type { Secrets } from '../core/secrets.ts'
import type { PlatformApproval } from '../gitlab/approvals.ts'
import type { Who } from '../identity/who.ts'
import type { Journal } from '../ledger/journal.ts'
import type { Ledger, ProvenApproval } from '../ledger/ledger.ts'
import type { RegistryClient } from '../registry/types.ts'
import type { EnvironmentSettings, Settings } from '../settings.ts'
import type { Target } from '../targets/target.ts'
import type { Plan } from './plan/schema.ts'

/** The part of an environment that its target is opened with. */
export type TargetSettings = Pick<
  EnvironmentSettings,
  'kind' | 'hosts' | 'containerName' | 'container'
> &
  Partial<Pick<EnvironmentSettings, 'name'>>

/** A step, as far as a server has to know it. */
export interface RemoteStep {
  name: string
  inputs: z.ZodObject
  outputs: z.ZodObject
  ci?: { environment?: 'change' | 'verify' | 'prepare'; proven?: true }
}

/** Runs steps elsewhere, and makes it look as if they ran here: their log, their errors, their outputs. */
export interface StepServer {
  run(step: RemoteStep, given: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>>
  plan(step: RemoteStep, given: Readonly<Record<string, unknown>>): Promise<Plan>
  /** Allots a version; `environment` is the first one. */
  nextVersion(app: string, environment: string): Promise<string>
  /** Records an image that was pushed, by the step record-release. */
  recordRelease(given: { image: string; env: string; reason?: string }): Promise<void>
}

/**
 * What a step may ask for. Drivers are functions: each is built on first use, so a step that never
 * uses the ledger never loads a database.
 */
export interface Context {
  /** The folder all relative paths start from. */
  readonly cwd: string
  readonly log: Log
  readonly secrets: Secrets
  readonly signal: AbortSignal
  hasSettings(): Promise<boolean>
  /** crosscloud.yml; INPUT_INVALID, with the next step, when there is none. */
  settings(): Promise<Settings>
  /** An environment of it; INPUT_INVALID, listing the known environments, for any other name. */
  environment(name: string): Promise<EnvironmentSettings>
  registry(): Promise<RegistryClient>
  /** For the server of these settings: the authority in the PEM file `ca` is trusted, too. */
  http(owner: string, ca: string | undefined): Promise<HttpClient>
  ledger(): Promise<Ledger>
  /** INPUT_INVALID when what a job writes into the ledger would not be there for the next job. */
  requireLedger(): Promise<void>
  /** Records for the ledger that wait on this machine until it can be reached. */
  journal(): Promise<Journal>
  configStore(environment: EnvironmentSettings): Promise<ConfigStore>
  /** The keys for its encrypted values, where any are given. */
  configKeys(environment: EnvironmentSettings): Promise<KeyRing | undefined>
  /** Where an environment runs; each call opens it anew. */
  target(environment: TargetSettings): Promise<Target>
  /**
   * A Docker Engine that builds images: at this address, else where `DOCKER_HOST` says, else at the
   * local socket. `certificates` is a folder with ca.pem, cert.pem and key.pem.
   */
  imageBuilder(engine: {
    address: string | undefined
    certificates: string | undefined
  }): Promise<ImageBuilder>
  /** Who does this, why and from where, as far as the process environment shows. */
  readonly actor: Actor
  /** Who does this in an environment, by a signed token where crosscloud.yml requires it. */
  identify(
    environment: string | undefined,
    how: { required: boolean; strict: boolean; tokenless?: boolean },
  ): Promise<Who>
  /** Why an approval that is in the ledger proves nothing; undefined when it does. */
  doubt(environment: string, approval: ProvenApproval): Promise<string | undefined>
  /** Approvals of a deployment job on GitLab itself. */
  platformApprovals(jobId: string, environment: string): Promise<PlatformApproval[]>
  /** Folder for what must outlive this command on this machine. */
  readonly stateFolder: string
  /** Folder for caches that may be deleted at any time. */
  readonly cacheFolder: string
  /**
   * What this user's runs seal the records of that folder with; CI hands it from one branch to
   * another. Undefined where only the working tree could keep it, which everyone who pushes can read.
   */
  sealKey(): Promise<Buffer | undefined>
  /**
   * Folder for code that this user's next run executes. Never CROSSCLOUD_CACHE: CI hands that from
   * one branch to another. Undefined where it would be in the working tree: what was committed there
   * would be executed.
   */
  readonly codeCacheFolder: string | undefined
  /** The server that steps run on, where one is named; undefined: they run here. */
  server?(): Promise<StepServer | undefined>
  /** A value from the process's environment; only for what is documented as such. */
  variable(name: string): string | undefined
}

export interface Actor {
  by: string
  /** Who wrote the commit, where CI provides it. */
  author: string | undefined
  branch: string | undefined
  commit: string | undefined
  pipelineUrl: string | undefined
  jobUrl: string | undefined
  /** When the commit was made; ISO 8601, UTC. */
  committedAt: string | undefined
}
