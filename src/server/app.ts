import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { explain } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Metrics } from './metrics.ts'
import type { Entrance, Reply } from './receive.ts'
import type { ServerSettings } from './settings.ts'
import { type Delivery, header, sameSecret } from './sources/source.ts'

export interface AppOptions {
  settings: ServerSettings
  /** Empty where this process only works. */
  entrances: readonly Entrance[]
  receive(entrance: Entrance, delivery: Delivery): Promise<Reply>
  /** What keeps this server from taking deliveries; empty when nothing does. */
  faults(): Promise<string[]>
  metrics: Metrics
  log: Log
}

/** Milliseconds. A sender waits ten seconds: GitLab's and GitHub's limit. */
const REQUEST_TIMEOUT = 10_000

/** The addresses that crosscloud answers at. Secrets and bodies are never logged. */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const { settings, metrics, log } = options
  const { body, proxies, tls, rate } = settings.listen
  const { default: fastify } = await import('fastify')
  const { default: rateLimit } = await import('@fastify/rate-limit')
  const app = fastify({
    bodyLimit: body,
    requestTimeout: REQUEST_TIMEOUT,
    connectionTimeout: REQUEST_TIMEOUT * 2,
    trustProxy: proxies.length > 0 ? [...proxies] : false,
    forceCloseConnections: 'idle',
    logger: false,
    ...(tls && { https: await readTls(tls, settings.folder) }),
  }) as unknown as FastifyInstance
  // A signature is over the bytes as they came.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, content, done) =>
    done(null, content),
  )
  app.setErrorHandler((error: { statusCode?: number; message: string }, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status < 500) return reply.code(status).send({ error: error.message })
    log.error(`answering a request: ${error.message}`)
    return reply.code(500).send({ error: 'a fault of the server; its log tells more' })
  })
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'nothing is here' }))
  await app.register(rateLimit, { global: false, cache: 10_000 })
  for (const entrance of options.entrances) {
    const path = fixed.has(entrance.name) ? entrance.name : `generic/${entrance.name}`
    const config = { rateLimit: { max: rate, timeWindow: 1000 } }
    app.post(`/webhooks/${path}`, { config }, async (request, reply) => {
      const content = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
      const delivery = { headers: request.headers, body: content, now: Date.now() }
      const answer = await options.receive(entrance, delivery)
      if (answer.status === 503) reply.header('retry-after', '5')
      return reply.code(answer.status).send(answer.body)
    })
  }
  app.get('/healthz', async () => ({ status: 'alive' }))
  app.get('/readyz', async (_request, reply) => {
    const faults = await options.faults()
    return reply.code(faults.length > 0 ? 503 : 200).send({ ready: faults.length === 0, faults })
  })
  app.get('/metrics', async (request, reply) => {
    if (!mayRead(request, settings.metrics?.token)) return forbid(reply)
    return reply.type(metrics.contentType).send(await metrics.text())
  })
  return app
}

const fixed = new Set(['gitlab', 'github', 'harbor'])

async function readTls({ cert, key }: { cert: string; key: string }, folder: string) {
  const read = (path: string) =>
    readFile(resolve(folder, path)).catch((error: unknown) => {
      throw explain(`reading ${path} of listen.tls`, error)
    })
  return { cert: await read(cert), key: await read(key), minVersion: 'TLSv1.2' as const }
}

const LOCAL = /^(?:::ffff:)?127\.|^::1$/

function mayRead({ headers, ip }: FastifyRequest, token: string | undefined): boolean {
  // What a proxy on this machine hands on comes from elsewhere.
  const direct = headers['x-forwarded-for'] === undefined && headers.forwarded === undefined
  if (token === undefined) return direct && LOCAL.test(ip)
  return sameSecret(header(headers, 'authorization') ?? '', `Bearer ${token}`)
}

function forbid(reply: FastifyReply) {
  const error = 'give the bearer token of metrics.token, or ask from the server itself'
  return reply.code(401).send({ error })
}
