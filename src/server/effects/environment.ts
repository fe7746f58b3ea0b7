import { resolve } from 'node:path'
import { z } from 'zod'
import { createContext, type OpenContext } from '../../context.ts'
import { StepError } from '../../core/errors.ts'
import { type Log, silentLog } from '../../core/log.ts'
import type { Secrets } from '../../core/secrets.ts'
import type { Ledger, Release } from '../../ledger/ledger.ts'
import { resolveEnvironment } from '../../settings.ts'
import type { EventFacts } from '../sources/event.ts'
import { asPassable, type Outcome } from './effect.ts'

/** What commands on this worker need to know of it. */
export interface Workplace {
  /** The folder of crosscloud.server.yml, where relative paths start. */
  folder: string
  /** The command line's own file. */
  program: string
  /** What every command sees of the environment: no secret of the server's. */
  environment: Readonly<Record<string, string>>
  log: Log
  secrets: Secrets
}

/** What a server was started with. */
export interface Surroundings extends Pick<Workplace, 'program' | 'log' | 'secrets'> {
  settings: { folder: string }
  variables: Readonly<Record<string, string | undefined>>
}

const HARMLESS =
  /^(?:PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|JAVA_HOME|MAVEN_OPTS|DOCKER_CONFIG|SSL_CERT_\w+|NODE_EXTRA_CA_CERTS|XDG_\w+|CROSSCLOUD_(?:STATE|CACHE)|(?:HTTPS?|NO|ALL)_PROXY)$/i

/** Of a route or schedule: what its command, and crosscloud.yml, see of the environment. */
export const commandVariables = z
  .record(z.string().regex(/^[A-Za-z_]\w*$/, 'is not the name of a variable'), z.string())
  .default({})
  .describe('What crosscloud.yml needs of the environment, beside PATH and HOME')

/** Of the server's own environment commands see only what is no secret; routes name the rest. */
export function workplaceOf({ settings: { folder }, variables, ...rest }: Surroundings): Workplace {
  const harmless = Object.entries(variables).filter(
    (one): one is [string, string] => one[1] !== undefined && HARMLESS.test(one[0]),
  )
  return { ...rest, folder, environment: Object.fromEntries(harmless) }
}

/** An application on this worker: what its crosscloud.yml and its ledger say. */
export interface Application {
  file: string
  app: string
  /** Environments whose image is kept in this repository, in the order of the file. */
  following(image: NonNullable<EventFacts['image']>): string[]
  /** Environments with a gate. */
  gated: string[]
  /** INPUT_INVALID when one of them is not in the file. */
  requireEnvironments(names: readonly string[]): void
  /** Variables that are not set here and that these environments need; all, where none is named. */
  unsetFor(environments: readonly string[]): { name: string; line: number }[]
  /**
   * Undefined where the repository is none of the application's: anybody may copy an image to his own.
   * UNAVAILABLE while the release may still be written: an image is pushed before it is recorded.
   */
  releaseOf(image: NonNullable<EventFacts['image']>, since: number): Promise<Release | undefined>
  /**
   * Why an image that is only tagged anew must not be deployed there: it ran there before, or something
   * newer does.
   */
  overtaken(release: Release, environment: string): Promise<string | undefined>
  releaseOfCommit(commit: string): Promise<Release | undefined>
  ledger(): Promise<Ledger>
}

/** What comes of an image that is another application's: nothing. */
export function isNotOf(
  app: string,
  { registry, repository }: NonNullable<EventFacts['image']>,
): Outcome {
  const text = `no environment of ${app} has its image in ${registry}/${repository}: nothing was done`
  return { text, state: 'succeeded' }
}

/** Where an application is on this worker. */
export interface ApplicationPlace {
  folder: string
  variables: Readonly<Record<string, string>>
}

/** How long after an image was pushed its release may be recorded. */
const LATE = 15 * 60_000
const RECENT = 500

/** Works with an application of this worker; what was opened for that is closed. */
export async function withApplication<T>(
  { folder, variables }: ApplicationPlace,
  place: Workplace,
  signal: AbortSignal,
  work: (application: Application) => Promise<T>,
): Promise<T> {
  const context = createContext({
    ...{ cwd: resolve(place.folder, folder), secrets: place.secrets, signal, log: silentLog },
    variables: { ...place.environment, ...variables },
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
    ...{ file, app, following },
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
      return commit === '' ? undefined : recent.find((one) => one.commit === commit)
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
