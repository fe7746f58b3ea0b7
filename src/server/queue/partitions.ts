import type { EventFacts } from '../sources/event.ts'
import type { QueueAccess } from './access.ts'
import type { QueueName } from './event-record.ts'
import type { ClaimResult } from './script-calls.ts'

/** An event that a worker has claimed. */
export interface ClaimedEvent {
  kind: 'event'
  id: string
  route: string
  facts: EventFacts
  attempts: number
  received: number
  begun: number | undefined
  /** When a person retried it. */
  revived: number | undefined
}

/** What a claim gives: an event, the time of the next try, or nothing. */
export type Claim = ClaimedEvent | { kind: 'delayed'; at: number } | { kind: 'none' }

/** The owner of a partition: a wake-up job, and one run of it. */
export interface Owner {
  partition: string
  wakeUp: string
  run: string
  lock?: JobLock
}

/** The lock of a wake-up job, which its worker renews while it works; in Redis, where BullMQ keeps it. */
export interface JobLock {
  queue: QueueName
  token: string
  /** Milliseconds after which an unrenewed lock expires. */
  timeout: number
}

export interface EventResult {
  state: 'done' | 'dead'
  text: string
  url: string
  error: string
}

export interface Postponement {
  next: number
  error: string
  /** Whether it counts as an attempt. */
  counts: boolean
  /** Whether the events behind it may go on meanwhile. */
  passable: boolean
}

/** The events of each partition, worked on by one owner at a time, oldest first. */
export interface Partitions {
  claim(owner: Owner): Promise<Claim>
  /** Whether the owner still has the partition, and keeps it long enough to start something. */
  confirm(owner: Owner): Promise<boolean>
  /** Gives the next claim; `lost` when another worker took the partition over. */
  finish(owner: Owner, id: string, result: EventResult): Promise<Claim | { kind: 'lost' }>
  /** Puts the event back to waiting, in its place. */
  postpone(owner: Owner, id: string, postponement: Postponement): Promise<boolean>
  /** Partitions that are not empty, with their owner and the queue of their first event. */
  busy(): AsyncIterable<{ partition: string; owner: string | undefined; queue: QueueName }>
  /** Frees a partition from an owner whose wake-up job is gone. */
  disown(partition: string, owner: string): Promise<boolean>
}

export function openPartitions(access: QueueAccess): Partitions {
  const { scripts, retention } = access
  return {
    claim: async (owner) => toClaim(await scripts.claim({ ...owner, now: Date.now() })),
    async confirm(owner) {
      for (;;) {
        const asked = performance.now()
        if ((await scripts.confirm(owner)).status === 'lost') return false
        // A process that stood still reads an old answer: by now the lock may have expired.
        if (performance.now() - asked < (owner.lock?.timeout ?? Infinity) / 2) return true
      }
    },
    async finish(owner, id, result) {
      const now = Date.now()
      const next = await scripts.finish({ ...owner, id, ...result, now, retention })
      return next.kind === 'lost' ? next : toClaim(next)
    },
    postpone: async (owner, id, postponement) =>
      (await scripts.postpone({ ...owner, id, ...postponement })).status === 'done',
    busy: () => busyPartitions(access),
    disown: async (partition, owner) =>
      (await scripts.disown({ partition, owner })).status === 'done',
  }
}

function toClaim(result: ClaimResult): Claim {
  if (result.kind === 'none') return result
  if (result.kind === 'delayed') return { kind: 'delayed', at: Number(result.at) }
  const { kind, id, route, facts, attempts, received, begun, revived } = result
  return {
    kind,
    id,
    route,
    facts: JSON.parse(facts) as EventFacts,
    attempts: Number(attempts),
    received: Number(received),
    begun: begun === undefined ? undefined : Number(begun),
    revived: revived === undefined ? undefined : Number(revived),
  }
}

async function* busyPartitions({ redis, base }: QueueAccess) {
  let cursor = '0'
  do {
    const [next, partitions] = await redis.sscan(`${base}lanes`, cursor, 'COUNT', 200)
    cursor = next
    if (partitions.length === 0) continue
    const owners = await redis.hmget(`${base}owners`, ...partitions)
    for (const [index, partition] of partitions.entries()) {
      const first = await redis.lindex(`${base}lane:${partition}`, 0)
      const queue = first === null ? null : await redis.hget(`${base}event:${first}`, 'queue')
      const owner = owners[index] ?? undefined
      yield { partition, owner, queue: (queue ?? 'calls') as QueueName }
    }
  } while (cursor !== '0')
}
