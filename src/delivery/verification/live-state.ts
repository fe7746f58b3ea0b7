import type { StepError } from '../../core/errors.ts'
import type { Deployment, StatusCell } from '../../ledger/ledger.ts'
import type { ContainerInfo } from '../../targets/docker/host.ts'
import type { Context } from '../context.ts'
import { type Answer, askHosts, isAnswer } from '../deployment/hosts.ts'
import { findTakenOut } from '../deployment/removed-hosts.ts'
import { containerLabels } from './verification.ts'

/** What a host says of the container that the ledger believes to run there. */
export interface LiveState {
  app: string
  environment: string
  host: string
  healthy: boolean
  /** Set when the host could not be asked. */
  fault?: StepError | undefined
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
  const deployments = await (await context.ledger()).current(app)
  const states = await Promise.all(
    ours.map(async (cell) => {
      const environment = await context.environment(cell.environment)
      const { containerName } = environment
      const current = deployments.find((one) => one.environment === cell.environment)
      const [answers, takenOut] = await Promise.all([
        askHosts(environment, context, (host) => host.inspect(containerName)),
        findTakenOut(app, environment, context),
      ])
      const states = [
        ...answers.map((answer) => ({
          ...{ host: answer.name, ...judge(answer, current, containerName) },
        })),
        ...takenOut.map((one) => ({ ...one, healthy: false })),
      ]
      return states.map((state) => ({ app, environment: cell.environment, ...state }))
    }),
  )
  return states.flat()
}

function judge(
  answer: Answer<ContainerInfo | undefined>,
  current: Deployment | undefined,
  name: string,
): Pick<LiveState, 'healthy' | 'state' | 'fault'> {
  if (!isAnswer(answer)) return { healthy: false, state: answer.fault.message, fault: answer.fault }
  const container = answer.value
  const recorded = current?.hosts.find(({ host }) => host === answer.name)
  const left = recorded?.ok === false ? `was left out of ${current?.id}: ` : ''
  const tell = (healthy: boolean, state: string) => ({ healthy, state: left + state })
  if (!container) return tell(current === undefined, `there is no ${name}`)
  if (!container.running) return tell(false, `${name} is stopped`)
  const deployment = container.labels[containerLabels.deployment]
  const version = container.labels[containerLabels.version]
  // A deployment to other hosts, which were behind, leaves the container of the one before.
  const isKept = recorded?.ok && recorded.containerId === container.id
  if (deployment === current?.id || isKept) return tell(true, 'runs, as the ledger says')
  return tell(
    false,
    `runs ${version ?? 'something else'} of ${deployment ?? 'nobody'}, not what the ledger says`,
  )
}
