import type { SourceKind } from '../sources/event.ts'
import { sha256Hex } from '../sources/source.ts'
import type { QueueAccess } from './access.ts'
import type { AcceptArguments } from './script-calls.ts'

/** A push of a source that is backfilled. It is accepted once, delivered or backfilled. */
export interface RecordedPush {
  source: SourceKind
  project: string
  /** The same for a delivery and for a backfill. */
  key: string
  /** Its branch or tag, with its project and source. */
  ref: string
  /** Undefined for a delivery. */
  position?: FeedPosition | undefined
}

/** Where a backfill found a push. */
export interface FeedPosition {
  /** When it was pushed; milliseconds since 1970. */
  at: number
  /** The count of delivered pushes before the source was read. */
  delivered: number
}

/** A project whose pushes are backfilled. */
export interface FeedProject {
  project: string
  /** Since when its pushes are recorded; milliseconds since 1970. */
  since: number
  /** The last push that a backfill has read. */
  last: number
}

/** Records of pushes: a backfill finds the pushes that have none. */
export interface Pushes {
  /** Whether this server may backfill; no other one may for so many milliseconds. */
  acquire(milliseconds: number): Promise<boolean>
  /** How many pushes have been delivered; a later delivery is newer than what a backfill reads. */
  deliveredCount(): Promise<number>
  /** Projects that have delivered a push, and those that are named. */
  projects(source: SourceKind, named: readonly string[]): Promise<FeedProject[]>
  /** Whether it was recorded after it was pushed; an older record is another push of the same commits. */
  isRecorded(push: RecordedPush): Promise<boolean>
  markRead(source: SourceKind, project: string, last: number): Promise<void>
}

/** Largest difference between clocks. */
const CLOCK_SKEW = 5 * 60_000
/** How long a push is remembered, in milliseconds: longer than a source is read back. */
export const PUSH_WINDOW = 16 * 24 * 3_600_000

const fieldOf = (source: SourceKind, project: string) => `${source} ${project}`

/** A push as the script `accept` takes it. */
export function pushArguments(push: RecordedPush): NonNullable<AcceptArguments['push']> {
  const { key, position, source, project, ref } = push
  return {
    key: sha256Hex(key),
    ref: sha256Hex(ref),
    field: fieldOf(source, project),
    window: PUSH_WINDOW,
    ...(position && { since: position.at - CLOCK_SKEW, delivered: position.delivered }),
  }
}

export function openPushes({ redis, base, request }: QueueAccess): Pushes {
  return {
    acquire: (milliseconds) =>
      request(async () => {
        const lock = await redis.set(`${base}catch-up`, '1', 'PX', milliseconds, 'NX')
        return lock !== null
      }),
    deliveredCount: () => request(async () => Number(await redis.get(`${base}delivered`))),
    projects: (source, named) =>
      request(async () => {
        const now = String(Date.now())
        for (const name of named) await redis.hsetnx(`${base}pushed`, fieldOf(source, name), now)
        const [since, last] = await Promise.all([
          redis.hgetall(`${base}pushed`),
          redis.hgetall(`${base}looked-at`),
        ])
        const prefix = fieldOf(source, '')
        return Object.keys(since)
          .filter((field) => field.startsWith(prefix))
          .map((field) => ({
            project: field.slice(prefix.length),
            since: Number(since[field]),
            last: Number(last[field] ?? 0),
          }))
      }),
    isRecorded: ({ key, position }) =>
      request(async () => {
        const at = await redis.hget(`${base}push:${sha256Hex(key)}`, 'at')
        return at !== null && Number(at) >= (position?.at ?? 0) - CLOCK_SKEW
      }),
    markRead: (source, project, last) =>
      request(async () => {
        await redis.hset(`${base}looked-at`, fieldOf(source, project), last)
      }),
  }
}
