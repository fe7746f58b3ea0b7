import type { EventFacts } from '../sources/event.ts'
import type { QueueAccess } from './access.ts'
import type { QueueName } from './event-record.ts'

/** A turn of a lane: what its worker shall do now. */
export type Turn =
  | { do: 'nothing' }
  | { do: 'wait'; until: number }
  | {
      do: 'run'
      id: string
      route: string
      facts: EventFacts
      attempts: number
      received: number
      begun: number | undefined
      /** When a person asked for it anew. */
      revived: number | undefined
    }

/** Who works on a lane: a ticket of the queue, and this run of it. */
export interface Owner {
  lane: string
  ticket: string
  run: string
}

export interface Ending {
  state: 'done' | 'dead'
  text: string
  url: string
  error: string
}

export interface Postponement {
  until: number
  error: string
  /** Whether it was an attempt. */
  counts: boolean
  /** Whether those behind it may go on meanwhile. */
  passable: boolean
}

/** Where events are worked on: each lane by one owner, the oldest event first. */
export interface Lanes {
  claim(owner: Owner): Promise<Turn>
  /** Gives the lane's next turn; `lost` when somebody else took the lane over meanwhile. */
  finish(owner: Owner, id: string, ending: Ending): Promise<Turn | { do: 'lost' }>
  /** Back to waiting, in its place. */
  postpone(owner: Owner, id: string, postponement: Postponement): Promise<boolean>
  /** Lanes that are not empty, with the owner of each and the queue it is worked on in. */
  busy(): AsyncIterable<{ lane: string; owner: string | undefined; queue: QueueName }>
  /** Takes a lane from an owner whose ticket is gone. */
  disown(lane: string, owner: string): Promise<boolean>
}

export function openLanes(access: QueueAccess): Lanes {
  const { run, ask, keep } = access
  return {
    claim: ({ lane, ticket, run: turn }) =>
      ask(async () => turnOf((await run.claim(lane, ticket, turn, Date.now())) as string[])),
    finish: ({ lane, ticket, run: turn }, id, { state, text, url, error }) =>
      ask(async () => {
        const given = [lane, `${ticket}/${turn}`, id, state, Date.now(), keep, text, url, error]
        const answer = (await run.finish(...given)) as string[]
        return answer[0] === 'lost' ? { do: 'lost' } : turnOf(answer)
      }),
    postpone: ({ lane, ticket, run: turn }, id, { until, error, counts, passable }) =>
      ask(async () => {
        const flags = [counts ? 1 : 0, passable ? 1 : 0]
        const given = [lane, `${ticket}/${turn}`, id, until, error, ...flags]
        return (await run.postpone(...given)) === 'done'
      }),
    busy: () => busyLanes(access),
    disown: (lane, owner) => ask(async () => (await run.disown(lane, owner)) === 1),
  }
}

function turnOf(answer: string[]): Turn {
  const [what, first = '', route = '', facts = '', attempts = '0', ...times] = answer
  const [begun, revived, received] = times
  if (what === 'wait') return { do: 'wait', until: Number(first) }
  if (what !== 'run') return { do: 'nothing' }
  return {
    ...{ do: 'run', id: first, route, facts: JSON.parse(facts) as EventFacts },
    attempts: Number(attempts),
    received: Number(received),
    begun: begun ? Number(begun) : undefined,
    revived: revived ? Number(revived) : undefined,
  }
}

async function* busyLanes({ redis, base }: QueueAccess) {
  let cursor = '0'
  do {
    const [next, lanes] = await redis.sscan(`${base}lanes`, cursor, 'COUNT', 200)
    cursor = next
    if (lanes.length === 0) continue
    const owners = await redis.hmget(`${base}owners`, ...lanes)
    for (const [index, lane] of lanes.entries()) {
      const head = await redis.lindex(`${base}lane:${lane}`, 0)
      const queue = head === null ? null : await redis.hget(`${base}event:${head}`, 'queue')
      yield { lane, owner: owners[index] ?? undefined, queue: (queue ?? 'calls') as QueueName }
    }
  } while (cursor !== '0')
}
