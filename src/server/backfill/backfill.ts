import { setTimeout as sleep } from 'node:timers/promises'
import { isStepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { FeedPosition, FeedProject, Pushes } from '../queue/pushes.ts'
import { pushOf, type Receiver } from '../routes/receiver.ts'
import type { EventFacts } from '../sources/event.ts'
import type { PushFeed, PushRecord } from './feed.ts'

export interface BackfillOptions {
  feeds: readonly PushFeed[]
  pushes: Pushes
  recover: Receiver['recover']
  log: Log
  signal: AbortSignal
}

const INTERVAL = 60_000
/** Projects in one round; the next round goes on with the others. */
const ROUND_SIZE = 100
/** Longest time that a delivery takes. */
const DELIVERY_TIME = 2 * 60_000

/**
 * Reads the pushes of all feeds now and every minute, and accepts those that were never delivered:
 * while all servers are down, senders give up after one attempt. Of several servers one reads. Ends
 * when the signal fires.
 */
export async function runBackfill(options: BackfillOptions): Promise<void> {
  const { pushes, log, signal } = options
  const round = createRound(options)
  while (!signal.aborted) {
    try {
      if (await pushes.acquire(INTERVAL * 0.9)) await round()
    } catch (error) {
      // Redis does not respond, which its connection logs.
      log.debug(`backfill: ${messageOf(error)}`)
    }
    await sleep(INTERVAL, undefined, { signal }).catch(() => {})
  }
}

/** An error of one project is logged once, and does not stop the others. */
function createRound(options: BackfillOptions): () => Promise<void> {
  const { feeds, pushes, log, signal } = options
  const lastErrors = new Map<string, string>()
  const awake = new Set<string>()
  const read = async (feed: PushFeed, feedProject: FeedProject) => {
    const { project } = feedProject
    const found = await backfillProject(feed, feedProject, options)
    if (found > 0) log.info(`${project}: ${found} of its pushes had not been delivered`)
    if (found === 0 && awake.has(project)) return
    const stopped = (await feed.wake?.(project, signal)) ?? 0
    awake.add(project)
    if (stopped > 0) log.info(`${project}: its webhook was stopped after failures; it works again`)
  }
  let next = 0
  return async () => {
    const perFeed = await Promise.all(
      feeds.map(async (feed) =>
        (await pushes.projects(feed.source, feed.named))
          .filter(({ project }) => feed.allows(project))
          .map((feedProject) => ({ feed, feedProject })),
      ),
    )
    const all = perFeed.flat()
    const round = [...all.slice(next), ...all.slice(0, next)].slice(0, ROUND_SIZE)
    next = all.length > ROUND_SIZE ? (next + ROUND_SIZE) % all.length : 0
    for (const { feed, feedProject } of round) {
      const { project } = feedProject
      const error = await read(feed, feedProject).then(() => '', messageOf)
      if (signal.aborted) return
      if (error !== '' && error !== lastErrors.get(project)) log.warn(`backfill: ${error}`)
      lastErrors.set(project, error)
    }
  }
}

function messageOf(thrown: unknown): string {
  const { message, hint } = toStepError(thrown)
  return hint === undefined ? message : `${message}\n${hint}`
}

/** Accepts the missing pushes of a project since the last read. */
async function backfillProject(
  feed: PushFeed,
  { project, since, last }: FeedProject,
  options: BackfillOptions,
): Promise<number> {
  const { pushes, signal } = options
  const reading: Reading = { feed, project, delivered: await pushes.deliveredCount() }
  const news: PushRecord[] = []
  for await (const record of feed.read(project, signal)) {
    if (record.id <= last || record.at < since) break
    news.push(record)
  }
  const complete = Date.now() - DELIVERY_TIME
  let found = 0
  for (const record of await missing(news, reading, options)) {
    if (record.at > complete) continue
    const status = await recoverPush(record, reading, options)
    // A newer push was delivered meanwhile: the next round reads again.
    if (status === 'overtaken') return found
    if (status === 'new') found++
  }
  const newest = news.find(({ at }) => at <= complete)
  if (newest) await pushes.markRead(feed.source, project, newest.id)
  return found
}

/** One read of a project's pushes. */
interface Reading {
  feed: PushFeed
  project: string
  /** The count of delivered pushes when it began. */
  delivered: number
}

/**
 * The pushes of each ref that are newer than its last recorded push, the oldest first: an old commit
 * must not be accepted after a newer one, and nothing of a deleted branch.
 */
async function missing(
  newestFirst: readonly PushRecord[],
  reading: Reading,
  { pushes }: BackfillOptions,
): Promise<PushRecord[]> {
  const passed = new Set<string>()
  const found: PushRecord[] = []
  for (const record of newestFirst) {
    const ref = `${record.kind} ${record.ref}`
    if (passed.has(ref)) continue
    const push = pushOf(factsOf(record, reading), positionOf(record, reading))
    if (record.after === '' || (push && (await pushes.isRecorded(push)))) passed.add(ref)
    else found.push(record)
  }
  return found.reverse()
}

async function recoverPush(
  record: PushRecord,
  reading: Reading,
  { recover, log, signal }: BackfillOptions,
): ReturnType<Receiver['recover']> {
  const { ref, after } = record
  const { feed, project } = reading
  try {
    const commit = await feed.describe(project, after, signal)
    return await recover({ ...factsOf(record, reading), ...commit }, positionOf(record, reading))
  } catch (error) {
    if (!isStepError(error, 'NOT_FOUND')) throw error
    log.warn(`${project}: ${after}, pushed to ${ref} and never delivered, is gone`)
    return 'known'
  }
}

const positionOf = ({ at }: PushRecord, { delivered }: Reading): FeedPosition => ({ at, delivered })

function factsOf(
  { kind, ref, by, before, after }: PushRecord,
  { feed: { source }, project }: Reading,
): EventFacts {
  return {
    source,
    via: source,
    kind,
    project,
    ref,
    by,
    commit: after,
    title: '',
    url: '',
    push: { before, after },
  }
}
