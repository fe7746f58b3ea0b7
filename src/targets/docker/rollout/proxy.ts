import { StepError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import type { ProxyServer, ReverseProxy, ServerState } from '../../proxy.ts'
import { otherSlot, type SlotNumber } from '../../slot.ts'
import type { Host } from '../host.ts'

/** The proxy in front of the hosts, as the rollout of one host uses it. */
export interface RolloutProxy {
  /** Before anything is changed: repairs what a killed deployer left, and finds hosts that are out. */
  prepare(hosts: readonly Host[], log: Log): Promise<void>
  /** No requests come to the container that is to start there, until it is routed to. */
  keepOut(host: Host, slot: SlotNumber, options: ProxyOptions): Promise<void>
  /** Requests for the host go to this slot, and the other one has none any more. */
  routeTo(host: Host, slot: SlotNumber, options: ProxyOptions): Promise<void>
  /** A host with one port gets no requests while its container is replaced. */
  takeOut(host: Host, options: ProxyOptions): Promise<void>
  putIn(host: Host, options: ProxyOptions): Promise<void>
  /** A deployment to it was cut off: that it is out is not what somebody wants. */
  claim(host: Host): void
}

interface ProxyOptions {
  log: Log
  signal?: AbortSignal | undefined
}

/** Servers of the proxy by host: one for each slot, or one for a fixed port. */
export function createRolloutProxy(
  proxy: ReverseProxy,
  servers: readonly ProxyServer[],
): RolloutProxy {
  /** Somebody took them out, and they stay so. */
  const out = new Set<string>()
  const of = (host: Host, slot?: SlotNumber) => {
    const server = servers.find((each) => each.host === host.name && each.slot === slot)
    if (server) return server
    throw new StepError('INTERNAL', `${proxy.name} has no server for ${host.name}`)
  }
  return {
    async prepare(hosts, log) {
      const repaired = await proxy.repair()
      if (repaired !== undefined) log.warn(`${proxy.name}: ${repaired}`)
      const serving = hostsServing(await proxy.states())
      for (const { name: host } of hosts) {
        if (serving.has(host)) continue
        out.add(host)
        log.warn(`${proxy.name}: ${host} is out of it: somebody took it out, and it stays out`)
      }
    },
    async keepOut(host, slot, { signal }) {
      if (!out.has(host.name)) await proxy.takeOut(of(host, slot), { evenIfLast: true, signal })
    },
    async routeTo(host, slot, { log, signal }) {
      if (out.has(host.name)) return
      const [instead, server] = [of(host, slot), of(host, otherSlot(slot))]
      const drained = await proxy.takeOut(server, { instead, signal })
      log.info(`${proxy.name}: requests for ${host.name} go to slot ${slot}${describe(drained)}`)
    },
    async takeOut(host, { log, signal }) {
      if (out.has(host.name)) return
      const drained = await proxy.takeOut(of(host), { evenIfLast: true, signal })
      log.info(`${proxy.name}: ${host.name} is out of it${describe(drained)}`)
    },
    async putIn(host, { log, signal }) {
      if (out.has(host.name)) return
      await proxy.putIn(of(host), { signal })
      log.info(`${proxy.name}: ${host.name} is in again`)
    },
    claim: (host) => void out.delete(host.name),
  }
}

/** Hosts of which a server gets requests. */
function hostsServing(states: readonly ServerState[]): ReadonlySet<string> {
  return new Set(states.filter(({ mode }) => mode === 'in').map(({ server }) => server.host))
}

function describe({ left, duration }: { left: number | undefined; duration: number }): string {
  const time = `${(duration / 1000).toFixed(1)} s`
  if (left === undefined) return `, after ${time} of draining`
  return left === 0 ? `, drained in ${time}` : `; ${left} requests had not ended after ${time}`
}
