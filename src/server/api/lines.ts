import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { toStepError } from '../../core/errors.ts'
import type { Question } from '../../policy/decide.ts'
import type { Runs } from '../runs/runs.ts'
import type { Standing } from '../sessions/standing.ts'
import { type Authenticated, callerOf, type Decide, requireAllowed } from './access.ts'
import type { ApiDependencies } from './dependencies.ts'
import { type FollowerLimits, limitFollowers } from './followers.ts'
import { operations } from './operations.ts'
import { visibleRun } from './runs.ts'
import { withTypes } from './typed.ts'

const HEARTBEAT = 15_000
/** After that the client comes again, with a session that still holds. */
const LONGEST = 30 * 60_000

/** `GET runs/:id/lines`: the log of a run as server-sent events. */
export function addLineRoutes(api: FastifyInstance, dependencies: ApiDependencies): void {
  const { runs, decide, audit, heartbeat = HEARTBEAT, followers = MOST_FOLLOWERS } = dependencies
  const open = new Set<AbortController>()
  const limit = limitFollowers(followers)
  // Before the server waits for its connections.
  api.addHook('preClose', async () => {
    for (const follower of open) follower.abort('restart')
  })
  const route = { schema: operations.followRun, exposeHeadRoute: false }
  withTypes(api).get('/runs/:id/lines', route, async (request, reply) => {
    const after = request.headers['last-event-id']
    const { id, app, environment } = await visibleRun(request, dependencies)
    const act = { verb: 'logs', app, environment, run: id } as const
    await requireAllowed(request, act, { decide, audit })
    const caller = callerOf(request)
    const leave = limit.enter(`${caller.subject.identity} ${caller.subject.by}`)
    const stop = new AbortController()
    open.add(stop)
    reply.hijack()
    const { raw } = reply
    raw.on('close', () => stop.abort('gone')).on('error', () => stop.abort('gone'))
    const timer = setTimeout(() => stop.abort('expired'), LONGEST)
    const mayGoOn = () => standingOf(caller, { app, environment }, decide)
    const beating = setInterval(() => beat({ id, raw, stop, mayGoOn }, runs), heartbeat)
    try {
      writeHead(raw)
      await follow({ id, after, raw, stop }, runs)
    } catch (error) {
      dependencies.log.debug(`the log of ${id}: ${toStepError(error).message}`)
    } finally {
      clearInterval(beating)
      clearTimeout(timer)
      open.delete(stop)
      leave()
      raw.end()
    }
  })
}

const MOST_FOLLOWERS: FollowerLimits = { ofOne: 20, ofAll: 500 }

/** Whether somebody may read the log of a run there, and whether what they came with holds. */
async function standingOf(
  { subject, standing }: Authenticated,
  where: Pick<Question, 'app' | 'environment'>,
  decide: Decide,
): Promise<Standing> {
  const isAllowed = (verb: 'view' | 'logs') => decide(subject, { verb, ...where }).allowed
  return isAllowed('view') && isAllowed('logs') ? standing() : 'revoked'
}

interface Beating extends Pick<Follower, 'id' | 'raw' | 'stop'> {
  mayGoOn(): Promise<Standing>
}

/** Whoever may not read it any more, or came with what does not hold any more, reads no further. */
async function beat({ id, raw, stop, mayGoOn }: Beating, runs: Runs): Promise<void> {
  raw.write(': \n\n')
  // A run may end without a worker; whoever looks at it finds out.
  runs.find(id).catch(() => {})
  try {
    const standing = await mayGoOn()
    if (standing !== 'alive') stop.abort(standing)
  } catch {
    // Not known: the reader comes again, and is asked who it is.
    stop.abort('restart')
  }
}

function writeHead(raw: ServerResponse): void {
  raw.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  })
  raw.flushHeaders()
}

interface Follower {
  id: string
  after: string
  raw: ServerResponse
  stop: AbortController
}

async function follow({ id, raw, stop, ...follower }: Follower, runs: Runs): Promise<void> {
  let { after } = follower
  let isOver = false
  while (!stop.signal.aborted) {
    const { entries, trimmed } = await runs.log.read(id, after)
    if (trimmed) await write(raw, stop.signal, 'event: resync\ndata: {}\n\n')
    const text = entries.map((entry) => frame(entry)).join('')
    if (text !== '') await write(raw, stop.signal, text)
    const last = entries.at(-1)
    if (last?.event === 'finished') return
    after = last?.id ?? after
    if (last !== undefined) continue
    // Somebody who had the last event before gets nothing more.
    if (isOver) return
    isOver = (await runs.find(id))?.finished !== undefined
    if (!isOver) await runs.log.changed(id, after, stop.signal)
  }
  const { reason } = stop.signal
  if (reason !== 'gone') raw.write(`event: bye\ndata: ${JSON.stringify({ reason })}\n\n`)
}

const frame = ({ id, event, data }: { id: string; event: string; data: string }) =>
  `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`

/** A slow reader slows its own stream only: nothing piles up here. */
async function write(raw: ServerResponse, signal: AbortSignal, text: string): Promise<void> {
  if (raw.write(text) || signal.aborted) return
  await once(raw, 'drain', { signal }).catch(() => {})
}
