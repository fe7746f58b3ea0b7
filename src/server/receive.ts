import { StepError, toStepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { EventFacts } from './event.ts'
import type { DeliveryOutcome, Metrics } from './metrics.ts'
import type { EventStore } from './queue/events.ts'
import type { Tickets } from './queue/tickets.ts'
import type { Routes } from './routes.ts'
import type { Delivery, Refusal, Source } from './sources/source.ts'

/** What its sender is told. */
export interface Reply {
  status: 200 | 202 | 400 | 401 | 403 | 503
  body: Record<string, unknown>
}

export interface ReceiveOptions {
  store: EventStore
  tickets: Tickets
  routes: Routes
  metrics: Metrics
  log: Log
  /** What a pipeline that we started has come to. */
  follow(facts: EventFacts): Promise<void>
}

/** A source, its name, and the projects it is believed about. */
export interface Entrance {
  name: string
  source: Source
  allows(project: string): boolean
}

const refusals: Record<Refusal, string> = {
  missing: 'the signature or token is missing',
  wrong: 'the signature or token is wrong',
  stale: 'the signature is too old, or a clock is wrong',
  replayed: 'this content was delivered before under another id',
}

/**
 * Takes deliveries in: who sent it, what it says, who wants it; then it is stored, and only then
 * answered. What is done about it comes later.
 */
export function createReceiver(options: ReceiveOptions) {
  const { store, tickets, routes, metrics, log, follow } = options

  return async ({ name, source, allows }: Entrance, delivery: Delivery): Promise<Reply> => {
    const answer = (status: Reply['status'], outcome: DeliveryOutcome, body: Reply['body']) => {
      metrics.delivery(name, outcome)
      return { status, body }
    }
    const refuse = (refusal: Refusal) => {
      log.warn(`${name}: a delivery was refused: ${refusals[refusal]}`)
      return answer(401, refusal, { error: refusals[refusal] })
    }
    const identified = source.authenticate(delivery)
    if ('refused' in identified) return refuse(identified.refused)
    try {
      const reading = source.read(delivery.headers, parseJson(delivery.body))
      if ('ignored' in reading) return answer(200, 'ignored', reading)
      if (!allows(reading.project)) {
        log.warn(`${name}: ${reading.project} is not among the projects`)
        return answer(403, 'forbidden', { error: 'this project is not listened to' })
      }
      if (reading.pipeline?.event) await follow(reading)
      const wanted = routes.match(reading, delivery.now)
      if (wanted.length === 0) return answer(200, 'ignored', { ignored: 'no route wants it' })
      const { id, proof } = identified
      const taken = await store.take({
        delivery: `${name}\n${proof ?? id}`,
        whose: proof === undefined ? '' : id,
        wanted,
      })
      if (taken.answer === 'replayed') return refuse('replayed')
      if (taken.answer === 'duplicate') return answer(200, 'duplicate', { duplicate: true })
      // It is stored. Should a ticket get lost, the sweep gives its lane another one.
      const idle = new Set(taken.idle)
      await tickets.add(wanted.filter(({ id: one }) => idle.has(one))).catch((error: unknown) => {
        log.warn(`giving out a ticket: ${toStepError(error).message}`)
      })
      for (const one of taken.superseded) log.info(`${one}: a newer event took its place`)
      for (const one of wanted) log.info(`${one.id}: ${one.route} for ${describeFacts(reading)}`)
      return answer(202, 'accepted', { events: wanted.map((one) => one.id) })
    } catch (error) {
      const known = toStepError(error)
      if (known.code === 'INPUT_INVALID') {
        log.warn(`${name}: ${known.message}`)
        return answer(400, 'invalid', { error: known.message })
      }
      log.error(`${name}: a delivery could not be stored: ${known.message}`)
      return answer(503, 'unavailable', { error: 'it could not be stored; send it again' })
    }
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new StepError('INPUT_INVALID', 'the payload is no JSON; set the content type to it', {
      cause: error,
    })
  }
}

/** `push of team/webapi main by li` */
export function describeFacts({ kind, project, ref, by }: EventFacts): string {
  return `${kind} of ${project}${ref && ` ${ref}`}${by && ` by ${by}`}`
}
