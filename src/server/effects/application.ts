import { resolve } from 'node:path'
import { createContext, type OpenContext } from '../../context.ts'
import { StepError } from '../../core/errors.ts'
import { silentLog } from '../../core/log.ts'
import type { Ledger, Release } from '../../ledger/ledger.ts'
import { resolveEnvironment } from '../../settings.ts'
import type { EventFacts } from '../sources/event.ts'
import { asPassable, type Outcome } from './effect.ts'
import type { WorkerEnvironment } from './worker-environment.ts'

/** An application on this worker: its crosscloud.yml and its ledger. */
export interface Application {
  file: string
  app: string
  /** Environments whose image repository this is, in the order of the file. */
  following(image: NonNullable<EventFacts['image']>): string[]
  /** Environments with a gate. */
  gated: string[]
  /** INPUT_INVALID when one of them is not in the file. */
  requireEnvironments(names: readonly string[]): void
  /** Variables that these environments need and that are not set; of all, when none is named. */
  unsetFor(environments: readonly string[]): { name: string; line: number }[]
  /**
   * Undefined for a repository of another application: anybody may copy an image to his own. Throws
   * UNAVAILABLE while the release may still be recorded: its image is pushed before.
   */
  releaseOf(image: NonNullable<EventFacts['image']>, since: number): Promise<Release | undefined>
  /**
   * Why an image that only got a new tag must not be deployed: it ran there before, or a newer release
   * was deployed there.
   */
  overtaken(release: Release, environment: string): Promise<string | undefined>
  releaseOfCommit(commit: string): Promise<Release | undefined>
  ledger(): Promise<Ledger>
}

/** The outcome for an image of another application. */
export function isNotOf(
  app: string,
  { registry, repository }: NonNullable<EventFacts['image']>,
): Outcome {
  const text = `no environment of ${app} has its image in ${registry}/${repository}: nothing was done`
  return { text, state: 'succeeded' }
}

/** The folder of an application on this worker, and the variables for its crosscloud.yml. */
export interface ApplicationFolder {
  folder: string
  variables: Readonly<Record<string, string>>
}

/** How long after the push of an image its release may be recorded. */
const LATE = 15 * 60_000
const RECENT = 500

/** Opens an application of this worker, and closes it when the work is done. */
export async function withApplication<T>(
  { folder, variables }: ApplicationFolder,
  worker: WorkerEnvironment,
  signal: AbortSignal,
  work: (application: Application) => Promise<T>,
): Promise<T> {
  const context = createContext({
    cwd: resolve(worker.folder, folder),
    secrets: worker.secrets,
    signal,
    log: silentLog,
    variables: { ...worker.variables, ...variables },
  })
  try {
    return await work(await describeApplication(context))
  } finally {
    await context.close()
  }
}

async function describeApplication(context: OpenContext): Promise<Application> {
  const settings = await context.settings()
  const { app, environments, file } = settings
  const named = Object.entries(environments)
  const following: Application['following'] = ({ registry, repository }) =>
    named
      .filter(([, { image }]) => image.registry === registry && image.name === repository)
      .map(([name]) => name)
  return {
    file,
    app,
    following,
    ledger: context.ledger,
    gated: named.filter(([, { gate }]) => gate !== undefined).map(([name]) => name),
    requireEnvironments: (names) =>
      names.forEach((name) => void resolveEnvironment(settings, name)),
    unsetFor: (names) =>
      settings.variables.filter(({ state, path: [part, environment = ''] }) => {
        if (state !== 'unset' && state !== 'empty') return false
        return part !== 'environments' || names.length === 0 || names.includes(environment)
      }),
    async releaseOf(image, since) {
      const { digest } = image
      if (following(image).length === 0) return undefined
      const ledger = await context.ledger()
      const found = await ledger.findReleaseByDigest(app, digest as Release['digest'])
      if (found) return found
      const code = Date.now() - since < LATE ? 'UNAVAILABLE' : 'NOT_FOUND'
      const message = `no release of ${app} in the ledger has the image ${digest}`
      const hint = 'Push images with crosscloud: what it does not know, it does not deploy.'
      throw asPassable(new StepError(code, message, { hint }))
    },
    overtaken: async (release, name) => findOvertaking(await context.ledger(), release, name),
    async releaseOfCommit(commit) {
      const ledger = await context.ledger()
      const recent = await ledger.releases(app, RECENT)
      return commit === '' ? undefined : recent.find((release) => release.commit === commit)
    },
  }
}

async function findOvertaking(
  ledger: Ledger,
  { app, version, bakedAt }: Release,
  environment: string,
): Promise<string | undefined> {
  const at = { app, environment, limit: 1 }
  const [newest] = await ledger.deployments(at)
  if (newest === undefined || newest.version === version) return undefined
  const [before] = await ledger.deployments({ ...at, version, state: 'succeeded' })
  if (before) return `it ran in ${environment} before ${newest.version}`
  const other = await ledger.findRelease(app, newest.version)
  return other && other.bakedAt > bakedAt
    ? `${newest.version}, which is newer, was deployed to ${environment}`
    : undefined
}
