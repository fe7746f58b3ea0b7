import { setTimeout as sleep } from 'node:timers/promises'
import { isStepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Asked, AskedFor, Pushes } from '../queue/pushes.ts'
import { pushOf, type Receiver } from '../routes/receive.ts'
import type { EventFacts } from '../sources/event.ts'
import type { PushFeed, PushRecord } from './feed.ts'

export interface CatchUpOptions {
  feeds: readonly PushFeed[]
  pushes: Pushes
  recover: Receiver['recover']
  log: Log
  signal: AbortSignal
}

const EVERY = 60_000
/** Projects that are asked about in one round; those left over are the next round's. */
const AT_ONCE = 100
/** So long a delivery may be on its way. */
const ON_ITS_WAY = 2 * 60_000

/**
 * Asks now and every minute what was pushed, and takes in what was never delivered: while all
 * servers are down, senders give up after one try. Of several servers one asks. Ends on the signal.
 */
export async function keepCatchingUp(options: CatchUpOptions): Promise<void> {
  const { pushes, log, signal } = options
  const round = createRound(options)
  while (!signal.aborted) {
    try {
      if (await pushes.takeTurn(EVERY * 0.9)) await round()
    } catch (error) {
      // Redis is away; that is told of elsewhere.
      log.debug(`catching up: ${messageOf(error)}`)
    }
    await sleep(EVERY, undefined, { signal }).catch(() => {})
  }
}

/** What is wrong with one project is told once, and does not stop the others. */
function createRound(options: CatchUpOptions): () => Promise<void> {
  const { feeds, pushes, log, signal } = options
  const told = new Map<string, string>()
  const awake = new Set<string>()
  const look = async (feed: PushFeed, asked: Asked) => {
    const { project } = asked
    const found = await catchUp(feed, asked, options)
    if (found > 0) log.info(`${project}: ${found} of its pushes had not been delivered`)
    if (found === 0 && awake.has(project)) return
    const stopped = (await feed.wake?.(project, signal)) ?? 0
    awake.add(project)
    if (stopped > 0) log.info(`${project}: its webhook was stopped after failures; it works again`)
  }
  let next = 0
  return async () => {
    const all = await Promise.all(
      feeds.map(async (feed) =>
        (await pushes.projects(feed.source, feed.named))
          .filter(({ project }) => feed.allows(project))
          .map((asked) => ({ feed, asked })),
      ),
    )
    const everyone = all.flat()
    const turn = [...everyone.slice(next), ...everyone.slice(0, next)].slice(0, AT_ONCE)
    next = everyone.length > AT_ONCE ? (next + AT_ONCE) % everyone.length : 0
    for (const { feed, asked } of turn) {
      const fault = await look(feed, asked).then(() => '', messageOf)
      if (signal.aborted) return
      if (fault !== '' && fault !== told.get(asked.project)) log.warn(`catching up: ${fault}`)
      told.set(asked.project, fault)
    }
  }
}

function messageOf(thrown: unknown): string {
  const { message, hint } = toStepError(thrown)
  return hint === undefined ? message : `${message}\n${hint}`
}

/** Takes in what is missing since the last look. */
async function catchUp(feed: PushFeed, asked: Asked, options: CatchUpOptions): Promise<number> {
  const { project, since, last } = asked
  const { pushes, signal } = options
  const look: Look = { feed, project, delivered: await pushes.delivered() }
  const news: PushRecord[] = []
  for await (const record of feed.read(project, signal)) {
    if (record.id <= last || record.at < since) break
    news.push(record)
  }
  const settled = Date.now() - ON_ITS_WAY
  let found = 0
  for (const record of await missing(news, look, options)) {
    if (record.at > settled) continue
    const answer = await takeIn(record, look, options)
    // What was asked for is old by now; it is asked for again.
    if (answer === 'overtaken') return found
    if (answer === 'new') found++
  }
  const newest = news.find(({ at }) => at <= settled)
  if (newest) await pushes.lookedAt(feed.source, project, newest.id)
  return found
}

interface Look {
  feed: PushFeed
  project: string
  /** How many pushes had been delivered when it began. */
  delivered: number
}

/**
 * Of each ref what is newer than the last push that was heard of, the oldest first: an old commit must
 * not be delivered over a newer one, and nothing of a branch that is gone.
 */
async function missing(
  newestFirst: readonly PushRecord[],
  look: Look,
  { pushes }: CatchUpOptions,
): Promise<PushRecord[]> {
  const passed = new Set<string>()
  const found: PushRecord[] = []
  for (const record of newestFirst) {
    const ref = `${record.kind} ${record.ref}`
    if (passed.has(ref)) continue
    const push = pushOf(factsOf(record, look), askedFor(record, look))
    if (record.after === '' || (push && (await pushes.heard(push)))) passed.add(ref)
    else found.push(record)
  }
  return found.reverse()
}

async function takeIn(
  record: PushRecord,
  look: Look,
  { recover, log, signal }: CatchUpOptions,
): ReturnType<Receiver['recover']> {
  const { ref, after } = record
  const { feed, project } = look
  try {
    const commit = await feed.describe(project, after, signal)
    return await recover({ ...factsOf(record, look), ...commit }, askedFor(record, look))
  } catch (error) {
    if (!isStepError(error, 'NOT_FOUND')) throw error
    log.warn(`${project}: ${after}, pushed to ${ref} and never delivered, is gone`)
    return 'known'
  }
}

const askedFor = ({ at }: PushRecord, { delivered }: Look): AskedFor => ({ at, delivered })

function factsOf(
  { kind, ref, by, before, after }: PushRecord,
  { feed: { source }, project }: Look,
): EventFacts {
  const who = { source, via: source, kind, project, ref, by }
  return { ...who, commit: after, title: '', url: '', push: { before, after } }
}
