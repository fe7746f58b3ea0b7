import { endpointOf, serverName } from '../../proxies/driver.ts'
import { type ProxyPreview, receivingHosts, type ServerState } from '../../targets/proxy.ts'
import { otherSlot } from '../../targets/slot.ts'
import { canaryWeight, planStages, shareOfRequests } from '../../targets/strategy.ts'
import type { DeploymentRequest } from '../deployment/request.ts'
import { strategyOf } from '../deployment/rollout.ts'
import type { PlannedHost, PlannedProxy } from './schema.ts'

/** What the proxy would be told, host by host in the order of the plan. */
export function planProxy(
  request: DeploymentRequest,
  proxy: ProxyPreview,
  hosts: readonly PlannedHost[],
): PlannedProxy {
  const { name, isWeighted, leftOut, leftover, states } = proxy
  const changed = hosts.filter(({ action }) => action === 'replace' || action === 'create')
  return {
    name,
    leftover: leftover ?? null,
    hosts: changed.map((host) => planServers(host, leftOut.includes(host.name))),
    servers: states?.map(describeServer) ?? null,
    canary: isWeighted ? canaryShare(request, changed, proxy) : null,
  }
}

function planServers(host: PlannedHost, isOut: boolean) {
  const { name, slot, runs } = host
  const nameOf = (number: number | undefined) =>
    serverName({ ...NOWHERE, host: name, slot: number })
  const takesOut = { do: 'take out' as const, server: nameOf(slotBefore(slot)) }
  const putsIn = { do: 'put in' as const, server: nameOf(slot ?? undefined) }
  const replaced = slot === null ? [takesOut, putsIn] : [putsIn, takesOut]
  const isKnown = host.error === null
  const steps = runs?.running ? replaced : [putsIn]
  return { name, out: isOut, steps: isOut || !isKnown ? [] : steps }
}

/** Only the name of a server is asked for. */
const NOWHERE = { address: '', port: 0 }

const slotBefore = (slot: number | null) => (slot === 1 || slot === 2 ? otherSlot(slot) : undefined)

function describeServer({ server, mode, up, weight }: ServerState) {
  const [name, address] = [serverName(server), endpointOf(server)]
  return { name, address, mode, up: up ?? null, weight: weight ?? null }
}

/** What the canary really gets: all requests where no other host serves, and never more than others. */
function canaryShare(
  request: DeploymentRequest,
  hosts: readonly PlannedHost[],
  { leftOut, states }: ProxyPreview,
): number | null {
  const strategy = strategyOf(request)
  if (!('percent' in strategy.canary)) return null
  const canaries = planStages(hosts, strategy)
    .flatMap((stage) => (stage.do === 'change' && stage.isCanary ? stage.hosts : []))
    .map(({ name }) => name)
    .filter((name) => !leftOut.includes(name))
  if (canaries.length === 0) return null
  // Before the repair nobody knows which hosts serve.
  const others = states ? receivingHosts(states) : request.environment.hosts.map(({ name }) => name)
  const total = new Set([...others, ...canaries]).size
  const weight = canaryWeight(strategy.canary.percent, total, canaries.length)
  return shareOfRequests(weight, total, canaries.length)
}
