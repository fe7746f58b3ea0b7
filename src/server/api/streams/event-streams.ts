import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { toStepError } from '../../../core/errors.ts'
import type { Standing } from '../../sessions/standing.ts'
import { callerOf } from '../access.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { type FollowerLimits, limitFollowers } from '../followers.ts'

const HEARTBEAT = 15_000
/** After that the client comes again, with a session that still holds. */
const LONGEST = 30 * 60_000
const MOST_FOLLOWERS: FollowerLimits = { ofOne: 20, ofAll: 500 }

/** A response of server-sent events. */
export interface EventStream {
  /** Fires when its reader is gone, or may not or should not read on; its reason says which. */
  signal: AbortSignal
  /** A slow reader slows its own stream only: nothing piles up here. */
  write(text: string): Promise<void>
}

export interface EventSource {
  /** Writes events until it is over, or the signal fires. */
  run(stream: EventStream): Promise<void>
  /** Whether the reader may go on, besides what they came with. */
  mayGoOn(): boolean
  onBeat?(): void
  /** For the log of the server. */
  what: string
}

export type OpenEventStream = (
  request: FastifyRequest,
  reply: FastifyReply,
  source: EventSource,
) => Promise<void>

/**
 * Streams of events, all within the same limits: each has a sign of life, ends with what its reader
 * came with, and says `bye` before the server closes it.
 */
export function openEventStreams(
  api: FastifyInstance,
  { heartbeat = HEARTBEAT, followers = MOST_FOLLOWERS, log }: ApiDependencies,
): OpenEventStream {
  const open = new Set<AbortController>()
  const limit = limitFollowers(followers)
  // Before the server waits for its connections.
  api.addHook('preClose', async () => {
    for (const follower of open) follower.abort('restart')
  })
  return async (request, reply, source) => {
    const { subject, standing } = callerOf(request)
    const leave = limit.enter(`${subject.identity} ${subject.by}`)
    const stop = new AbortController()
    open.add(stop)
    reply.hijack()
    const { raw } = reply
    raw.on('close', () => stop.abort('gone')).on('error', () => stop.abort('gone'))
    const timer = setTimeout(() => stop.abort('expired'), LONGEST)
    const mayGoOn = async () => (source.mayGoOn() ? standing() : 'revoked')
    const beating = setInterval(() => beat(raw, stop, mayGoOn, source), heartbeat)
    try {
      writeHead(raw)
      await source.run({ signal: stop.signal, write: (text) => write(raw, stop.signal, text) })
      if (stop.signal.aborted && stop.signal.reason !== 'gone') writeBye(raw, stop.signal.reason)
    } catch (error) {
      log.debug(`${source.what}: ${toStepError(error).message}`)
    } finally {
      clearInterval(beating)
      clearTimeout(timer)
      open.delete(stop)
      leave()
      raw.end()
    }
  }
}

/** Whoever may not read it any more, or came with what does not hold any more, reads no further. */
async function beat(
  raw: ServerResponse,
  stop: AbortController,
  mayGoOn: () => Promise<Standing>,
  { onBeat }: EventSource,
): Promise<void> {
  // A reader that takes nothing is not sent ever more of it.
  if (!raw.writableNeedDrain) raw.write(': \n\n')
  onBeat?.()
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

function writeBye(raw: ServerResponse, reason: unknown): void {
  raw.write(`event: bye\ndata: ${JSON.stringify({ reason })}\n\n`)
}

async function write(raw: ServerResponse, signal: AbortSignal, text: string): Promise<void> {
  if (raw.write(text) || signal.aborted) return
  await once(raw, 'drain', { signal }).catch(() => {})
}

export const frame = ({ id, event, data }: { id: string; event: string; data: string }) =>
  `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`
