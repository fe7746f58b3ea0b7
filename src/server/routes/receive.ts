import { StepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { DeliveryOutcome, Metrics } from '../metrics.ts'
import type { Intake, Stored, Taking } from '../queue/intake.ts'
import type { AskedFor, HeardPush } from '../queue/pushes.ts'
import type { Tickets } from '../queue/wake-ups.ts'
import { warnSeldom } from '../quiet.ts'
import type { EventFacts } from '../sources/event.ts'
import type { Delivery, Refusal, Source } from '../sources/source.ts'
import type { Routes } from './routes.ts'

/** What its sender is told. */
export interface Reply {
  status: 200 | 202 | 400 | 401 | 403 | 503
  body: Record<string, unknown>
}

export interface ReceiveOptions {
  intake: Intake
  tickets: Tickets
  routes: Routes
  metrics: Metrics
  log: Log
  /** What a pipeline that we started has come to. */
  follow(facts: EventFacts): Promise<void>
  /** Sources that are asked for the pushes they could not deliver. */
  caughtUp: ReadonlySet<string>
}

export interface Incoming extends Delivery {
  /** Address of who sent it, or of whom a proxy says so. */
  from: string
}

export interface Receiver {
  deliver(entrance: Entrance, delivery: Incoming): Promise<Reply>
  /** Before the body is read: the answer to what is not believed, whatever the body says. */
  refuse(entrance: Entrance, headers: Delivery['headers'], from: string): Reply | undefined
  /** A push that its source tells of when asked; overtaken when a newer one was delivered meanwhile. */
  recover(facts: EventFacts, asked: AskedFor): Promise<'new' | 'known' | 'overtaken'>
}

/** A source, its name, and the projects it is believed about. */
export interface Entrance {
  name: string
  /** Of its address: `/webhooks/gitlab`. */
  path: string
  source: Source
  allows(project: string): boolean
}

const refusals: Record<Refusal, string> = {
  missing: 'the signature or token is missing',
  wrong: 'the signature or token is wrong',
  stale: 'the signature is too old, or a clock is wrong',
}

const isRefusal = (outcome: Taken['outcome']): outcome is Refusal =>
  Object.hasOwn(refusals, outcome)

/**
 * Takes deliveries in: who sent it, what it says, who wants it; then it is stored, and only then
 * answered. What is done about it comes later.
 */
export function createReceiver(options: ReceiveOptions): Receiver {
  const { routes, metrics, log, follow, caughtUp, intake } = options
  const warn = warnSeldom(log)

  const wantedOf = (facts: EventFacts, now: number) =>
    facts.skipped === undefined ? routes.match(facts, now) : []

  const take = async (entrance: Entrance, delivery: Delivery): Promise<Taken> => {
    const { name, source, allows } = entrance
    const identified = source.authenticate(delivery)
    if ('refused' in identified) return { outcome: identified.refused }
    const payload = parseJson(identified.content ?? delivery.body)
    const told = source.read(delivery.headers, payload)
    if ('ignored' in told) return { outcome: 'ignored', body: told }
    if (!allows(told.project)) {
      log.warn(`${name}: ${told.project} is not under projects of ${name}`)
      const why = 'this project is not listened to'
      if (source.insists) return { outcome: 'ignored', body: { ignored: why } }
      return { outcome: 'forbidden', body: { error: why } }
    }
    const reading = (await source.complete?.(told, payload)) ?? told
    const { id, timeless = false } = identified
    const key = `${name}\n${id}`
    if (reading.pipeline?.event && !(await intake.knows(key))) await follow(reading)
    const wanted = wantedOf(reading, delivery.now)
    const push = caughtUp.has(name) ? pushOf(reading) : undefined
    const unwanted = reading.skipped ?? 'no route wants it'
    if (wanted.length === 0) log.debug(`${name}: ${describeFacts(reading)}: ${unwanted}`)
    const ignored: Taken = { outcome: 'ignored', body: { ignored: unwanted } }
    if (wanted.length === 0 && !push && !reading.pipeline) return ignored
    const answer = await store({ delivery: key, timeless, wanted, push }, options)
    if (answer !== 'new') return { outcome: 'duplicate', body: { duplicate: true } }
    if (wanted.length === 0) return ignored
    return { outcome: 'accepted', body: { events: wanted.map((one) => one.id) } }
  }

  const deliver = async (entrance: Entrance, delivery: Incoming): Promise<Reply> => {
    const { name } = entrance
    const { outcome, body } = await take(entrance, delivery).catch((error) => failed(error))
    if (isRefusal(outcome)) return unbelieved(name, delivery.from, outcome)
    metrics.delivery(name, outcome)
    if (outcome === 'invalid') log.warn(`${name}: from ${delivery.from}: ${body?.error}`)
    if (outcome === 'unavailable') log.error(`${name}: ${body?.fault}`)
    return { status: statuses[outcome], body: { ...body, fault: undefined } }
  }

  const refuse: Receiver['refuse'] = ({ name, source }, headers, from) => {
    const found = source.authenticate({ headers, body: Buffer.alloc(0), now: Date.now() })
    if (!('refused' in found)) return undefined
    const anyway = found.refused === 'missing' || !source.signed(headers)
    return anyway ? unbelieved(name, from, found.refused) : undefined
  }

  const unbelieved = (name: string, from: string, refusal: Refusal): Reply => {
    metrics.delivery(name, refusal)
    const told = refusals[refusal]
    warn(`${name} ${refusal}`, `${name}: a delivery from ${from} was refused: ${told}`)
    return { status: 401, body: { error: told } }
  }

  const recover: Receiver['recover'] = async (facts, asked) => {
    const push = pushOf(facts, asked)
    const wanted = wantedOf(facts, Date.now())
    const delivery = `${facts.via}\n${push?.key} ${asked.at}`
    const answer = await store({ delivery, timeless: false, wanted, push }, options)
    if (answer === 'overtaken') return answer
    if (answer !== 'new' || wanted.length === 0) return 'known'
    metrics.delivery(facts.via, 'recovered')
    return 'new'
  }

  return { deliver, refuse, recover }
}

/** Undefined for what is no push. */
export function pushOf(facts: EventFacts, asked?: AskedFor): HeardPush | undefined {
  const { source, kind, project, ref: name, push } = facts
  if (push === undefined) return undefined
  const ref = [source, project, kind, name]
  const key = JSON.stringify([...ref, push.before, push.after])
  return { source, project, key, ref: JSON.stringify(ref), asked }
}

interface Taken {
  /** What is too much is refused before it gets here. */
  outcome: Exclude<DeliveryOutcome, 'too-long' | 'too-often'>
  body?: Record<string, unknown>
}

const statuses: Record<Taken['outcome'], Reply['status']> = {
  ...{ accepted: 202, recovered: 202, duplicate: 200, ignored: 200 },
  ...{ missing: 401, wrong: 401, stale: 401, forbidden: 403 },
  ...{ invalid: 400, unavailable: 503 },
}

/** Stores what is wanted, and gives a ticket to each lane that nobody works on. */
async function store(
  taking: Taking,
  { intake, tickets, log }: ReceiveOptions,
): Promise<Stored['answer']> {
  const { wanted } = taking
  const taken = await intake.keep(taking)
  if (taken.answer !== 'new') return taken.answer
  // It is stored. Should a ticket get lost, the sweep gives its lane another one.
  const idle = new Set(taken.idle)
  await tickets.add(wanted.filter((one) => idle.has(one.id))).catch((error: unknown) => {
    log.warn(`giving out a ticket: ${toStepError(error).message}`)
  })
  for (const one of taken.superseded) log.info(`${one}: a newer event took its place`)
  for (const one of wanted) log.info(`${one.id}: ${one.route} for ${describeFacts(one.facts)}`)
  return taken.answer
}

/** The sender is told what is wrong with its payload, and nothing of what is wrong here. */
function failed(thrown: unknown): Taken {
  const { code, message } = toStepError(thrown)
  if (code === 'INPUT_INVALID') return { outcome: 'invalid', body: { error: message } }
  const fault = `a delivery could not be stored: ${message}`
  return { outcome: 'unavailable', body: { error: 'it could not be stored; send it again', fault } }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new StepError(
      'INPUT_INVALID',
      'the payload is no JSON; set the content type of the webhook to application/json',
      {
        cause: error,
      },
    )
  }
}

/** `push of team/webapi main by li` */
export function describeFacts({ kind, project, ref, by }: EventFacts): string {
  return `${kind} of ${project}${ref && ` ${ref}`}${by && ` by ${by}`}`
}
