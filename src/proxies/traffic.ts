import pLimit from 'p-limit'
import { StepError } from '../core/errors.ts'
import { wait } from '../core/retry.ts'
import type { Drained, ProxyServer, ReverseProxy, ServerState, TakeOut } from '../targets/proxy.ts'
import { type Change, type Driver, serverName } from './driver.ts'

export interface TrafficOptions {
  /** Of the environment, in the order in which `states` lists them. */
  servers: readonly ProxyServer[]
  /** Milliseconds that a server may take to end its requests. */
  drain: number
  /** Milliseconds until the proxy's own check must find a server up that was put in; default a minute. */
  timeout?: number | undefined
}

/** milliseconds */
const UP_TIMEOUT = 60_000
const POLL = 200

/** The same rules for every kind of proxy: no server goes before another one is up. */
export function createProxy(driver: Driver, options: TrafficOptions): ReverseProxy {
  const { name, isWeighted, tellsOut } = driver
  const { drain, timeout = UP_TIMEOUT } = options
  // A change follows from what was read: hosts that are changed at the same time must not mix.
  const inTurn = pLimit(1)
  const change = (changes: readonly Change[]) => inTurn(() => driver.change(changes))
  const states = () => inTurn(() => driver.read())
  const stateOf = (found: readonly ServerState[], server: ProxyServer): ServerState => {
    const state = found.find((each) => isSame(each.server, server))
    if (state) return state
    throw new StepError('INTERNAL', `${name}: ${serverName(server)} is no server of this proxy`)
  }
  const read = async (server: ProxyServer) => stateOf(await states(), server)
  const untilServing = (server: ProxyServer, signal?: AbortSignal) =>
    untilUp(driver, () => read(server), timeout, signal)

  async function putIn(server: ProxyServer, signal: AbortSignal | undefined): Promise<void> {
    if ((await read(server)).mode !== 'in') await change([{ server, mode: 'in' }])
    await untilServing(server, signal)
  }

  /** Whether it got requests until now. */
  async function startDraining(server: ProxyServer, { instead, evenIfLast }: TakeOut) {
    const found = await driver.read()
    if (stateOf(found, server).mode === 'out') {
      await driver.change([{ server, mode: 'out' }])
      return false
    }
    const changes: Change[] = [{ server, mode: 'draining' }]
    if (instead && stateOf(found, instead).mode !== 'in') {
      changes.unshift({ server: instead, mode: 'in' })
    } else {
      const others = found.filter((state) => !isSame(state.server, server))
      if (!evenIfLast && !others.some(isServingNow)) throw lastServer(name, server)
    }
    await driver.change(changes)
    return true
  }

  async function takeOut(server: ProxyServer, how: TakeOut): Promise<Drained> {
    const { instead, signal } = how
    // Without a check of its own the proxy can do both at once.
    if (instead && driver.checks) await putIn(instead, signal)
    if (!(await inTurn(() => startDraining(server, how)))) return { left: 0, duration: 0 }
    const drained = await untilDrained(driver, server, drain, signal)
    await inTurn(async () => {
      // Another deployment may have put it in again meanwhile.
      const { mode } = stateOf(await driver.read(), server)
      if (mode !== 'in') await driver.change([{ server, mode: 'out' }])
    })
    return drained
  }

  async function restore(before: readonly ServerState[], signal?: AbortSignal): Promise<void> {
    const changes = differences(before, await states(), isWeighted)
    const leaving = changes.filter(({ mode }) => mode === 'draining' || mode === 'out')
    const draining = leaving.map((each): Change => ({ ...each, mode: 'draining' }))
    const staying = changes.filter((each) => !leaving.includes(each))
    if (driver.checks) {
      await change(staying)
      for (const { server, mode, up } of before) {
        if (mode === 'in' && up === true)
          await unlessFired(() => untilServing(server, signal), signal)
      }
      await change(draining)
    } else await change([...staying, ...draining])
    for (const { server } of draining) {
      await unlessFired(() => untilDrained(driver, server, drain, signal), signal)
    }
    await change(leaving)
  }

  return {
    name,
    isWeighted,
    tellsOut,
    states,
    check: () => inTurn(async () => driver.check?.()),
    repair: () => inTurn(async () => driver.repair?.()),
    isServing: async (server) => isServingNow(await read(server)),
    putIn: (server, { signal } = {}) => putIn(server, signal),
    takeOut: (server, how = {}) => takeOut(server, how),
    async setWeights(weights) {
      if (!isWeighted) throw notWeighted(name)
      const changes = [...weights].map(([server, weight]) => ({ server, weight }))
      for (const { server, weight } of changes) checkWeight(name, server, weight)
      await change(changes)
    },
    restore: (before, { signal } = {}) => restore(before, signal),
    responses: async (server) => driver.responses?.(server),
    close: () => driver.close(),
  }
}

const isSame = (one: ProxyServer, other: ProxyServer) =>
  one.host === other.host && one.slot === other.slot

const isServingNow = ({ mode, up }: ServerState) => mode === 'in' && up !== false

/** Waits, but not once the signal has fired. */
async function unlessFired(wait: () => Promise<unknown>, signal: AbortSignal | undefined) {
  if (signal?.aborted) return
  await wait().catch((error: unknown) => {
    if (!signal?.aborted) throw error
  })
}

/** What makes `now` what it was before. */
function differences(
  before: readonly ServerState[],
  now: readonly ServerState[],
  isWeighted: boolean,
): Change[] {
  return before.flatMap(({ server, mode, weight }) => {
    const found = now.find((state) => isSame(state.server, server))
    const change: Change = { server }
    if (found?.mode !== mode) change.mode = mode
    if (isWeighted && weight !== undefined && weight > 0 && found?.weight !== weight) {
      change.weight = weight
    }
    return change.mode === undefined && change.weight === undefined ? [] : [change]
  })
}

async function untilUp(
  { name, checks }: Driver,
  read: () => Promise<ServerState>,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!checks) return
  for (const end = Date.now() + timeout; ; await wait(POLL, signal)) {
    const { server, mode, up } = await read()
    if (mode === 'in' && up !== false) return
    if (Date.now() < end) continue
    throw new StepError(
      'UNAVAILABLE',
      `${name}: its own check does not find ${serverName(server)} up, ${timeout / 1000} s after it was put in`,
      { hint: `See that the proxy reaches ${server.address} port ${server.port}, and its check.` },
    )
  }
}

async function untilDrained(
  driver: Driver,
  server: ProxyServer,
  drain: number,
  signal: AbortSignal | undefined,
): Promise<Drained> {
  const begun = Date.now()
  for (;;) {
    const left = await driver.pending(server)
    const duration = Date.now() - begun
    if (left === 0 || duration >= drain) return { left, duration }
    await wait(Math.max(1, Math.min(POLL, drain - duration)), signal)
  }
}

function lastServer(name: string, server: ProxyServer): StepError {
  return new StepError(
    'CONFLICT',
    `${name}: no other server than ${serverName(server)} is serving, so it stays in`,
    { hint: 'Look at the other servers of this proxy first: they are out, or its check fails.' },
  )
}

function notWeighted(name: string): StepError {
  return new StepError('INPUT_INVALID', `${name}: it has no command for weights`, {
    hint: 'Write proxy.commands.weight, or deploy without a share for the canary.',
  })
}

function checkWeight(name: string, server: ProxyServer, weight: number): void {
  if (Number.isInteger(weight) && weight >= 1 && weight <= 100) return
  throw new StepError(
    'INPUT_INVALID',
    `${name}: ${weight} is not a share of ${serverName(server)}; give whole percents from 1 to 100`,
  )
}
