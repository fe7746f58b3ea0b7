import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { toStepError } from '../../core/errors.ts'
import type { Runs } from '../runs/runs.ts'
import { mayView, requireAllowed } from './access.ts'
import type { ApiDependencies } from './dependencies.ts'
import { parseRequest } from './requests.ts'
import { visibleRun } from './runs.ts'

const lastEventId = z
  .string()
  .regex(/^\d{1,15}-\d{1,15}$/, 'is not the id of an event')
  .default('0-0')

const HEARTBEAT = 15_000
/** After that the client comes again, with a session that still holds. */
const LONGEST = 30 * 60_000

/** `GET runs/:id/lines`: the log of a run as server-sent events. */
export function addLineRoutes(api: FastifyInstance, dependencies: ApiDependencies): void {
  const { runs, decide, audit } = dependencies
  const open = new Set<AbortController>()
  // Before the server waits for its connections.
  api.addHook('preClose', async () => {
    for (const follower of open) follower.abort('restart')
  })
  api.get('/runs/:id/lines', { exposeHeadRoute: false }, async (request, reply) => {
    const after = parseRequest(lastEventId, request.headers['last-event-id'])
    const { id, app, environment } = await visibleRun(request, dependencies)
    const act = { verb: 'logs', app, environment, run: id } as const
    await requireAllowed(request, act, { decide, audit })
    const stop = new AbortController()
    open.add(stop)
    reply.hijack()
    const { raw } = reply
    raw.on('close', () => stop.abort('gone')).on('error', () => stop.abort('gone'))
    const timer = setTimeout(() => stop.abort('expired'), LONGEST)
    const stillAllowed = () => mayView(request, app, environment, { decide, audit })
    try {
      writeHead(raw)
      await follow({ id, after, raw, stop, stillAllowed }, runs)
    } catch (error) {
      dependencies.log.debug(`the log of ${id}: ${toStepError(error).message}`)
    } finally {
      clearTimeout(timer)
      open.delete(stop)
      raw.end()
    }
  })
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
  stillAllowed(): boolean
}

async function follow(follower: Follower, runs: Runs): Promise<void> {
  const { id, raw, stop, stillAllowed } = follower
  let { after } = follower
  let isOver = false
  const beat = setInterval(() => {
    raw.write(': \n\n')
    if (!stillAllowed()) stop.abort('revoked')
    // A run may end without a worker; whoever looks at it finds out.
    runs.find(id).catch(() => {})
  }, HEARTBEAT)
  try {
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
  } finally {
    clearInterval(beat)
  }
}

const frame = ({ id, event, data }: { id: string; event: string; data: string }) =>
  `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`

/** A slow reader slows its own stream only: nothing piles up here. */
async function write(raw: ServerResponse, signal: AbortSignal, text: string): Promise<void> {
  if (raw.write(text) || signal.aborted) return
  await once(raw, 'drain', { signal }).catch(() => {})
}
