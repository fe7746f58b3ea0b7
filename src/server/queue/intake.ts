import type { EventFacts } from '../sources/event.ts'
import { sha256Hex } from '../sources/source.ts'
import type { QueueAccess } from './access.ts'
import type { QueueName } from './event-record.ts'
import { type HeardPush, KNOWN, pushArguments } from './pushes.ts'

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
  /** Whether what proves its sender tells no time: then it is known for longer. */
  timeless: boolean
  wanted: readonly Wanted[]
  push?: HeardPush | undefined
}

export type Stored =
  | {
      answer: 'new'
      superseded: string[]
      /** Events whose lanes nobody works on: they need a ticket. */
      idle: string[]
    }
  | { answer: 'duplicate' | 'overtaken' }

/** Where events come in. */
export interface Intake {
  /** They are kept, all of them or none, when this resolves. */
  keep(taking: Taking): Promise<Stored>
  /** Whether this delivery was taken before. */
  knows(delivery: string): Promise<boolean>
}

export function openIntake({ redis, base, run, ask, remember, keep }: QueueAccess): Intake {
  const take = ({ delivery, timeless, wanted, push }: Taking): Promise<Stored> =>
    ask(async () => {
      const events = wanted.flatMap(({ id, route, lane, queue, supersede, facts }) => [
        ...[id, route, lane, queue, supersede ? 1 : 0],
        JSON.stringify({ ...facts, paths: undefined }),
      ])
      const seen = sha256Hex(delivery)
      const known = timeless ? Math.max(remember, KNOWN) : remember
      const given = [Date.now(), known, keep, seen, ...pushArguments(push), ...events]
      const answer = await run.accept(...given)
      const [said, superseded, idle] = answer as [Stored['answer'], string[], string[]]
      if (said === 'new') return { answer: 'new', superseded, idle }
      return { answer: said }
    })
  return {
    keep: take,
    knows: (delivery) =>
      ask(async () => (await redis.exists(`${base}seen:${sha256Hex(delivery)}`)) === 1),
  }
}
