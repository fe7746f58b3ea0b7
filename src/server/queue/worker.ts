import { randomBytes } from 'node:crypto'
import { type StepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { type Effect, isPassable, type Outcome } from '../effects/effect.ts'
import type { Feedback } from '../feedback/feedback.ts'
import type { Metrics } from '../metrics.ts'
import { describeFacts } from '../routes/receive.ts'
import type { RouteSettings } from '../settings/settings.ts'
import type { EventFacts } from '../sources/event.ts'
import type { Lanes, Owner, Postponement, Turn } from './partitions.ts'
import type { Later, Ticket } from './wake-ups.ts'

export interface WorkOptions {
  lanes: Lanes
  /** INPUT_INVALID when there is no such route any more. */
  findRoute(name: string): RouteSettings
  /** Undefined for a route that only tells people. */
  effectOf(route: RouteSettings): Effect | undefined
  feedback: Feedback
  /** Takes secrets out of what is kept. */
  mask: (text: string) => string
  metrics: Metrics
  log: Log
  /** The server stops: nothing more is begun. */
  stopping: AbortSignal
  /** It has waited long enough: what is under way goes back to waiting. */
  signal: AbortSignal
}

type Running = Extract<Turn, { do: 'run' }>

/**
 * Works on a lane for a ticket: its events one after the other, the oldest first. One that must be
 * tried again keeps its place, and those behind it wait, unless they may pass it.
 */
export function createLaneWork(options: WorkOptions): (ticket: Ticket) => Promise<Later> {
  const { lanes, stopping } = options
  return async ({ id: ticket, lane }) => {
    const owner: Owner = { lane, ticket, run: randomBytes(8).toString('hex') }
    let turn: Turn | { do: 'lost' } = await lanes.claim(owner)
    while (turn.do === 'run') {
      // Another server takes the ticket.
      if (stopping.aborted) return giveBack(turn, owner, lanes)
      turn = await takeTurn(turn, owner, options)
    }
    return turn.do === 'wait' ? turn.until : undefined
  }
}

async function giveBack({ id }: Running, owner: Owner, lanes: Lanes): Promise<Later> {
  const now = Date.now()
  await lanes.postpone(owner, id, { until: now, error: '', counts: false, passable: false })
  return now
}

async function takeTurn(
  turn: Running,
  owner: Owner,
  options: WorkOptions,
): Promise<Turn | { do: 'lost' }> {
  const { lanes, metrics, log } = options
  const { id } = turn
  const started = Date.now()
  const ended = await attempt(turn, started, options)
  if ('until' in ended) {
    const kept = await lanes.postpone(owner, id, ended)
    if (ended.counts) metrics.event(turn.route, 'retried')
    if (ended.passable && kept) return lanes.claim(owner)
    return { do: 'wait', until: ended.until }
  }
  const { state, text, url = '', error } = ended
  const next = await lanes.finish(owner, id, { state, text, url, error })
  if (next.do === 'lost') {
    log.warn(`${id}: another worker took it over meanwhile`)
    return next
  }
  metrics.event(turn.route, state, (Date.now() - started) / 1000)
  if (state === 'done') log.info(`${id}: ${text}${url && `: ${url}`}`)
  else log.error(`${id}: ${turn.route} for ${describeFacts(turn.facts)} failed: ${error}`)
  return next
}

type Ended =
  | Postponement
  | { state: 'done' | 'dead'; text: string; url?: string | undefined; error: string }

async function attempt(turn: Running, now: number, options: WorkOptions): Promise<Ended> {
  const { feedback, log, signal, mask } = options
  const { id, facts, begun, received: receivedAt } = turn
  let route: RouteSettings | undefined
  try {
    route = options.findRoute(turn.route)
    const effect = options.effectOf(route)
    if (route.run !== undefined)
      await feedback.tell(turn, route, 'running', `${route.run.step} runs`)
    const outcome: Outcome =
      (await effect?.({
        ...{ id, facts, signal, again: begun !== undefined, begunAt: begun ?? now, receivedAt },
      })) ?? justToBeTold(facts)
    await feedback.tell(turn, route, outcome.state, outcome.text, outcome.url)
    return { state: 'done', text: outcome.text, url: outcome.url, error: '' }
  } catch (thrown) {
    const error = toStepError(thrown)
    const text = mask(error.hint ? `${error.message}\n${error.hint}` : error.message)
    if (signal.aborted) {
      const error = 'the server was stopped'
      return { until: Date.now(), error, counts: false, passable: false }
    }
    const passable = isPassable(error)
    const until = nextTry(error, turn, now, route)
    if (until === undefined) {
      if (route) await feedback.tell(turn, route, 'failed', error.message)
      return { state: 'dead', text: '', error: text }
    }
    log.warn(`${id}: ${error.message}; tried again at ${new Date(until).toISOString()}`)
    return { until, error: text, counts: true, passable }
  }
}

/** Of a route without an effect: people are told what happened. */
const justToBeTold = (facts: EventFacts): Outcome => {
  const state = facts.pipeline?.end ?? 'succeeded'
  return { text: facts.title || describeFacts(facts), url: facts.url, state }
}

const FIRST_PAUSE = 2000
/** Of one that may be passed: those behind it are seen when it is tried again. */
const SHORT_PAUSE = 10_000
const LONGEST_PAUSE = 60_000

/** When to try again; undefined when that would not help, or was done for long enough. */
function nextTry(
  error: StepError,
  { attempts, begun, revived }: Running,
  now: number,
  route: RouteSettings | undefined,
): number | undefined {
  // A token that ran out is mended by people, while the event waits.
  const worthIt = error.retryable || error.code === 'UNAUTHORIZED' || error.code === 'FORBIDDEN'
  if (!worthIt || route === undefined) return undefined
  if (now - Math.max(begun ?? now, revived ?? 0) > route.retry) return undefined
  const asked = error.retryAfter ?? 0
  const longest = isPassable(error) ? SHORT_PAUSE : LONGEST_PAUSE
  const backoff = Math.min(FIRST_PAUSE * 2 ** attempts, longest) * (0.75 + Math.random() / 2)
  return Date.now() + Math.max(asked, Math.round(backoff))
}
