import type { Server } from 'node:https'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  preParsingAsyncHookHandler,
} from 'fastify'
import { StepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { API, sendProblem } from '../api/problems.ts'
import type { Metrics } from '../monitoring/metrics.ts'
import { throttleWarnings } from '../monitoring/throttled-warnings.ts'
import type { ServerSettings } from '../settings/settings.ts'
import type { Endpoint } from '../sources/endpoints.ts'
import { header, sameSecret } from '../sources/source.ts'
import type { Receiver } from './receiver.ts'
import { followRenewal, readTls } from './tls.ts'

export interface AppOptions {
  settings: ServerSettings
  /** Empty for the role `work`. */
  endpoints: readonly Endpoint[]
  receiver: Pick<Receiver, 'deliver' | 'refuse'>
  /** Why this server cannot accept deliveries; empty when it can. */
  problems(): Promise<string[]>
  metrics: Metrics
  log: Log
}

/** Milliseconds. A sender waits ten seconds: GitLab's and GitHub's limit. */
const REQUEST_TIMEOUT = 10_000
/** Each connection may hold a delivery in memory. */
const MOST_CONNECTIONS = 1000

/** The HTTP server. Secrets and bodies are never logged. */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const app = await openApp(options)
  handleErrors(app, options)
  await addWebhooks(app, options)
  addHealth(app, options)
  return app
}

async function openApp({ settings, log }: AppOptions): Promise<FastifyInstance> {
  const { folder, listen } = settings
  const { body, proxies, tls: files } = listen
  const { default: fastify } = await import('fastify')
  const pair = files && (await readTls(files, folder))
  // By default Node looks for requests over the timeout only every half minute.
  const often = { connectionsCheckingInterval: 1000 }
  const app = fastify({
    bodyLimit: body,
    requestTimeout: REQUEST_TIMEOUT,
    connectionTimeout: REQUEST_TIMEOUT * 2,
    trustProxy: proxies.length > 0 ? [...proxies] : false,
    forceCloseConnections: 'idle',
    logger: false,
    frameworkErrors: (_error, { url }, reply) => refusePath(url, reply as FastifyReply),
    ...(pair ? { https: { ...pair, ...often } } : { http: often }),
  }) as unknown as FastifyInstance
  app.server.maxConnections = MOST_CONNECTIONS
  if (files && pair) {
    const end = followRenewal(app.server as Server, { pair, files, folder, log })
    app.addHook('onClose', async () => end())
  }
  return app
}

/** A path that cannot be decoded, or has a long part: no route is asked. */
function refusePath(url: string, reply: FastifyReply): void {
  const what = 'the path is not one that can be read'
  if (url.startsWith(API)) {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
    sendProblem(reply, new StepError('INPUT_INVALID', what), (text) => text)
  } else reply.code(400).send({ error: what })
}

function handleErrors(app: FastifyInstance, options: AppOptions): void {
  const { log, metrics, settings, endpoints } = options
  const warn = throttleWarnings(log)
  const paths = new Set(endpoints.map(({ path }) => path))
  const limits: Record<number, ['too-long' | 'too-often', string]> = {
    413: ['too-long', `is longer than listen.body: ${settings.listen.body} bytes`],
    429: ['too-often', `is one of more than listen.rate: ${settings.listen.rate} a second`],
  }
  app.setErrorHandler((error: { statusCode?: number; message: string }, request, reply) => {
    const status = error.statusCode ?? 500
    const { source } = request.routeOptions.config as { source?: string }
    const [outcome, reason] = limits[status] ?? []
    if (source && outcome) {
      metrics.delivery(source, outcome)
      warn(`${source} ${outcome}`, `${source}: a delivery from ${request.ip} ${reason}`)
      // When the connection closes while the body is sent, most senders never see the response.
      reply.removeHeader('connection')
      return reply.code(status).send({ error: `the delivery ${reason}` })
    }
    if (status < 500) return reply.code(status).send({ error: error.message })
    log.error(`a request failed: ${error.message}`)
    return reply.code(500).send({ error: 'an error of the server; its log has more' })
  })
  app.setNotFoundHandler(({ method, url, ip }, reply) => {
    const [requested = ''] = url.split('?', 1)
    if (method !== 'POST' && paths.has(requested)) {
      return reply.code(405).header('allow', 'POST').send({ error: 'a delivery is a POST' })
    }
    const path = JSON.stringify(requested.slice(0, 100))
    if (url.startsWith('/webhooks/')) {
      warn('not-found', `${method} ${path} from ${ip}: nothing is there`)
    }
    return reply.code(404).send({ error: 'nothing is here' })
  })
}

async function addWebhooks(
  app: FastifyInstance,
  { settings, endpoints, receiver }: AppOptions,
): Promise<void> {
  // Signatures cover the raw bytes.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, content, done) =>
    done(null, content),
  )
  const { default: rateLimit } = await import('@fastify/rate-limit')
  await app.register(rateLimit, { global: false, cache: 10_000 })
  const rate = { max: settings.listen.rate, timeWindow: 1000 }
  for (const endpoint of endpoints) {
    const config = { rateLimit: rate, source: endpoint.name }
    // After the rate limit, before the body.
    const preParsing: preParsingAsyncHookHandler = async ({ headers, ip: from }, reply) => {
      const refusal = receiver.refuse(endpoint, headers, from)
      if (refusal) return reply.code(refusal.status).send(refusal.body)
    }
    app.post(endpoint.path, { config, preParsing }, async (request, reply) => {
      const content = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
      const { headers, ip: from } = request
      const delivery = { headers, body: content, from, now: Date.now() }
      const response = await receiver.deliver(endpoint, delivery)
      if (response.status === 503) reply.header('retry-after', '5')
      return reply.code(response.status).send(response.body)
    })
  }
}

function addHealth(app: FastifyInstance, { settings, problems, metrics }: AppOptions): void {
  app.get('/healthz', async () => ({ status: 'alive' }))
  app.get('/readyz', async (_request, reply) => {
    const found = await problems()
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
  // A request that a proxy on this machine forwards comes from elsewhere.
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
