import type { EventFacts } from '../event.ts'
import { sha256Hex } from '../sources/source.ts'
import type { QueueAccess } from './access.ts'
import type { QueueName } from './event-record.ts'
import { type HeardPush, pushArguments } from './pushes.ts'

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
  push?: HeardPush | undefined
}

export type Stored =
  | {
      answer: 'new'
      superseded: string[]
      /** Events whose lanes nobody works on: they need a ticket. */
      idle: string[]
    }
  | { answer: 'duplicate' | 'replayed' | 'overtaken' }

/** Where events come in: kept, all of them or none, when this resolves. */
export type Intake = (taking: Taking) => Promise<Stored>

export function openIntake({ run, ask, remember, keep }: QueueAccess): Intake {
  return ({ delivery, whose, wanted, push }) =>
    ask(async () => {
      const events = wanted.flatMap(({ id, route, lane, queue, supersede, facts }) => [
        ...[id, route, lane, queue, supersede ? 1 : 0],
        JSON.stringify({ ...facts, paths: undefined }),
      ])
      const seen = [sha256Hex(delivery), sha256Hex(whose)]
      const given = [Date.now(), remember, keep, ...seen, ...pushArguments(push), ...events]
      const answer = await run.accept(...given)
      const [said, superseded, idle] = answer as [Stored['answer'], string[], string[]]
      if (said === 'new') return { answer: 'new', superseded, idle }
      return { answer: said }
    })
}
