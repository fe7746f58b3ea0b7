import type { EventFacts } from '../sources/event.ts'
import { sha256Hex } from '../sources/source.ts'
import type { QueueAccess } from './access.ts'
import type { QueueName } from './event-record.ts'
import { PUSH_WINDOW, pushArguments, type RecordedPush } from './pushes.ts'
import { listOf } from './script-calls.ts'

/** An event that a delivery causes on one route. */
export interface RequestedEvent {
  id: string
  route: string
  partition: string
  queue: QueueName
  supersede: boolean
  facts: EventFacts
}

export interface IncomingDelivery {
  /** Key for deduplication; text from outside. */
  delivery: string
  /** Whether its signature has no timestamp: a replay stays valid, so it is remembered longer. */
  timeless: boolean
  events: readonly RequestedEvent[]
  push?: RecordedPush | undefined
}

export type IntakeResult =
  | {
      status: 'new'
      superseded: string[]
      /** Events whose partitions have no owner: they need a wake-up job. */
      idle: string[]
    }
  | { status: 'duplicate' | 'overtaken' }

export interface Intake {
  /** When this resolves, all its events are stored, or none. */
  store(delivery: IncomingDelivery): Promise<IntakeResult>
  isKnown(delivery: string): Promise<boolean>
}

export function openIntake({
  redis,
  base,
  scripts,
  request,
  dedupeWindow,
  retention,
}: QueueAccess): Intake {
  return {
    async store({ delivery, timeless, events, push }) {
      const result = await scripts.accept({
        now: Date.now(),
        dedupeWindow: timeless ? Math.max(dedupeWindow, PUSH_WINDOW) : dedupeWindow,
        retention,
        delivery: sha256Hex(delivery),
        ...(push && { push: pushArguments(push) }),
        events: events.map(({ id, route, partition, queue, supersede, facts }) => ({
          id,
          route,
          partition,
          queue,
          supersede,
          facts: JSON.stringify({ ...facts, paths: undefined }),
        })),
      })
      if (result.status !== 'new') return result
      const { status, superseded, idle } = result
      return { status, superseded: listOf(superseded), idle: listOf(idle) }
    },
    isKnown: (delivery) =>
      request(async () => (await redis.exists(`${base}seen:${sha256Hex(delivery)}`)) === 1),
  }
}
