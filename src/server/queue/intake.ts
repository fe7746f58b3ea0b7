import type { EventFacts } from '../event.ts'
import { sha256Hex } from '../sources/source.ts'
import type { QueueAccess } from './access.ts'
import type { QueueName } from './event-record.ts'

/** What a delivery asks for, one for each route that wants it. */
export interface Wanted {
  id: string
  route: string
  lane: string
  queue: QueueName
  supersede: boolean
  facts: EventFacts
}

export interface Taking {
  /** Deduplicated on this; from outside. */
  delivery: string
  /** Whose it is, where the same content must not come under another name. */
  whose: string
  wanted: readonly Wanted[]
  /**
   * Of a push, where its server is asked for those it could not deliver: what it is known by, and when
   * it was pushed, if it was asked for. Asked for and delivered, it is taken once.
   */
  push?: { key: string; pushed?: number | undefined } | undefined
}

export type Taken =
  | {
      answer: 'new'
      superseded: string[]
      /** Events whose lanes nobody works on: they need a ticket. */
      idle: string[]
    }
  | { answer: 'duplicate' }
  | { answer: 'replayed' }

/** Where events come in. */
export interface Intake {
  take(taking: Taking): Promise<Taken>
  /** Whether the push was taken since it was pushed; before, it was another one of the same commits. */
  heard(key: string, pushed: number): Promise<boolean>
}

/** Longer than a server is asked about what it could not deliver. */
const PUSH_KNOWN = 16 * 24 * 3_600_000
/** So far clocks may be apart. */
const CLOCKS = 5 * 60_000

export function openIntake(access: QueueAccess): Intake {
  const { redis, base, run, ask, remember, keep } = access
  return {
    take: ({ delivery, whose, wanted, push }) =>
      ask(async () => {
        const events = wanted.flatMap(({ id, route, lane, queue, supersede, facts }) => [
          ...[id, route, lane, queue, supersede ? 1 : 0],
          JSON.stringify({ ...facts, paths: undefined }),
        ])
        const since = push?.pushed === undefined ? '' : push.pushed - CLOCKS
        const heard = [push ? sha256Hex(push.key) : '', since, PUSH_KNOWN]
        const seen = [sha256Hex(delivery), sha256Hex(whose)]
        const answer = await run.accept(Date.now(), remember, keep, ...seen, ...heard, ...events)
        const [said, superseded, idle] = answer as [string, string[], string[]]
        if (said === 'new') return { answer: 'new', superseded, idle }
        return { answer: said === 'replayed' ? 'replayed' : 'duplicate' }
      }),
    heard: (key, pushed) =>
      ask(async () => {
        const at = await redis.hget(`${base}push:${sha256Hex(key)}`, 'at')
        return at !== null && Number(at) >= pushed - CLOCKS
      }),
  }
}
