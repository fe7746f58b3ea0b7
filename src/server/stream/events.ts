import { randomBytes } from 'node:crypto'
import type { AnnouncementName } from '../../api/stream.ts'
import type { QueueAccess } from '../queue/access.ts'
import { runKeys } from '../runs/keys.ts'
import { EMIT, EMIT_CHANGED, EMIT_OF_RUN, eventKeys } from './scripts.ts'

/** Something that happened, for whoever listens. It has no value of a secret. */
export interface Announcement {
  type: AnnouncementName
  /** Undefined for what concerns the server as a whole. */
  app?: string | undefined
  environment?: string | undefined
  [more: string]: unknown
}

export type Place = Announcement & { app: string; environment: string }

export interface NumberedEvent extends Announcement {
  number: number
  /** ISO 8601, UTC. */
  at: string
}

export interface Events {
  emit(event: Announcement): Promise<void>
  /**
   * Emits when `state` of its application and environment is not the one that was seen last. By a
   * watcher of the ledger nothing is emitted before it has looked once at the whole.
   */
  emitChanged(event: Place, state: string, watcher?: string): Promise<void>
  /** A watcher has looked at the whole. */
  sawAll(watcher: string): Promise<void>
  /** Strictly after an event, at most so many. */
  read(after: number, most: number): Promise<NumberedEvent[]>
  /** The number of the newest event; 0 before the first. */
  newest(): Promise<number>
  /** The key of tags of config values, which all servers of one queue share. */
  tagKey(): Promise<string>
}

export function openEvents({ redis, base, request }: QueueAccess): Events {
  const keys = eventKeys(base)
  let tagKey: string | undefined
  return {
    emit: (event) =>
      request(async () => void (await redis.eval(EMIT, 1, keys.events, JSON.stringify(event)))),
    emitChanged: (event, state, watcher) =>
      request(async () => {
        const { type, app, environment } = event
        const field = `${type} ${app} ${environment}`
        const given = [field, state, JSON.stringify(event), watcher ?? '']
        await redis.eval(EMIT_CHANGED, 2, keys.events, keys.seen, ...given)
      }),
    sawAll: (watcher) => request(async () => void (await redis.hset(keys.seen, watcher, '1'))),
    read: (after, most) =>
      request(async () => {
        const found = await redis.xrange(keys.events, `(${after}-0`, '+', 'COUNT', most)
        return found.map(([id, [, text = '{}']]) => {
          const event = JSON.parse(text) as Announcement & { at: number }
          return { ...event, number: numberOf(id), at: new Date(event.at).toISOString() }
        })
      }),
    newest: () =>
      request(async () => {
        const [last] = await redis.xrevrange(keys.events, '+', '-', 'COUNT', 1)
        return last === undefined ? 0 : numberOf(last[0])
      }),
    tagKey: () =>
      request(async () => {
        if (tagKey !== undefined) return tagKey
        const made = randomBytes(32).toString('base64url')
        await redis.set(keys.tagKey, made, 'NX')
        tagKey = (await redis.get(keys.tagKey)) ?? made
        return tagKey
      }),
  }
}

const numberOf = (id: string) => Number.parseInt(id, 10)

/** Events of a run, whose application and environment it is kept with. */
export async function emitOfRun(
  { redis, base, request }: QueueAccess,
  run: string,
  type: AnnouncementName,
  more: readonly object[] = [{}],
): Promise<void> {
  const [place, { events }] = [runKeys(base).run(run), eventKeys(base)]
  const texts = more.map((each) => JSON.stringify(each))
  await request(() => redis.eval(EMIT_OF_RUN, 2, place, events, type, ...texts))
}
