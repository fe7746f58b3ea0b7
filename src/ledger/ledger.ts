import type { Digest } from '../core/digest.ts'

/** One immutable build, written `webapi@1.4.2`. */
export interface Release {
  app: string
  version: string
  digest: Digest
  baseDigest: Digest | undefined
  /** hex */
  warMd5: string
  /** hex */
  warSha256: string
  /** bytes */
  warSize: number
  /** The first repository it was pushed to, without tag. */
  repository: string
  commit: string | undefined
  branch: string | undefined
  author: string | undefined
  pipelineUrl: string | undefined
  reason: string | undefined
  bakedBy: string
  /** ISO 8601, UTC, milliseconds. */
  bakedAt: string
}

export const deploymentStates = ['running', 'succeeded', 'failed', 'abandoned'] as const
export type DeploymentState = (typeof deploymentStates)[number]

export interface HostOutcome {
  host: string
  containerId: string | undefined
  previousContainerId: string | undefined
  url: string | undefined
  ok: boolean
  /** milliseconds */
  duration: number
}

/** A release and a config revision put on an environment. */
export interface Deployment {
  id: string
  app: string
  version: string
  environment: string
  digest: Digest
  configRevision: string
  by: string
  reason: string | undefined
  state: DeploymentState
  /** ISO 8601, UTC. */
  startedAt: string
  finishedAt: string | undefined
  error: string | undefined
  hosts: HostOutcome[]
  /** Whether the WAR's MD5 and every file were compared in the running containers. */
  verified: boolean
}

export type DeploymentStart = Pick<
  Deployment,
  'app' | 'version' | 'environment' | 'digest' | 'configRevision' | 'by' | 'reason'
>

export interface DeploymentEnd {
  state: Exclude<DeploymentState, 'running'>
  error?: string | undefined
  hosts: HostOutcome[]
  verified: boolean
}

/** Held by whoever changes an application in an environment. */
export interface Lock {
  app: string
  environment: string
  owner: string
  reason: string
  /** Grows with every lock ever taken; a holder with an older one has lost it. */
  token: number
  expiresAt: string
}

export interface HistoryQuery {
  app?: string | undefined
  version?: string | undefined
  environment?: string | undefined
  state?: DeploymentState | undefined
  limit: number
}

/**
 * A value of the config centre as a record may hold it. `withheld`: there was one, a secret in
 * clear, that the ledger must not hold.
 */
export type KeptValue =
  | { state: 'absent' }
  | { state: 'kept'; text: string }
  | { state: 'withheld' }

export interface KeyChange {
  key: string
  before: KeptValue
  after: KeptValue
}

/** Keys that somebody changed at once. It is never edited, and never removed. */
export interface ConfigChangeSet {
  id: string
  /** Counts up in the order of recording, through all applications; times may not. */
  number: number
  app: string
  environment: string
  by: string
  reason: string | undefined
  /** ISO 8601, UTC. */
  at: string
  /** In the order they were given; each key once. */
  changes: KeyChange[]
}

export type ConfigChangeStart = Pick<
  ConfigChangeSet,
  'app' | 'environment' | 'by' | 'reason' | 'changes'
>

export interface ConfigChangeQuery {
  app?: string | undefined
  environment?: string | undefined
  /** Only change sets that have this key, and of them only its change. */
  key?: string | undefined
  /** The id of a change set: only those recorded after it. */
  after?: string | undefined
  /** The id of a change set: only those recorded before it. */
  before?: string | undefined
  limit: number
}

/**
 * The record of releases, deployments and config changes. A driver is a function that returns one of these; every
 * driver passes test/ledger/ledger-conformance.ts. Times are ISO 8601 in UTC.
 */
export interface Ledger {
  /** How people call it, without any secret. */
  readonly name: string
  /**
   * Hands out the next version of an application; two callers never get the same. The first is
   * 1.0.0; after x.y.9 comes x.(y+1).0, after x.9.9 (x+1).0.0.
   */
  nextVersion(app: string): Promise<string>
  /** Records a release. The same again changes nothing; another digest for a known version is CONFLICT. */
  recordRelease(release: Release): Promise<void>
  findRelease(app: string, version: string): Promise<Release | undefined>
  findReleaseByDigest(app: string, digest: Digest): Promise<Release | undefined>
  releases(app: string, limit: number): Promise<Release[]>
  /** Writes a deployment in state `running`, and closes as `abandoned` those left running before it under no lock. */
  startDeployment(start: DeploymentStart): Promise<Deployment>
  /** States go forward only: ending a deployment twice is CONFLICT. */
  endDeployment(id: string, end: DeploymentEnd): Promise<void>
  /** Newest first. */
  deployments(query: HistoryQuery): Promise<Deployment[]>
  /** The newest deployment that succeeded for each application and environment. */
  current(app?: string): Promise<Deployment[]>
  /** Keeps a config revision's content by its hash; values that are secret must not be in it. */
  recordConfigRevision(revision: string, content: string): Promise<void>
  findConfigRevision(revision: string): Promise<string | undefined>
  /** Records a change that was made: all its keys or none, at least one. */
  recordConfigChange(set: ConfigChangeStart): Promise<ConfigChangeSet>
  /** Newest first. NOT_FOUND when `after` or `before` is not in the ledger. */
  configChanges(query: ConfigChangeQuery): Promise<ConfigChangeSet[]>
  findConfigChange(id: string): Promise<ConfigChangeSet | undefined>
  /** Takes the lock, or CONFLICT naming its owner, reason and expiry. An expired lock is taken over. */
  lock(app: string, environment: string, owner: string, reason: string, ttl: number): Promise<Lock>
  /** The lock as it is held now, by whomever; undefined when there is none or it has expired. */
  findLock(app: string, environment: string): Promise<Lock | undefined>
  /** Makes the lock last `ttl` milliseconds from now; CONFLICT when it was lost. */
  heartbeat(lock: Lock, ttl: number): Promise<Lock>
  /** Gives the lock back. Changes nothing when it was lost: another's is never released. */
  unlock(lock: Lock): Promise<void>
  close(): Promise<void>
}
