import { StepError, toStepError } from '../core/errors.ts'
import {
  type ApplicationPlace,
  type Surroundings,
  type Workplace,
  withApplication,
  workplaceOf,
} from './effects/environment.ts'
import { readTls } from './routes/tls.ts'
import type { Role } from './settings/roles.ts'
import type { ServerSettings } from './settings/settings.ts'

/** INPUT_INVALID names all that is wrong with the files that the settings name. */
export async function checkFiles(
  role: Role,
  around: Surroundings & { settings: ServerSettings },
): Promise<void> {
  const { settings } = around
  const { listen, folder } = settings
  if (listen.tls) await readTls(listen.tls, folder)
  const faults = role === 'receive' ? [] : await applicationFaults(settings, workplaceOf(around))
  if (faults.length === 0) return
  throw new StepError('INPUT_INVALID', faults.join('\n'), {
    hint: 'The server would start; what needs these files fails until they are mended.',
  })
}

/** An application that a route or a schedule works with, and the environments it names. */
interface Use extends ApplicationPlace {
  who: string
  environments: readonly string[]
}

/** What is wrong with the applications on this worker; what needs one of these fails until then. */
export async function applicationFaults(
  settings: ServerSettings,
  place: Workplace,
): Promise<string[]> {
  const faults = await Promise.all(usesOf(settings).map((use) => faultOf(use, place)))
  return faults.filter((one) => one !== undefined)
}

export function usesOf({ routes, schedules }: ServerSettings): Use[] {
  return [
    ...routes.flatMap(({ name, run, gate, reply }) => {
      const { folder, variables = {} } = run ?? gate ?? reply ?? {}
      const environments = run?.env === undefined ? (gate?.environments ?? []) : [run.env]
      return folder === undefined ? [] : [{ who: `route ${name}`, folder, variables, environments }]
    }),
    ...schedules.map(({ name, folder, variables, env }) => ({
      ...{ who: `schedule ${name}`, folder, variables },
      environments: env === undefined ? [] : [env],
    })),
  ]
}

async function faultOf(use: Use, place: Workplace): Promise<string | undefined> {
  const { who, environments } = use
  try {
    return await withApplication(use, place, AbortSignal.timeout(10_000), async (application) => {
      application.requireEnvironments(environments)
      const unset = application.unsetFor(environments)
      if (unset.length === 0) return undefined
      const { file } = application
      const lines = unset.map(({ name, line }) => `${file}:${line} variable ${name} is not set`)
      return [...new Set(lines)].map((line) => `${who}: ${line}`).join('\n')
    })
  } catch (error) {
    return toStepError(error).message.replaceAll(/^/gm, `${who}: `)
  }
}
