import { StepError, toStepError } from '../core/errors.ts'
import { wait } from '../core/retry.ts'
import type { StatusCell } from '../ledger/ledger.ts'
import type { EnvironmentSettings } from '../settings.ts'
import type { Host } from '../target/target.ts'
import type { Context } from './step.ts'
import { containerLabels } from './verification.ts'

/** What a host says of the container that the ledger believes to run there. */
export interface LiveState {
  app: string
  environment: string
  host: string
  healthy: boolean
  /** `runs, as the ledger says`, or what is wrong, in words. */
  state: string
}

/** Asks the hosts of this application's environments, all at once; a silent one is told as such. */
export async function lookAtHosts(
  cells: readonly StatusCell[],
  context: Context,
): Promise<LiveState[]> {
  const { app, environments } = await context.settings()
  const ours = cells.filter(
    (cell) => cell.app === app && Object.hasOwn(environments, cell.environment),
  )
  const states = await Promise.all(
    ours.map(async (cell) => {
      const environment = await context.environment(cell.environment)
      const hosts = await openEach(environment, context)
      return Promise.all(hosts.map((host) => look(cell, environment, host)))
    }),
  )
  return states.flat()
}

/** milliseconds */
const PATIENCE = 10_000

async function within<T>(patience: number, host: string, work: Promise<T>): Promise<T> {
  const stop = new AbortController()
  const late = wait(patience, stop.signal).then(() => {
    throw new StepError('UNAVAILABLE', `host ${host} said nothing for ${patience / 1000} s`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    stop.abort()
    late.catch(() => {})
  }
}

/** A host that cannot be reached must not hide the others. */
async function openEach(environment: EnvironmentSettings, context: Context) {
  return Promise.all(
    environment.hosts.map(async (address): Promise<Host | { name: string; fault: string }> => {
      try {
        const [host] = await context.hosts({ ...environment, hosts: [address] })
        return host ?? { name: address.name, fault: 'is not known' }
      } catch (error) {
        return { name: address.name, fault: toStepError(error).message }
      }
    }),
  )
}

async function look(
  { app, environment, current }: StatusCell,
  { containerName }: EnvironmentSettings,
  host: Host | { name: string; fault: string },
): Promise<LiveState> {
  const tell = (healthy: boolean, state: string) => ({
    ...{ app, environment, host: host.name, healthy, state },
  })
  if ('fault' in host) return tell(false, host.fault)
  try {
    const container = await within(PATIENCE, host.name, host.inspect(containerName))
    if (!container) return tell(current === undefined, `there is no ${containerName}`)
    if (!container.running) return tell(false, `${containerName} is stopped`)
    const deployment = container.labels[containerLabels.deployment]
    const version = container.labels[containerLabels.version]
    if (deployment === current?.deployment) return tell(true, 'runs, as the ledger says')
    return tell(
      false,
      `runs ${version ?? 'something else'} of ${deployment ?? 'nobody'}, not what the ledger says`,
    )
  } catch (error) {
    return tell(false, toStepError(error).message)
  }
}
