/** A request that the command line sent; times as Date.now(). */
export interface Call {
  /** `engine` also for health checks, which go by the same client. */
  kind: 'engine' | 'fetch'
  method: string
  path: string
  origin?: string
  started: number
  /** Missing when it was open when the process ended. */
  ended?: number
  status?: number
  error?: string
}

const isHealth = ({ path }: Call) => path === '/health'

function find(calls: readonly Call[], method: string, path: RegExp): Call | undefined {
  return calls.findLast((call) => call.method === method && path.test(call.path))
}

/**
 * What one host's part of a deployment took in which nothing was asked of anybody, in milliseconds:
 * from the creation of its container to the last request. The boot, from the start to the first
 * good response, is waited for and does not count.
 */
export function ownTime(calls: readonly Call[]): number {
  const created = find(calls, 'POST', /\/containers\/create/)
  const started = find(calls, 'POST', /\/start$/)
  const healthy = calls.find((call) => isHealth(call) && call.status === 200)
  if (!created || !started || !healthy) return Number.NaN
  const busy = [
    ...calls.filter(({ started }) => started >= created.started),
    { started: started.started, ended: healthy.ended ?? healthy.started },
  ].sort((a, b) => a.started - b.started)
  let own = 0
  let until = created.started
  for (const { started, ended = started } of busy) {
    if (started > until) own += started - until
    until = Math.max(until, ended)
  }
  return own
}

/**
 * Where the time of one host went, in milliseconds: what came before its container was created,
 * the creation and the proof of its files, its boot, and what came after.
 */
export function phases(calls: readonly Call[], at: number) {
  const created = find(calls, 'POST', /\/containers\/create/)
  const started = find(calls, 'POST', /\/start$/)
  const healthy = calls.find((call) => isHealth(call) && call.status === 200)
  const [toCreate = Number.NaN, toStart = Number.NaN] = [created?.started, started?.started]
  const ready = healthy?.ended ?? Number.NaN
  const last = Math.max(...calls.map(({ ended = 0 }) => ended))
  return {
    before: toCreate - at,
    proof: toStart - toCreate,
    started: ready - toStart,
    after: last - ready,
  }
}

/** How long the engine took to stop the last container that was stopped. */
export function stopTime(calls: readonly Call[]): number {
  const stop = find(calls, 'POST', /\/stop(\?|$)/)
  return stop?.ended === undefined ? Number.NaN : stop.ended - stop.started
}
