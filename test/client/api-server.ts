import type { ServerResponse } from 'node:http'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Test } from 'tap'
import { type Line, streamEvents } from '../../src/api/events.ts'
import { PROBLEM_TYPE, problem } from '../../src/api/problem.ts'
import {
  cancelRequest,
  type Finished,
  finished,
  IDEMPOTENCY_KEY,
  idempotencyKey,
  planAnswer,
  run,
  runAccepted,
} from '../../src/api/runs.ts'
import { sessionInfo, sessionRequest, sessionStarted } from '../../src/api/session.ts'
import { StepError, toStepError } from '../../src/core/errors.ts'
import { planRequest, runRequest } from '../../src/server/runs/requests.ts'
import type { Authenticated, SessionRequest } from '../../src/server/sessions/sessions.ts'
import { sessionWorld } from '../server/sessions/world.ts'
import { freePort } from '../support/servers/ports.ts'

interface StoredRun {
  id: string
  body: { app: string; step: string; inputs: Record<string, unknown> }
  by: string
  events: { name: keyof typeof streamEvents; data: object }[]
  end: Finished | null
  cancelled: string | undefined
}

export type ApiServer = Awaited<ReturnType<typeof startApiServer>>

/**
 * The routes of the API, with real sessions over a real Redis; what runs do, the test says. What comes
 * in and what goes out is checked by the schemas of src/api/.
 */
export async function startApiServer(t: Pick<Test, 'teardown'>) {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const world = await sessionWorld(t, { settings: { url } })
  const runs = new Map<string, StoredRun>()
  const keys = new Map<string, string>()
  const streams = new Set<ServerResponse>()
  const requests: string[] = []
  const heads: Record<string, unknown>[] = []
  /** Answers in place of the next ones to requests like this: `POST runs`. */
  const faults: { like: string; answer(reply: FastifyReply): unknown; before?: boolean }[] = []
  let onRun = (_run: StoredRun) => {}
  let onCancel = (_run: StoredRun) => {}
  let facts: object = {}

  let app: FastifyInstance | undefined
  /** Connections break, as behind a proxy that restarts. */
  const cut = () => {
    for (const stream of streams) stream.destroy()
  }
  const state = {
    ...{ url, world, runs, requests, heads, faults, streams },
    whenRun: (work: typeof onRun) => {
      onRun = work
    },
    whenCancelled: (work: typeof onCancel) => {
      onCancel = work
    },
    planned: (found: object) => {
      facts = found
    },
    say: (stored: StoredRun, ...lines: Partial<Line>[]) => {
      for (const line of lines) {
        const whole = { at: new Date().toISOString(), level: 'info', text: '', ...line }
        push(stored, 'line', whole)
      }
    },
    finish: (stored: StoredRun, end: Partial<Finished>) => {
      const whole = { outcome: 'succeeded', outputs: null, error: null, exitCode: 0, ...end }
      stored.end = finished.parse(whole)
      push(stored, 'finished', stored.end)
    },
    bye: (stored: StoredRun, reason: string) => push(stored, 'bye', { reason }),
    cut,
    stop: async () => {
      cut()
      await app?.close()
      app = undefined
    },
    start: async () => {
      app = open()
      await app.listen({ host: '127.0.0.1', port })
    },
  }

  function push(stored: StoredRun, name: keyof typeof streamEvents, data: object) {
    stored.events.push({ name, data: streamEvents[name].parse(data) })
    for (const stream of streams) stream.emit('more')
  }

  async function who(request: FastifyRequest): Promise<Authenticated> {
    return world.sessions.authenticate(seen(request))
  }

  function open(): FastifyInstance {
    const app = fastify({ logger: false, forceCloseConnections: true })
    app.addHook('onRequest', async (request, reply) => {
      const name = `${request.method} ${request.url.replace('/api/v1/', '')}`
      requests.push(name)
      heads.push(request.headers)
      const fault = faults.findIndex(({ like, before = true }) => before && name.startsWith(like))
      if (fault >= 0) await faults.splice(fault, 1)[0]?.answer(reply)
    })
    app.setErrorHandler((error, _request, reply) => {
      const known = toStepError(error)
      const details = known.details as { status?: number } | undefined
      const status = details?.status ?? statusOf(known)
      if (known.retryAfter) reply.header('retry-after', `${known.retryAfter / 1000}`)
      const { code, message, hint, retryable } = known
      const found = { title: code, detail: message, status, code, retryable, ...(hint && { hint }) }
      return reply
        .code(status)
        .type(PROBLEM_TYPE)
        .send(JSON.stringify(problem.parse(found)))
    })
    app.post('/api/v1/session', async (request, reply) => {
      const { token } = sessionRequest.parse(request.body)
      const started = await world.sessions.start({ ...seen(request), token })
      return reply.code(201).send(sessionStarted.parse(started))
    })
    app.get('/api/v1/session', async (request) => {
      const { subject, via, expiresAt = null } = await who(request)
      return sessionInfo.parse({ subject, via, expiresAt })
    })
    app.post('/api/v1/plans', async (request) => {
      await who(request)
      planRequest.parse(request.body)
      return planAnswer.parse({
        ...{ plan: 'p1', hash: 'sha256:a', facts },
        expiresAt: new Date(Date.now() + 900_000).toISOString(),
      })
    })
    app.post('/api/v1/runs', async (request, reply) => {
      const { subject } = await who(request)
      const key = idempotencyKey.parse(request.headers[IDEMPOTENCY_KEY])
      const body = runRequest.parse(request.body)
      if (!('step' in body)) throw new Error('no plans here')
      const known = keys.get(key)
      if (known !== undefined) {
        const same = JSON.stringify(runs.get(known)?.body) === JSON.stringify(body)
        if (!same)
          throw new StepError('INPUT_INVALID', 'another request had this key', {
            details: { status: 422 },
          })
        return reply.code(202).send(runAccepted.parse({ run: known, repeated: true }))
      }
      const id = `r${runs.size + 1}`
      const stored = { id, body, by: subject.name, events: [], end: null, cancelled: undefined }
      runs.set(id, stored)
      keys.set(key, id)
      onRun(stored)
      const lost = faults.findIndex(({ before }) => before === false)
      if (lost >= 0) return faults.splice(lost, 1)[0]?.answer(reply)
      return reply.code(202).send(runAccepted.parse({ run: id }))
    })
    app.get<{ Params: { id: string } }>('/api/v1/runs/:id', async (request) => {
      await who(request)
      const { id, body, by, end } = find(request.params.id)
      const now = new Date().toISOString()
      return run.parse({
        ...{ run: id, ...body, environment: String(body.inputs.env), by },
        ...{ queuedAt: now, startedAt: now, finishedAt: end && now, finished: end },
        state: end ? 'finished' : 'running',
      })
    })
    app.post<{ Params: { id: string } }>('/api/v1/runs/:id/cancel', async (request, reply) => {
      await who(request)
      const stored = find(request.params.id)
      stored.cancelled = cancelRequest.parse(request.body).reason
      onCancel(stored)
      return reply.code(202).send({})
    })
    app.get<{ Params: { id: string } }>('/api/v1/runs/:id/lines', async (request, reply) => {
      await who(request)
      stream(find(request.params.id), request, reply)
    })
    return app
  }

  function find(id: string): StoredRun {
    const stored = runs.get(id)
    if (stored === undefined) throw new StepError('NOT_FOUND', `there is no run ${id}`)
    return stored
  }

  function stream(stored: StoredRun, request: FastifyRequest, reply: FastifyReply) {
    reply.hijack()
    const { raw } = reply
    raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    raw.write(': hello\n\n')
    let at = Number(request.headers['last-event-id'] ?? 0)
    const more = () => {
      for (const { name, data } of stored.events.slice(at)) {
        at++
        raw.write(`id: ${at}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`)
        if (name === 'finished' || name === 'bye') {
          raw.end()
          return
        }
      }
    }
    streams.add(raw)
    raw.on('more', more)
    raw.on('close', () => streams.delete(raw))
    more()
  }

  await state.start()
  t.teardown(() => state.stop())
  return state
}

function seen({ method, url, headers, ip, raw }: FastifyRequest): SessionRequest {
  return { method, url, headers, ip, rawHeaders: raw.rawHeaders }
}

function statusOf({ code }: StepError): number {
  const known: Partial<Record<StepError['code'], number>> = {
    ...{ INPUT_INVALID: 400, UNAUTHORIZED: 401, FORBIDDEN: 403, NOT_FOUND: 404 },
    ...{ CONFLICT: 409, GATE_CLOSED: 409, UNAVAILABLE: 503 },
  }
  return known[code] ?? 500
}
