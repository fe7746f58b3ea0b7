import { randomBytes } from 'node:crypto'
import { type StepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { type Effect, isPassable, isTakenOver, type Outcome, takenOver } from '../effects/effect.ts'
import type { Feedback } from '../feedback/feedback.ts'
import type { Metrics } from '../monitoring/metrics.ts'
import type { RouteSettings } from '../settings/route.ts'
import { describeFacts, type EventFacts } from '../sources/event.ts'
import type {
  Claim,
  ClaimedEvent,
  EventResult,
  JobLock,
  Owner,
  Partitions,
  Postponement,
} from './partitions.ts'
import type { NextRun, WakeUp } from './wake-ups.ts'

export interface PartitionWorkOptions {
  partitions: Partitions
  /** Throws INPUT_INVALID when the route no longer exists. */
  findRoute(name: string): RouteSettings
  /** Undefined for a route that only sends notifications. */
  effectOf(route: RouteSettings): Effect | undefined
  feedback: Feedback
  /** Removes secrets from what is stored. */
  mask: (text: string) => string
  metrics: Metrics
  log: Log
  /** The server stops: no event is begun. */
  stopping: AbortSignal
  /** The shutdown timeout is over: running events go back to waiting. */
  signal: AbortSignal
}

/**
 * Works on a partition for a wake-up job: its events one after the other, the oldest first. An event
 * that is tried again keeps its place, and the events behind it wait, unless they may pass it.
 */
export function createPartitionWork(
  options: PartitionWorkOptions,
): (wakeUp: WakeUp, lock: JobLock) => Promise<NextRun> {
  const { partitions, stopping } = options
  return async ({ id: wakeUp, partition }, lock) => {
    const owner: Owner = { partition, wakeUp, run: randomBytes(8).toString('hex'), lock }
    let claim: Claim | { kind: 'lost' } = await partitions.claim(owner)
    while (claim.kind === 'event') {
      // Another server gets the wake-up job.
      if (stopping.aborted) return handBack(claim, owner, partitions)
      claim = await processEvent(claim, owner, options)
    }
    return claim.kind === 'delayed' ? claim.at : undefined
  }
}

async function handBack(
  { id }: ClaimedEvent,
  owner: Owner,
  partitions: Partitions,
): Promise<NextRun> {
  const next = Date.now()
  await partitions.postpone(owner, id, { next, error: '', counts: false, passable: false })
  return next
}

async function processEvent(
  event: ClaimedEvent,
  owner: Owner,
  options: PartitionWorkOptions,
): Promise<Claim | { kind: 'lost' }> {
  const { partitions, metrics, log } = options
  const { id, route, facts } = event
  const started = Date.now()
  const result = await attempt(event, started, owner, options)
  if ('next' in result) {
    const owned = await partitions.postpone(owner, id, result)
    if (!owned) return reportLost(id, log)
    if (result.counts) metrics.event(route, 'retried')
    if (result.passable) return partitions.claim(owner)
    return { kind: 'delayed', at: result.next }
  }
  const { state, text, url, error } = result
  const claim = await partitions.finish(owner, id, result)
  if (claim.kind === 'lost') return reportLost(id, log)
  metrics.event(route, state, (Date.now() - started) / 1000)
  if (state === 'done') log.info(`${id}: ${text}${url && `: ${url}`}`)
  else log.error(`${id}: ${route} for ${describeFacts(facts)} failed: ${error}`)
  return claim
}

function reportLost(id: string, log: Log): { kind: 'lost' } {
  log.warn(`${id}: another worker took it over meanwhile`)
  return { kind: 'lost' }
}

async function attempt(
  event: ClaimedEvent,
  now: number,
  owner: Owner,
  options: PartitionWorkOptions,
): Promise<EventResult | Postponement> {
  const { feedback, log, signal, mask } = options
  const { id, facts, begun, received } = event
  let route: RouteSettings | undefined
  try {
    route = options.findRoute(event.route)
    const effect = options.effectOf(route)
    if (route.run !== undefined) {
      await feedback.report(event, route, 'running', `${route.run.step} runs`)
    }
    const outcome =
      (await effect?.({
        id,
        facts,
        signal,
        again: begun !== undefined,
        begunAt: begun ?? now,
        receivedAt: received,
        async confirm() {
          if (!(await options.partitions.confirm(owner))) throw takenOver()
        },
      })) ?? notificationOutcome(facts)
    await feedback.report(event, route, outcome.state, outcome.text, outcome.url)
    return { state: 'done', text: outcome.text, url: outcome.url ?? '', error: '' }
  } catch (thrown) {
    const error = toStepError(thrown)
    const text = mask(error.hint ? `${error.message}\n${error.hint}` : error.message)
    const again = { next: Date.now(), counts: false, passable: false }
    if (signal.aborted) return { ...again, error: 'the server was stopped' }
    if (isTakenOver(error)) {
      log.warn(`${id}: ${error.message}; it is given back`)
      return { ...again, error: text }
    }
    const next = nextTry(error, event, now, route)
    if (next === undefined) {
      if (route) await feedback.report(event, route, 'failed', error.message)
      return { state: 'dead', text: '', url: '', error: text }
    }
    log.warn(`${id}: ${error.message}; tried again at ${new Date(next).toISOString()}`)
    return { next, error: text, counts: true, passable: isPassable(error) }
  }
}

/** Outcome of a route without an effect: its notification is what it does. */
const notificationOutcome = (facts: EventFacts): Outcome => {
  const state = facts.pipeline?.end ?? 'succeeded'
  return { text: facts.title || describeFacts(facts), url: facts.url, state }
}

const FIRST_PAUSE = 2000
/** For a passable event: the events behind it are only claimed when it is tried again. */
const SHORT_PAUSE = 10_000
const LONGEST_PAUSE = 60_000

/** When to try again; undefined when the error is final, or the retry time of the route is over. */
function nextTry(
  error: StepError,
  { attempts, begun, revived }: ClaimedEvent,
  now: number,
  route: RouteSettings | undefined,
): number | undefined {
  // A person renews an expired token while the event waits.
  const worthIt = error.retryable || error.code === 'UNAUTHORIZED' || error.code === 'FORBIDDEN'
  if (!worthIt || route === undefined) return undefined
  if (now - Math.max(begun ?? now, revived ?? 0) > route.retry) return undefined
  const requested = error.retryAfter ?? 0
  const longest = isPassable(error) ? SHORT_PAUSE : LONGEST_PAUSE
  const backoff = Math.min(FIRST_PAUSE * 2 ** attempts, longest) * (0.75 + Math.random() / 2)
  return Date.now() + Math.max(requested, Math.round(backoff))
}
