import type { Server } from 'node:https'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  preParsingAsyncHookHandler,
} from 'fastify'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../metrics.ts'
import { warnSeldom } from '../quiet.ts'
import type { ServerSettings } from '../settings/settings.ts'
import { header, sameSecret } from '../sources/source.ts'
import type { Entrance, Receiver } from './receive.ts'
import { followRenewal, readTls } from './tls.ts'

export interface AppOptions {
  settings: ServerSettings
  /** Empty where this process only works. */
  entrances: readonly Entrance[]
  receiver: Pick<Receiver, 'deliver' | 'refuse'>
  /** What keeps this server from taking deliveries; empty when nothing does. */
  faults(): Promise<string[]>
  metrics: Metrics
  log: Log
}

/** Milliseconds. A sender waits ten seconds: GitLab's and GitHub's limit. */
const REQUEST_TIMEOUT = 10_000
/** Each may hold a delivery in memory while it comes. */
const MOST_CONNECTIONS = 1000

/** The addresses that crosscloud answers at. Secrets and bodies are never logged. */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const app = await openApp(options)
  answerFaults(app, options)
  await addWebhooks(app, options)
  addHealth(app, options)
  return app
}

async function openApp({ settings, log }: AppOptions): Promise<FastifyInstance> {
  const { folder, listen } = settings
  const { body, proxies, tls: files } = listen
  const { default: fastify } = await import('fastify')
  const pair = files && (await readTls(files, folder))
  // Node looks for requests that take too long every half minute by itself.
  const often = { connectionsCheckingInterval: 1000 }
  const app = fastify({
    bodyLimit: body,
    requestTimeout: REQUEST_TIMEOUT,
    connectionTimeout: REQUEST_TIMEOUT * 2,
    trustProxy: proxies.length > 0 ? [...proxies] : false,
    forceCloseConnections: 'idle',
    logger: false,
    ...(pair ? { https: { ...pair, ...often } } : { http: often }),
  }) as unknown as FastifyInstance
  app.server.maxConnections = MOST_CONNECTIONS
  if (files && pair) {
    const end = followRenewal(app.server as Server, { pair, files, folder, log })
    app.addHook('onClose', async () => end())
  }
  return app
}

function answerFaults(app: FastifyInstance, options: AppOptions): void {
  const { log, metrics, settings, entrances } = options
  const warn = warnSeldom(log)
  const paths = new Set(entrances.map(({ path }) => path))
  const tooMuch: Record<number, ['too-long' | 'too-often', string]> = {
    413: ['too-long', `is longer than listen.body: ${settings.listen.body} bytes`],
    429: ['too-often', `is one of more than listen.rate: ${settings.listen.rate} a second`],
  }
  app.setErrorHandler((error: { statusCode?: number; message: string }, request, reply) => {
    const status = error.statusCode ?? 500
    const { source } = request.routeOptions.config as { source?: string }
    const [outcome, why] = tooMuch[status] ?? []
    if (source && outcome) {
      metrics.delivery(source, outcome)
      warn(`${source} ${outcome}`, `${source}: a delivery from ${request.ip} ${why}`)
      // Closed while the rest still comes, most senders see a broken connection, not the answer.
      reply.removeHeader('connection')
      return reply.code(status).send({ error: `the delivery ${why}` })
    }
    if (status < 500) return reply.code(status).send({ error: error.message })
    log.error(`answering a request: ${error.message}`)
    return reply.code(500).send({ error: 'a fault of the server; its log tells more' })
  })
  app.setNotFoundHandler(({ method, url, ip }, reply) => {
    const [asked = ''] = url.split('?', 1)
    if (method !== 'POST' && paths.has(asked)) {
      return reply.code(405).header('allow', 'POST').send({ error: 'a delivery is a POST' })
    }
    const path = JSON.stringify(asked.slice(0, 100))
    if (url.startsWith('/webhooks/'))
      warn('nowhere', `${method} ${path} from ${ip}: nothing is there`)
    return reply.code(404).send({ error: 'nothing is here' })
  })
}

async function addWebhooks(
  app: FastifyInstance,
  { settings, entrances, receiver }: AppOptions,
): Promise<void> {
  // A signature is over the bytes as they came.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, content, done) =>
    done(null, content),
  )
  const { default: rateLimit } = await import('@fastify/rate-limit')
  await app.register(rateLimit, { global: false, cache: 10_000 })
  const rate = { max: settings.listen.rate, timeWindow: 1000 }
  for (const entrance of entrances) {
    const config = { rateLimit: rate, source: entrance.name }
    // After the rate limit, before the body.
    const preParsing: preParsingAsyncHookHandler = async ({ headers, ip: from }, reply) => {
      const refusal = receiver.refuse(entrance, headers, from)
      if (refusal) return reply.code(refusal.status).send(refusal.body)
    }
    app.post(entrance.path, { config, preParsing }, async (request, reply) => {
      const content = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
      const { headers, ip: from } = request
      const delivery = { headers, body: content, from, now: Date.now() }
      const answer = await receiver.deliver(entrance, delivery)
      if (answer.status === 503) reply.header('retry-after', '5')
      return reply.code(answer.status).send(answer.body)
    })
  }
}

function addHealth(app: FastifyInstance, { settings, faults, metrics }: AppOptions): void {
  app.get('/healthz', async () => ({ status: 'alive' }))
  app.get('/readyz', async (_request, reply) => {
    const found = await faults()
    return reply
      .code(found.length > 0 ? 503 : 200)
      .send({ ready: found.length === 0, faults: found })
  })
  app.get('/metrics', async (request, reply) => {
    const token = settings.metrics?.token
    if (!mayRead(request, token)) return forbid(reply, token)
    return reply.type(metrics.contentType).send(await metrics.text())
  })
}

const LOCAL = /^(?:::ffff:)?127\.|^::1$/

function mayRead({ headers, ip }: FastifyRequest, token: string | undefined): boolean {
  // What a proxy on this machine hands on comes from elsewhere.
  const direct = headers['x-forwarded-for'] === undefined && headers.forwarded === undefined
  if (token === undefined) return direct && LOCAL.test(ip)
  return sameSecret(header(headers, 'authorization') ?? '', `Bearer ${token}`)
}

function forbid(reply: FastifyReply, token: string | undefined) {
  const error =
    token === undefined
      ? 'only the server itself may ask; set metrics.token to ask from elsewhere'
      : 'give the token of metrics.token: authorization: Bearer …'
  return reply.code(401).send({ error })
}
