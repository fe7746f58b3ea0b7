import type { StatusCell } from '../ledger/ledger.ts'
import type { ContainerInfo } from '../target/target.ts'
import { type Answer, askHosts, isAnswer } from './hosts.ts'
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
      const { containerName } = environment
      const answers = await askHosts(environment, context, (host) => host.inspect(containerName))
      return answers.map((answer) => ({
        ...{ app, environment: cell.environment, host: answer.name },
        ...judge(answer, cell, containerName),
      }))
    }),
  )
  return states.flat()
}

function judge(
  answer: Answer<ContainerInfo | undefined>,
  { current }: StatusCell,
  name: string,
): Pick<LiveState, 'healthy' | 'state'> {
  const tell = (healthy: boolean, state: string) => ({ healthy, state })
  if (!isAnswer(answer)) return tell(false, answer.fault.message)
  const container = answer.value
  if (!container) return tell(current === undefined, `there is no ${name}`)
  if (!container.running) return tell(false, `${name} is stopped`)
  const deployment = container.labels[containerLabels.deployment]
  const version = container.labels[containerLabels.version]
  if (deployment === current?.deployment) return tell(true, 'runs, as the ledger says')
  return tell(
    false,
    `runs ${version ?? 'something else'} of ${deployment ?? 'nobody'}, not what the ledger says`,
  )
}
