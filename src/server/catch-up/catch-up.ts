import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster, Redis } from 'ioredis'
import { isStepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { EventFacts } from '../event.ts'
import { keyPrefix } from '../queue/access.ts'
import type { Intake } from '../queue/intake.ts'
import { pushKey, type Receiver } from '../receive.ts'
import type { PushFeed, PushRecord } from './feed.ts'

export interface CatchUpOptions {
  feeds: readonly PushFeed[]
  recover: Receiver['recover']
  heard: Intake['heard']
  client: Redis | Cluster
  /** Of the queue. */
  name: string
  log: Log
  signal: AbortSignal
}

const EVERY = 60_000
/** So long a delivery may be on its way. */
const ON_ITS_WAY = 2 * 60_000

/**
 * Asks now and every minute what was pushed, and takes in what was never delivered: while all
 * servers are down, senders give up after one try. Of several servers one asks. Ends on the signal.
 */
export async function keepCatchingUp(options: CatchUpOptions): Promise<void> {
  const { client, name, log, signal } = options
  const turn = `${keyPrefix(name)}:catch-up`
  const round = createRound(options)
  while (!signal.aborted) {
    try {
      const ours = await (client as Redis).set(turn, '1', 'PX', EVERY * 0.9, 'NX')
      if (ours !== null) await round()
    } catch (error) {
      // Redis is away; that is told of elsewhere.
      log.debug(`catching up: ${messageOf(error)}`)
    }
    await sleep(EVERY, undefined, { signal }).catch(() => {})
  }
}

/** Looks at every project once. What is wrong with one is told once, and does not stop the others. */
function createRound(options: CatchUpOptions): () => Promise<void> {
  const { feeds, log, signal } = options
  const told = new Map<string, string>()
  const awake = new Set<string>()
  const look = async (feed: PushFeed, project: string) => {
    const found = await catchUp(feed, project, options)
    if (found > 0) log.info(`${project}: ${found} of its pushes had not been delivered`)
    if (found === 0 && awake.has(project)) return
    const stopped = (await feed.wake?.(project, signal)) ?? 0
    awake.add(project)
    if (stopped > 0) log.info(`${project}: its webhook was stopped after failures; it works again`)
  }
  return async () => {
    for (const feed of feeds) {
      for (const project of feed.projects) {
        const fault = await look(feed, project).then(() => '', messageOf)
        if (signal.aborted) return
        if (fault !== '' && fault !== told.get(project)) log.warn(`catching up: ${fault}`)
        told.set(project, fault)
      }
    }
  }
}

function messageOf(thrown: unknown): string {
  const { message, hint } = toStepError(thrown)
  return hint === undefined ? message : `${message}\n${hint}`
}

/** Takes in what is missing since the last time; the first time marks where that begins. */
async function catchUp(feed: PushFeed, project: string, options: CatchUpOptions): Promise<number> {
  const redis = options.client as Redis
  const key = `${keyPrefix(options.name)}:caught-up:${feed.source}:${project}`
  const mark = await redis.get(key)
  const news: PushRecord[] = []
  for await (const record of feed.read(project, options.signal)) {
    if (mark !== null && record.id <= Number(mark)) break
    news.push(record)
    if (mark === null) break
  }
  const latest = Date.now() - ON_ITS_WAY
  const settled = mark === null ? news : news.filter(({ at }) => at <= latest)
  let found = 0
  if (mark !== null) {
    for (const record of await missing(news, feed, project, options)) {
      if (record.at <= latest && (await takeIn(record, feed, project, options))) found++
    }
  }
  const [newest] = settled
  if (newest || mark === null) await redis.set(key, newest?.id ?? 0)
  return found
}

/**
 * Of each ref what is newer than the last push that was heard of, the oldest first: an old commit must
 * not be delivered over a newer one, and nothing of a branch that is gone.
 */
async function missing(
  newestFirst: readonly PushRecord[],
  feed: PushFeed,
  project: string,
  { heard }: CatchUpOptions,
): Promise<PushRecord[]> {
  const passed = new Set<string>()
  const found: PushRecord[] = []
  for (const record of newestFirst) {
    const ref = `${record.kind} ${record.ref}`
    if (passed.has(ref)) continue
    const key = pushKey(factsOf(record, feed, project)) ?? ''
    if (record.after === '' || (await heard(key, record.at))) passed.add(ref)
    else found.push(record)
  }
  return found.reverse()
}

async function takeIn(
  record: PushRecord,
  feed: PushFeed,
  project: string,
  { recover, log, signal }: CatchUpOptions,
): Promise<boolean> {
  const { ref, after, at } = record
  try {
    const commit = await feed.describe(project, after, signal)
    return await recover({ ...factsOf(record, feed, project), ...commit }, at)
  } catch (error) {
    if (!isStepError(error, 'NOT_FOUND')) throw error
    log.warn(`${project}: ${after}, pushed to ${ref} and never delivered, is gone`)
    return false
  }
}

function factsOf(
  { kind, ref, by, before, after }: PushRecord,
  { source }: PushFeed,
  project: string,
): EventFacts {
  const who = { source, via: source, kind, project, ref, by }
  return { ...who, commit: after, title: '', url: '', push: { before, after } }
}
