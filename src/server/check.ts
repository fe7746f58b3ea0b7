import { StepError, toStepError } from '../core/errors.ts'
import { readPemFile } from '../core/files/tls-files.ts'
import { type ApplicationFolder, withApplication } from './effects/application.ts'
import {
  type ProcessEnvironment,
  type WorkerEnvironment,
  workerEnvironmentOf,
} from './effects/worker-environment.ts'
import { readTls } from './routes/tls.ts'
import type { Role } from './settings/roles.ts'
import type { ServerSettings } from './settings/settings.ts'

/** INPUT_INVALID lists all problems of the files that the settings name. */
export async function checkFiles(
  role: Role,
  environment: ProcessEnvironment & { settings: ServerSettings },
): Promise<void> {
  const { settings } = environment
  const { listen, folder } = settings
  if (listen.tls) await readTls(listen.tls, folder)
  for (const [name, { ca }] of Object.entries(settings.logins?.issuers ?? {})) {
    if (ca !== undefined) await readPemFile(ca, { folder, owner: `logins.issuers.${name}` })
  }
  if (role === 'receive') return
  const problems = await applicationProblems(settings, workerEnvironmentOf(environment))
  if (problems.length === 0) return
  throw new StepError('INPUT_INVALID', problems.join('\n'), {
    hint: 'The server would start; what needs these files fails until they are right.',
  })
}

/** An application that a route or a schedule works with, and the environments it names. */
interface ApplicationUse extends ApplicationFolder {
  user: string
  environments: readonly string[]
}

/** Problems of the applications on this worker; a route or schedule with such a problem fails. */
export async function applicationProblems(
  settings: ServerSettings,
  worker: WorkerEnvironment,
): Promise<string[]> {
  const problems = await Promise.all(applicationUses(settings).map((use) => problemOf(use, worker)))
  return problems.filter((problem) => problem !== undefined)
}

export function applicationUses({ routes, schedules }: ServerSettings): ApplicationUse[] {
  return [
    ...routes.flatMap(({ name, run, gate, reply }) => {
      const { folder, variables = {} } = run ?? gate ?? reply ?? {}
      const environments = run?.env === undefined ? (gate?.environments ?? []) : [run.env]
      if (folder === undefined) return []
      return [{ user: `route ${name}`, folder, variables, environments }]
    }),
    ...schedules.map(({ name, folder, variables, env }) => ({
      user: `schedule ${name}`,
      folder,
      variables,
      environments: env === undefined ? [] : [env],
    })),
  ]
}

async function problemOf(
  use: ApplicationUse,
  worker: WorkerEnvironment,
): Promise<string | undefined> {
  const { user, environments } = use
  try {
    return await withApplication(use, worker, AbortSignal.timeout(10_000), async (application) => {
      application.requireEnvironments(environments)
      const unset = application.unsetFor(environments)
      if (unset.length === 0) return undefined
      const { file } = application
      const lines = unset.map(({ name, line }) => `${file}:${line} variable ${name} is not set`)
      return [...new Set(lines)].map((line) => `${user}: ${line}`).join('\n')
    })
  } catch (error) {
    return toStepError(error).message.replaceAll(/^/gm, `${user}: `)
  }
}
