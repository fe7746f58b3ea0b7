import { StepError } from '../../core/errors.ts'
import type { EventFacts } from '../sources/event.ts'
import type { QueueAccess } from './access.ts'
import type { EventRecord, EventState, QueueName } from './event-record.ts'

/** The events as people see them, and what people may do with them. */
export interface Records {
  find(id: string): Promise<EventRecord | undefined>
  /** Newest first. */
  list(state: EventState, limit: number): Promise<EventRecord[]>
  count(state: EventState): Promise<number>
  /** When the oldest waiting one came in. */
  oldest(): Promise<number | undefined>
  /** From dead, dropped or superseded to waiting; the lane then needs a ticket. */
  revive(id: string): Promise<{ lane: string; queue: QueueName }>
  drop(id: string, why: string): Promise<void>
}

export function openRecords(access: QueueAccess): Records {
  const { redis, base, run, ask, keep } = access
  const find = async (id: string) => fromHash(id, await redis.hgetall(`${base}event:${id}`))
  return {
    find: (id) => ask(() => find(id)),
    list: (state, limit) =>
      ask(async () => {
        const ids = await redis.zrevrange(`${base}state:${state}`, 0, limit - 1)
        const found = await Promise.all(ids.map(find))
        return found.filter((one) => one !== undefined)
      }),
    count: (state) => ask(() => redis.zcard(`${base}state:${state}`)),
    oldest: () =>
      ask(async () => {
        const [id] = await redis.zrange(`${base}state:waiting`, '0', '0')
        return id === undefined ? id : numberOf(await redis.hget(`${base}event:${id}`, 'received'))
      }),
    revive: (id) =>
      ask(async () => {
        const [said, one = '', two = ''] = (await run.revive(id, Date.now())) as string[]
        if (said !== 'done') throw cannot('retried', id, said, one)
        return { lane: one, queue: two as QueueName }
      }),
    drop: (id, why) =>
      ask(async () => {
        const [said, state = ''] = (await run.drop(id, Date.now(), keep, why)) as string[]
        if (said !== 'done') throw cannot('dropped', id, said, state)
      }),
  }
}

const numberOf = (text: string | null | undefined) => (text ? Number(text) : undefined)

function fromHash(id: string, hash: Record<string, string>): EventRecord | undefined {
  const { state, route = '', lane = '', queue, facts } = hash
  if (state === undefined || facts === undefined) return undefined
  return {
    ...{ id, state: state as EventState, route, lane, queue: queue as QueueName },
    facts: JSON.parse(facts) as EventFacts,
    received: Number(hash.received),
    attempts: Number(hash.attempts),
    begun: numberOf(hash.begun),
    next: numberOf(hash.next),
    ended: numberOf(hash.ended),
    text: hash.text || undefined,
    url: hash.url || undefined,
    error: hash.error || undefined,
  }
}

const hints: Readonly<Record<string, string>> = {
  running: 'Wait until it is over.',
  waiting: 'It is tried again by itself.',
}

function cannot(what: string, id: string, said: string | undefined, state: string): StepError {
  if (said === 'unknown') return unknownEvent(id)
  const message = `event ${id} is ${state}: it cannot be ${what}`
  return new StepError('CONFLICT', message, { hint: hints[state] })
}

export function unknownEvent(id: string): StepError {
  return new StepError('NOT_FOUND', `there is no event ${id}`, {
    hint: 'crosscloud events list shows those that are kept.',
  })
}
