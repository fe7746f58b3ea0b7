import { StepError, toStepError } from '../../core/errors.ts'
import type { Deployment, StatusCell } from '../../ledger/ledger.ts'
import { instanceLabels } from '../../targets/labels.ts'
import { isOut, type ProxyPreview, type ServerState } from '../../targets/proxy.ts'
import { type HostResponse, isFailure } from '../../targets/responses.ts'
import { slotOf } from '../../targets/slot.ts'
import type { Instance, Target } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { findRemovedHosts } from '../deployment/removed-hosts.ts'

/** What runs on a host, compared with what the ledger expects there. */
export interface LiveState {
  app: string
  environment: string
  host: string
  healthy: boolean
  /** Set when the host did not respond. */
  error?: StepError | undefined
  /** `runs, as the ledger says`, or what is wrong, in words. */
  state: string
}

/** Asks the hosts of this application's environments, all at once; a silent host is in the result. */
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
      const current = deployments.find((each) => each.environment === cell.environment)
      const target = await context.target(environment)
      const [responses, proxy, takenOut] = await Promise.all([
        target.instances({ roles: ['current', 'next', 'previous'] }),
        findProxy(target),
        findRemovedHosts(app, environment, context),
      ])
      const states = [
        ...responses.flatMap((response) =>
          evaluate(response, { current, cell, name: environment.containerName }).map((state) =>
            withProxy(state, proxy, response),
          ),
        ),
        ...takenOut.map((host) => ({ ...host, healthy: false })),
      ]
      return states.map((state) => ({ app, environment: cell.environment, ...state }))
    }),
  )
  return states.flat()
}

/** What hosts run is shown whatever the proxy says. */
const findProxy = (target: Target): Promise<ProxyPreview | StepError | undefined> =>
  target.previewProxy().catch(toStepError)

function withProxy(
  live: HostState,
  proxy: ProxyPreview | StepError | undefined,
  response: HostResponse<Instance[]>,
): HostState {
  if (proxy === undefined) return live
  if (proxy instanceof StepError) return { ...live, state: `${live.state}; ${proxy.message}` }
  if (isOut(live.host, proxy.states)) {
    const isMeant = proxy.leftOut.includes(live.host)
    const state = `${live.state}; ${proxy.name} sends it no requests`
    return { ...live, state: isMeant ? `${state}: somebody took it out` : state }
  }
  const slot = isFailure(response) ? undefined : emptySlot(response.value, proxy.states)
  if (slot === undefined) return live
  const state = `${live.state}; ${proxy.name} sends its requests to slot ${slot}, where nothing runs`
  return { ...live, healthy: false, state }
}

/** The slot that has all requests of a host, where no instance runs in it. */
function emptySlot(
  instances: readonly Instance[],
  states: readonly ServerState[] = [],
): number | undefined {
  const [only, ...others] = states.filter(
    ({ server, mode }) => mode === 'in' && instances.some(({ host }) => host === server.host),
  )
  if (only === undefined || others.length > 0) return undefined
  const { slot } = only.server
  const runs = instances.some(({ labels, running }) => running && slotOf(labels) === slot)
  return runs ? undefined : slot
}

type HostState = Pick<LiveState, 'host' | 'healthy' | 'state' | 'error'>

interface Expected {
  current: Deployment | undefined
  cell: StatusCell
  /** Of the containers. */
  name: string
}

function evaluate(
  response: HostResponse<Instance[]>,
  { current, cell, name }: Expected,
): HostState[] {
  const { host } = response
  if (isFailure(response)) {
    const { error } = response
    return [{ host, healthy: false, state: error.message, error }]
  }
  const recorded = current?.hosts.find((outcome) => outcome.host === host)
  const left = recorded?.ok === false ? `was left out of ${current?.id}: ` : ''
  const beside = response.value.filter(({ role, running }) => role === 'next' && running)
  const next = beside.map((instance) => nextState(instance, cell))
  const serving = response.value.filter(({ role }) => role === 'current')
  const runs = response.value.some(({ running }) => running)
  const nothing = runs || current === undefined ? '' : '; nothing serves'
  if (serving.length === 0) {
    const state = `${left}there is no ${name}${nothing}`
    return [{ host, healthy: current === undefined, state }, ...next]
  }
  const states = serving.map((instance) => {
    const difference = partOf(cell, instance) ?? differenceTo(current, instance)
    const state = `${difference ?? 'runs, as the ledger says'}${nothing}`
    return { host, healthy: difference === undefined, state: `${left}${state}` }
  })
  return [...states, ...next]
}

/** Right while its deployment is under way; else a deployer that was killed has left it. */
function nextState({ host, name, labels }: Instance, { underway }: StatusCell): HostState {
  const { [instanceLabels.deployment]: deployment, [instanceLabels.version]: version } = labels
  const isUnderway = underway?.state === 'running' && underway.deployment === deployment
  const why = isUnderway
    ? 'is to replace it'
    : 'was left; the next deployment or rollback repairs it'
  const state = `${name} runs, too: ${version ?? 'something'} of ${deployment ?? 'nobody'} ${why}`
  return { host, healthy: isUnderway, state }
}

/** What a deployment that failed on other hosts has left here, as the ledger says. */
function partOf({ partial }: StatusCell, { host, running, labels }: Instance): string | undefined {
  const left = partial.find((each) => each.host === host)
  if (!running || left === undefined) return undefined
  if (left.deployment !== labels[instanceLabels.deployment]) return undefined
  return `runs ${left.version} of ${left.deployment}, as the ledger says, which failed on other hosts`
}

/** How an instance differs from what the ledger calls current. */
function differenceTo(
  current: Deployment | undefined,
  { id, host, name, running, labels }: Instance,
): string | undefined {
  if (!running) return `${name} is stopped`
  const deployment = labels[instanceLabels.deployment]
  const version = labels[instanceLabels.version]
  if (deployment === current?.id) return undefined
  // A deployment to other hosts, which were behind, leaves the instance of the deployment before.
  const isKept = current?.hosts.some(
    (outcome) => outcome.ok && outcome.host === host && outcome.containerId === id,
  )
  if (isKept) return undefined
  return `runs ${version ?? 'something else'} of ${deployment ?? 'nobody'}, not what the ledger says`
}
