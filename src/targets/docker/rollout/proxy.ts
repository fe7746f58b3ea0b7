import { StepError } from '../../../core/errors.ts'
import type { Log } from '../../../core/log.ts'
import {
  type HostActivity,
  isLeftOut,
  isOut,
  type ProxyServer,
  type ResponseCounts,
  type ReverseProxy,
  receivingHosts,
  type ServerState,
} from '../../proxy.ts'
import { otherSlot, type SlotNumber } from '../../slot.ts'
import { canaryWeight, shareOfRequests } from '../../strategy.ts'
import type { Host } from '../host.ts'

/** The proxy in front of the hosts, as the rollout of one host uses it. */
export interface RolloutProxy {
  readonly name: string
  /** Before anything is changed: repairs what a killed deployer left, and finds hosts that are out. */
  prepare(hosts: readonly Host[], log: Log): Promise<void>
  /** Names the hosts that somebody took out. */
  reportOut(log: Log): void
  /** No requests come to the container that is to start there, until it is routed to. */
  keepOut(host: Host, slot: SlotNumber, options: ProxyOptions): Promise<void>
  /** Requests for the host go to this slot of the container, and the other one has none any more. */
  routeTo(host: Host, slot: SlotNumber, options: RouteOptions): Promise<void>
  /** A host with one port gets no requests while its container is replaced. */
  takeOut(host: Host, options: ProxyOptions & LastOptions): Promise<void>
  putIn(host: Host, options: ProxyOptions): Promise<void>
  /** Whether requests for the host go to this slot. */
  isRoutedTo(host: Host, slot: SlotNumber): Promise<boolean>
  /** From now on these hosts get so many percent of all requests, where the proxy has weights. */
  startCanary(hosts: readonly Host[], percent: number, log: Log): Promise<void>
  /** Every host has an ordinary share again. */
  endCanary(): Promise<void>
  /** What the proxy has counted, by host; a host is missing where it counts nothing. */
  responses(): Promise<ReadonlyMap<string, ResponseCounts>>
  /** Whether a host that is out was taken out by somebody, by what runs there. */
  judge(host: Host, activity: HostActivity): void
}

interface LastOptions {
  /** Once the proxy has refused to put a host in, the last one that serves stays in: CONFLICT. */
  keepsLast?: boolean | undefined
}

interface ProxyOptions {
  log: Log
  signal?: AbortSignal | undefined
}

interface RouteOptions extends ProxyOptions {
  /** The id of the container in that slot. */
  container: string
}

/** Servers of the proxy by host: one for each slot, or one for a fixed port. */
export function createRolloutProxy(
  proxy: ReverseProxy,
  servers: readonly ProxyServer[],
): RolloutProxy {
  /** Somebody took them out, and they stay so. */
  const out = new Set<string>()
  /** Hosts that the proxy refused to put in. */
  const refused = new Set<string>()
  let receiving: readonly string[] = []
  const canaries = new Set<string>()
  const weigh = async (share: number) => {
    const own = servers.filter(({ host }) => canaries.has(host))
    if (own.length > 0) await proxy.setWeights(new Map(own.map((server) => [server, share])))
  }
  const isRoutedTo = async ({ name }: Host, slot: SlotNumber) =>
    (await proxy.states()).some(
      ({ server, mode }) => server.host === name && server.slot === slot && mode === 'in',
    )
  const nothingServes = (host: Host, slot: SlotNumber) =>
    `${proxy.name}: nothing serves on ${host.name}: its requests go to slot ${slot}, and the container there does not run`
  const of = (host: Host, slot?: SlotNumber) => {
    const server = servers.find((each) => each.host === host.name && each.slot === slot)
    if (server) return server
    throw new StepError('INTERNAL', `${proxy.name} has no server for ${host.name}`)
  }
  return {
    name: proxy.name,
    async prepare(hosts, log) {
      const repaired = await proxy.repair()
      if (repaired !== undefined) log.warn(`${proxy.name}: ${repaired}`)
      const states = await proxy.states()
      receiving = receivingHosts(states)
      await evenOut(proxy, states, log)
      for (const { name: host } of hosts) {
        if (isOut(host, states)) out.add(host)
      }
    },
    reportOut(log) {
      for (const host of out) {
        log.warn(`${proxy.name}: ${host} is out of it: somebody took it out, and it stays out`)
      }
    },
    async keepOut(host, slot, { signal }) {
      if (!out.has(host.name)) await proxy.takeOut(of(host, slot), { evenIfLast: true, signal })
    },
    async routeTo(host, slot, { container, log, signal }) {
      if (out.has(host.name)) return
      const [instead, server] = [of(host, slot), of(host, otherSlot(slot))]
      const isRunning = await runs(host, container)
      // No proxy finds up what does not run.
      if (isRunning === false && (await isRoutedTo(host, slot))) {
        return log.warn(nothingServes(host, slot))
      }
      const drained = await proxy.takeOut(server, { instead, signal })
      if ((await runs(host, container)) === false) return log.warn(nothingServes(host, slot))
      log.info(`${proxy.name}: requests for ${host.name} go to slot ${slot}${describe(drained)}`)
    },
    async takeOut(host, { log, signal, keepsLast = false }) {
      if (out.has(host.name)) return
      const evenIfLast = !keepsLast || refused.size === 0
      const drained = await proxy.takeOut(of(host), { evenIfLast, signal })
      log.info(`${proxy.name}: ${host.name} is out of it${describe(drained)}`)
    },
    async putIn(host, { log, signal }) {
      if (out.has(host.name)) return
      await proxy.putIn(of(host), { signal }).catch((error: unknown) => {
        refused.add(host.name)
        throw error
      })
      refused.delete(host.name)
      log.info(`${proxy.name}: ${host.name} is in again`)
    },
    isRoutedTo,
    async startCanary(hosts, percent, log) {
      const names = hosts.map(({ name }) => name).filter((name) => !out.has(name))
      if (!proxy.isWeighted || names.length === 0) return
      const total = new Set([...receiving, ...names]).size
      const weight = canaryWeight(percent, total, names.length)
      for (const name of names) canaries.add(name)
      await weigh(weight)
      const got = shareOfRequests(weight, total, names.length)
      const why = got === 100 ? 'as no other host serves' : shareText(weight, got, percent)
      log.info(
        `${proxy.name}: ${names.join(', ')} gets ${got} % of all requests while the canary is watched, ${why}`,
      )
    },
    async endCanary() {
      await weigh(100)
      canaries.clear()
    },
    async responses() {
      const found = new Map<string, ResponseCounts>()
      for (const server of servers) {
        const counts = await proxy.responses(server)
        if (counts) found.set(server.host, addUp(counts, found.get(server.host)))
      }
      return found
    },
    judge(host, activity) {
      if (!isLeftOut(activity, proxy)) out.delete(host.name)
    },
  }
}

function shareText(weight: number, got: number, wanted: number): string {
  const share = `by ${weight} % of an ordinary share`
  return weight < 100 || got >= wanted
    ? share
    : `not ${wanted} %: no host gets more than the others`
}

/** Undefined where the host does not answer. */
const runs = (host: Host, container: string): Promise<boolean | undefined> =>
  host.inspect(container).then(
    (found) => found?.running === true,
    () => undefined,
  )

/** Lasting weights are in the proxy's own configuration: others were left by a canary. */
async function evenOut(proxy: ReverseProxy, states: readonly ServerState[], log: Log) {
  const odd = states.filter(({ weight }) => weight !== undefined && weight > 0 && weight !== 100)
  if (!proxy.isWeighted || odd.length === 0) return
  await proxy.setWeights(new Map(odd.map(({ server }) => [server, 100])))
  for (const { server, weight } of odd) {
    const name = `${server.host}${server.slot === undefined ? '' : `, slot ${server.slot}`}`
    log.warn(
      `${proxy.name}: ${name} had ${weight} % of its share, as in a canary that was cut off; it has all of it now`,
    )
  }
}

const addUp = (one: ResponseCounts, other: ResponseCounts = { all: 0, failed: 0 }) => ({
  all: one.all + other.all,
  failed: one.failed + other.failed,
})

function describe({ left, duration }: { left: number | undefined; duration: number }): string {
  const time = `${(duration / 1000).toFixed(1)} s`
  if (left === undefined) return `, after ${time} of draining`
  return left === 0 ? `, drained in ${time}` : `; ${left} requests had not ended after ${time}`
}
