import type { SourceKind } from '../sources/event.ts'
import { sha256Hex } from '../sources/source.ts'
import type { QueueAccess } from './access.ts'

/** A push, where its server is asked for those it could not deliver. Asked for and delivered, it is taken once. */
export interface HeardPush {
  source: SourceKind
  project: string
  /** The same however it was heard of. */
  key: string
  /** Its branch or tag, with its project and source. */
  ref: string
  /** Undefined: it was delivered. */
  asked?: AskedFor | undefined
}

/** A push that its server told of when it was asked. */
export interface AskedFor {
  /** When it was pushed; milliseconds since 1970. */
  at: number
  /** What `delivered` said before its server was asked. */
  delivered: number
}

/** A project that is asked about. */
export interface Asked {
  project: string
  /** Since when its pushes are known; milliseconds since 1970. */
  since: number
  /** The last push that was looked at. */
  last: number
}

/** What is remembered of pushes, so that those that never came can be told from those that did. */
export interface Pushes {
  /** Whether it is this server's turn to ask; then it is nobody else's for so many milliseconds. */
  takeTurn(milliseconds: number): Promise<boolean>
  /** How many pushes were delivered until now: what came later is newer than what was asked for. */
  delivered(): Promise<number>
  /** Those that delivered a push before, and those that are named. */
  projects(source: SourceKind, named: readonly string[]): Promise<Asked[]>
  /** Whether it was taken since it was pushed; before that, it was another push of the same commits. */
  heard(push: HeardPush): Promise<boolean>
  lookedAt(source: SourceKind, project: string, last: number): Promise<void>
}

/** So far clocks may be apart. */
const CLOCKS = 5 * 60_000
/** Longer than a server is asked about what it could not deliver; milliseconds. */
export const KNOWN = 16 * 24 * 3_600_000

const fieldOf = (source: SourceKind, project: string) => `${source} ${project}`

/** What the script `accept` needs of a push. */
export function pushArguments(push: HeardPush | undefined): (string | number)[] {
  if (push === undefined) return ['', '', '', '', '', '']
  const { key, asked, source, project, ref } = push
  const { at, delivered } = asked ?? {}
  const since = at === undefined ? '' : at - CLOCKS
  return [sha256Hex(key), since, KNOWN, fieldOf(source, project), sha256Hex(ref), delivered ?? '']
}

export function openPushes({ redis, base, ask }: QueueAccess): Pushes {
  return {
    takeTurn: (milliseconds) =>
      ask(async () => (await redis.set(`${base}catch-up`, '1', 'PX', milliseconds, 'NX')) !== null),
    delivered: () => ask(async () => Number(await redis.get(`${base}delivered`))),
    projects: (source, named) =>
      ask(async () => {
        const now = String(Date.now())
        for (const one of named) await redis.hsetnx(`${base}pushed`, fieldOf(source, one), now)
        const [since, last] = await Promise.all([
          redis.hgetall(`${base}pushed`),
          redis.hgetall(`${base}looked-at`),
        ])
        const prefix = fieldOf(source, '')
        return Object.keys(since)
          .filter((field) => field.startsWith(prefix))
          .map((field) => ({
            project: field.slice(prefix.length),
            ...{ since: Number(since[field]), last: Number(last[field] ?? 0) },
          }))
      }),
    heard: ({ key, asked }) =>
      ask(async () => {
        const at = await redis.hget(`${base}push:${sha256Hex(key)}`, 'at')
        return at !== null && Number(at) >= (asked?.at ?? 0) - CLOCKS
      }),
    lookedAt: (source, project, last) =>
      ask(async () => {
        await redis.hset(`${base}looked-at`, fieldOf(source, project), last)
      }),
  }
}
