import { z } from 'zod'
import type { Log } from '../../core/log.ts'
import type { Secrets } from '../../core/secrets.ts'

/** What the commands of this worker run with. */
export interface WorkerEnvironment {
  /** The folder of crosscloud.server.yml, where relative paths start. */
  folder: string
  /** The file of the command line program. */
  program: string
  /** The variables that every command sees; no secret of the server is among them. */
  variables: Readonly<Record<string, string>>
  log: Log
  secrets: Secrets
}

/** The process environment that a server was started with. */
export interface ProcessEnvironment extends Pick<WorkerEnvironment, 'program' | 'log' | 'secrets'> {
  settings: { folder: string }
  variables: Readonly<Record<string, string | undefined>>
}

const HARMLESS =
  /^(?:PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|JAVA_HOME|MAVEN_OPTS|DOCKER_(?:CONFIG|HOST|TLS_VERIFY|CERT_PATH)|SSL_CERT_\w+|GIT_SSL_CA(?:INFO|PATH)|NODE_EXTRA_CA_CERTS|XDG_\w+|CROSSCLOUD_(?:STATE|CACHE)|(?:HTTPS?|NO|ALL)_PROXY)$/i

/** Variables that a route or a schedule sets for its command and for crosscloud.yml. */
export const commandVariables = z
  .record(z.string().regex(/^[A-Za-z_]\w*$/, 'is not the name of a variable'), z.string())
  .default({})
  .describe('What crosscloud.yml needs of the environment, beside PATH and HOME')

/** Commands see only harmless variables of the server process; routes set the others. */
export function workerEnvironmentOf({
  settings: { folder },
  variables,
  program,
  log,
  secrets,
}: ProcessEnvironment): WorkerEnvironment {
  const harmless = Object.entries(variables).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && HARMLESS.test(entry[0]),
  )
  // A command of a server runs here, also where its crosscloud.yml names that server.
  const own = { ...Object.fromEntries(harmless), CROSSCLOUD_WORKER: 'true' }
  return { folder, variables: own, program, log, secrets }
}
