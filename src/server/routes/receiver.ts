import { StepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { DeliveryOutcome, Metrics } from '../monitoring/metrics.ts'
import { throttleWarnings } from '../monitoring/throttled-warnings.ts'
import type { IncomingDelivery, Intake, IntakeResult } from '../queue/intake.ts'
import type { FeedPosition, RecordedPush } from '../queue/pushes.ts'
import type { WakeUps } from '../queue/wake-ups.ts'
import type { Endpoint } from '../sources/endpoints.ts'
import { describeFacts, type EventFacts } from '../sources/event.ts'
import type { Delivery, Refusal } from '../sources/source.ts'
import type { Routes } from './routes.ts'

/** The response to a delivery. */
export interface DeliveryResponse {
  status: 200 | 202 | 400 | 401 | 403 | 503
  body: Record<string, unknown>
}

export interface ReceiverOptions {
  intake: Intake
  wakeUps: WakeUps
  routes: Routes
  metrics: Metrics
  log: Log
  /** Reports the end of a pipeline that an event started. */
  follow(facts: EventFacts): Promise<void>
  /** Sources that are backfilled. */
  backfilled: ReadonlySet<string>
}

export interface ReceivedDelivery extends Delivery {
  /** Address of the sender, also when a trusted proxy names it. */
  from: string
}

export interface Receiver {
  deliver(endpoint: Endpoint, delivery: ReceivedDelivery): Promise<DeliveryResponse>
  /** The response when the headers alone, before the body is read, rule the delivery out. */
  refuse(
    endpoint: Endpoint,
    headers: Delivery['headers'],
    from: string,
  ): DeliveryResponse | undefined
  /** Accepts a push that a backfill found; `overtaken` when a newer one was delivered meanwhile. */
  recover(facts: EventFacts, position: FeedPosition): Promise<'new' | 'known' | 'overtaken'>
}

const refusals: Record<Refusal, string> = {
  missing: 'the signature or token is missing',
  wrong: 'the signature or token is wrong',
  stale: 'the signature is too old, or a clock is wrong',
}

const isRefusal = (outcome: Accepted['outcome']): outcome is Refusal =>
  Object.hasOwn(refusals, outcome)

/**
 * Accepts deliveries: authenticates the sender, reads the payload, matches the routes and stores the
 * events. The response is sent when they are stored; workers do the rest.
 */
export function createReceiver(options: ReceiverOptions): Receiver {
  const { routes, metrics, log, follow, backfilled, intake } = options
  const warn = throttleWarnings(log)

  const eventsFor = (facts: EventFacts, now: number) =>
    facts.skipped === undefined ? routes.match(facts, now) : []

  const accept = async (endpoint: Endpoint, delivery: Delivery): Promise<Accepted> => {
    const { name, source, allows } = endpoint
    const identified = source.authenticate(delivery)
    if ('refused' in identified) return { outcome: identified.refused }
    const payload = parseJson(identified.content ?? delivery.body)
    const reading = source.read(delivery.headers, payload)
    if ('ignored' in reading) return { outcome: 'ignored', body: reading }
    if (!allows(reading.project)) {
      log.warn(`${name}: ${reading.project} is not under projects of ${name}`)
      const reason = 'this project is not listened to'
      if (source.redelivers) return { outcome: 'ignored', body: { ignored: reason } }
      return { outcome: 'forbidden', body: { error: reason } }
    }
    const facts = (await source.complete?.(reading, payload)) ?? reading
    const { id, timeless = false } = identified
    const key = `${name}\n${id}`
    if (facts.pipeline?.event && !(await intake.isKnown(key))) await follow(facts)
    const events = eventsFor(facts, delivery.now)
    const push = backfilled.has(name) ? pushOf(facts) : undefined
    const reason = facts.skipped ?? 'no route wants it'
    if (events.length === 0) log.debug(`${name}: ${describeFacts(facts)}: ${reason}`)
    const ignored: Accepted = { outcome: 'ignored', body: { ignored: reason } }
    if (events.length === 0 && !push && !facts.pipeline) return ignored
    const status = await store({ delivery: key, timeless, events, push }, options)
    if (status !== 'new') return { outcome: 'duplicate', body: { duplicate: true } }
    if (events.length === 0) return ignored
    return { outcome: 'accepted', body: { events: events.map((event) => event.id) } }
  }

  const deliver: Receiver['deliver'] = async (endpoint, delivery) => {
    const { name } = endpoint
    const { outcome, body, problem } = await accept(endpoint, delivery).catch(toRejection)
    if (isRefusal(outcome)) return unauthorized(name, delivery.from, outcome)
    metrics.delivery(name, outcome)
    if (outcome === 'invalid') log.warn(`${name}: from ${delivery.from}: ${problem}`)
    if (outcome === 'unavailable') log.error(`${name}: ${problem}`)
    return { status: statuses[outcome], body: body ?? {} }
  }

  const refuse: Receiver['refuse'] = ({ name, source }, headers, from) => {
    const result = source.authenticate({ headers, body: Buffer.alloc(0), now: Date.now() })
    if (!('refused' in result)) return undefined
    const final = result.refused === 'missing' || !source.signed(headers)
    return final ? unauthorized(name, from, result.refused) : undefined
  }

  const unauthorized = (name: string, from: string, refusal: Refusal): DeliveryResponse => {
    metrics.delivery(name, refusal)
    const error = refusals[refusal]
    warn(`${name} ${refusal}`, `${name}: a delivery from ${from} was refused: ${error}`)
    return { status: 401, body: { error } }
  }

  const recover: Receiver['recover'] = async (facts, position) => {
    const push = pushOf(facts, position)
    const events = eventsFor(facts, Date.now())
    const delivery = `${facts.via}\n${push?.key} ${position.at}`
    const status = await store({ delivery, timeless: false, events, push }, options)
    if (status === 'overtaken') return status
    if (status !== 'new' || events.length === 0) return 'known'
    metrics.delivery(facts.via, 'recovered')
    return 'new'
  }

  return { deliver, refuse, recover }
}

/** Undefined for an event that is no push. */
export function pushOf(facts: EventFacts, position?: FeedPosition): RecordedPush | undefined {
  const { source, kind, project, ref: name, push } = facts
  if (push === undefined) return undefined
  const ref = [source, project, kind, name]
  const key = JSON.stringify([...ref, push.before, push.after])
  return { source, project, key, ref: JSON.stringify(ref), position }
}

interface Accepted {
  /** Fastify answers deliveries over a limit before they get here. */
  outcome: Exclude<DeliveryOutcome, 'too-long' | 'too-often'>
  body?: Record<string, unknown>
  /** For the log. */
  problem?: string
}

const statuses: Record<Accepted['outcome'], DeliveryResponse['status']> = {
  accepted: 202,
  recovered: 202,
  duplicate: 200,
  ignored: 200,
  missing: 401,
  wrong: 401,
  stale: 401,
  forbidden: 403,
  invalid: 400,
  unavailable: 503,
}

/** Stores the events, and adds a wake-up job for each partition without an owner. */
async function store(
  delivery: IncomingDelivery,
  { intake, wakeUps, log }: ReceiverOptions,
): Promise<IntakeResult['status']> {
  const { events } = delivery
  const result = await intake.store(delivery)
  if (result.status !== 'new') return result.status
  // The events are stored: when a job is lost, the sweep adds another one.
  const idle = new Set(result.idle)
  await wakeUps.add(events.filter(({ id }) => idle.has(id))).catch((error: unknown) => {
    log.warn(`adding a wake-up job: ${toStepError(error).message}`)
  })
  for (const id of result.superseded) log.info(`${id}: a newer event took its place`)
  for (const { id, route, facts } of events) log.info(`${id}: ${route} for ${describeFacts(facts)}`)
  return result.status
}

/** The sender learns what is wrong with its payload, and nothing about errors of this server. */
function toRejection(thrown: unknown): Accepted {
  const { code, message } = toStepError(thrown)
  if (code === 'INPUT_INVALID') {
    return { outcome: 'invalid', body: { error: message }, problem: message }
  }
  return {
    outcome: 'unavailable',
    body: { error: 'it could not be stored; send it again' },
    problem: `a delivery could not be stored: ${message}`,
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new StepError(
      'INPUT_INVALID',
      'the payload is no JSON; set the content type of the webhook to application/json',
      { cause: error },
    )
  }
}
