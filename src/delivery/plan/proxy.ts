import { endpointOf, serverName } from '../../proxies/driver.ts'
import { isTakenOut, type ProxyPreview, type ServerState } from '../../targets/proxy.ts'
import { otherSlot } from '../../targets/slot.ts'
import { planStages } from '../../targets/strategy.ts'
import type { DeploymentRequest } from '../deployment/request.ts'
import { strategyOf } from '../deployment/rollout.ts'
import type { PlannedHost, PlannedProxy } from './schema.ts'

/** What the proxy would be told, host by host in the order of the plan. */
export function planProxy(
  request: DeploymentRequest,
  { name, isWeighted, leftover, states }: ProxyPreview,
  hosts: readonly PlannedHost[],
): PlannedProxy {
  const changed = hosts.filter(({ action }) => action === 'replace' || action === 'create')
  return {
    name,
    leftover: leftover ?? null,
    hosts: changed.map((host) => planServers(host, states)),
    servers: states?.map(describeServer) ?? null,
    canary: isWeighted ? canaryShare(request, changed) : null,
  }
}

function planServers(host: PlannedHost, states: readonly ServerState[] = []) {
  const { name, slot, runs } = host
  const isOut = isTakenOut(name, states)
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

function canaryShare(request: DeploymentRequest, hosts: readonly PlannedHost[]): number | null {
  const strategy = strategyOf(request)
  const stages = planStages(hosts, strategy)
  const hasCanary = stages.some((stage) => stage.do === 'change' && stage.isCanary)
  return hasCanary && 'percent' in strategy.canary ? strategy.canary.percent : null
}
