import { StepError } from '../../core/errors.ts'
import type { EventFacts } from '../sources/event.ts'
import type { QueueAccess } from './access.ts'
import type { EventRecord, EventState, QueueName } from './event-record.ts'

/** The stored events, and what a person may do with them. */
export interface Records {
  find(id: string): Promise<EventRecord | undefined>
  /** Newest first. */
  list(state: EventState, limit: number): Promise<EventRecord[]>
  count(state: EventState): Promise<number>
  /** When the oldest waiting event was received. */
  oldest(): Promise<number | undefined>
  /** From dead, dropped or superseded to waiting; its partition then needs a wake-up job. */
  revive(id: string): Promise<{ partition: string; queue: QueueName }>
  drop(id: string, reason: string): Promise<void>
}

export function openRecords(access: QueueAccess): Records {
  const { redis, base, scripts, request, retention } = access
  const find = async (id: string) => fromHash(id, await redis.hgetall(`${base}event:${id}`))
  return {
    find: (id) => request(() => find(id)),
    list: (state, limit) =>
      request(async () => {
        const ids = await redis.zrevrange(`${base}state:${state}`, 0, limit - 1)
        const found = await Promise.all(ids.map(find))
        return found.filter((record) => record !== undefined)
      }),
    count: (state) => request(() => redis.zcard(`${base}state:${state}`)),
    oldest: () =>
      request(async () => {
        const [id] = await redis.zrange(`${base}state:waiting`, '0', '0')
        return id === undefined ? id : numberOf(await redis.hget(`${base}event:${id}`, 'received'))
      }),
    async revive(id) {
      const result = await scripts.revive({ id, now: Date.now() })
      if (result.status !== 'done') throw refused('retried', id, result)
      const { partition, queue } = result
      return { partition, queue }
    },
    async drop(id, reason) {
      const result = await scripts.drop({ id, reason, now: Date.now(), retention })
      if (result.status !== 'done') throw refused('dropped', id, result)
    },
  }
}

const numberOf = (text: string | null | undefined) => (text ? Number(text) : undefined)

function fromHash(id: string, hash: Record<string, string>): EventRecord | undefined {
  const { state, route = '', lane: partition = '', queue, facts } = hash
  if (state === undefined || facts === undefined) return undefined
  return {
    id,
    state: state as EventState,
    route,
    partition,
    queue: queue as QueueName,
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

const hints: Partial<Record<EventState, string>> = {
  running: 'Wait until it is over.',
  waiting: 'It is tried again by itself.',
}

function refused(
  action: 'retried' | 'dropped',
  id: string,
  result: { status: 'unknown' } | { status: 'refused'; state: EventState },
): StepError {
  if (result.status === 'unknown') return unknownEvent(id)
  const message = `event ${id} is ${result.state}: it cannot be ${action}`
  return new StepError('CONFLICT', message, { hint: hints[result.state] })
}

export function unknownEvent(id: string): StepError {
  return new StepError('NOT_FOUND', `there is no event ${id}`, {
    hint: 'crosscloud events list shows those that are kept.',
  })
}
