import { setMaxListeners } from 'node:events'
import { Readable } from 'node:stream'
import { rootCertificates } from 'node:tls'
import type { Dispatcher } from 'undici'
import { cancelled, StepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { retry, retryAfter } from '../core/retry.ts'
import type { Secrets } from '../core/secrets.ts'
import { type Answer, connectionFault, failure, header, isRetryable } from './answer.ts'
import { createAuthorizer, type Scope } from './auth.ts'
import type { CredentialSource } from './credentials.ts'
import { caFor, followLocation, isLoopback, type OriginOptions, originOf } from './origin.ts'

export interface TransportOptions extends OriginOptions {
  credentials: CredentialSource
  secrets: Secrets
  log: Log
  signal: AbortSignal
  /** As in HTTP_PROXY, HTTPS_PROXY and NO_PROXY; loopback is never proxied. */
  proxy?: { http?: string; https?: string; except?: string } | undefined
  retry?: { attempts?: number; firstPause?: number } | undefined
}

/** One request to a registry. */
export interface Call {
  /** What is being done, to what: the start of each error message. */
  what: string
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  registry: string
  /** A path below the registry's root, or a URL that the registry named. */
  to: string | URL
  scopes: readonly Scope[]
  headers?: Record<string, string>
  /** A stream is sent once only, and needs a content-length header. */
  body?: Buffer | Readable
  /** In place of the client's signal. */
  signal?: AbortSignal
}

export interface Transport {
  /**
   * Sends a request with the authorization it needs and follows redirects of GET and HEAD. Faults
   * of the connection and the statuses 408, 429 and 5xx are thrown; other statuses are answers.
   */
  sendOnce(call: Call): Promise<Answer>
  /** The same, tried again while the fault may pass. */
  send(call: Call): Promise<Answer>
  /** Runs `work` again while it fails with a fault that may pass. */
  again<T>(work: (attempt: number) => Promise<T>): Promise<T>
  authorize(registry: string, scopes: readonly Scope[]): Promise<void>
  bytesSent(): number
  close(): Promise<void>
}

const MOST_REDIRECTS = 5
/** Some registries store a blob anew after its last byte, and only then answer. */
const ANSWER_TIMEOUT = 300_000
const SILENCE_TIMEOUT = 60_000

interface Request {
  method: Call['method']
  headers: Record<string, string>
  body?: Buffer | Readable | undefined
  signal?: AbortSignal | undefined
}

export async function createTransport(options: TransportOptions): Promise<Transport> {
  const { log } = options
  // One signal for all requests in parallel; Node warns from the eleventh listener on.
  const signal = AbortSignal.any([options.signal])
  setMaxListeners(0, signal)
  const origin = (registry: string) => originOf(registry, options)
  const wire = await createWire({ ...options, signal })

  const exchange = async (what: string, url: URL, request: Request): Promise<Answer> => {
    const answer = await wire.send(what, url, request)
    if (isRetryable(answer.status)) throw await failure(what, answer)
    return answer
  }
  const authorizer = createAuthorizer({ ...options, signal, originOf: origin, exchange })

  const sendOnce = async (call: Call): Promise<Answer> => {
    const { what, registry, scopes, body } = call
    const home = origin(registry)
    let url = call.to instanceof URL ? call.to : new URL(call.to, home)
    const own = () => url.origin === home.origin
    let authorization = own() ? await authorizer.authorization(registry, scopes) : undefined
    let renewed = false
    for (let redirects = 0; ; ) {
      const headers = { ...call.headers, ...(own() && authorization ? { authorization } : {}) }
      const answer = await exchange(what, url, { ...call, headers })
      if (answer.status === 401 && own() && !renewed) {
        renewed = true
        const challenge = answer.headers['www-authenticate']
        const better = await authorizer.renew(registry, scopes, challenge, authorization)
        if (better === undefined) return answer
        authorization = better
        const told = await discardOr401(what, registry, answer, body)
        if (told) throw told
      } else if (isRedirect(call.method, answer.status) && redirects < MOST_REDIRECTS) {
        redirects++
        await answer.discard()
        url = followLocation(what, url, header(answer, 'location'))
      } else return answer
    }
  }

  const again = <T>(work: (attempt: number) => Promise<T>) =>
    retry(work, {
      ...options.retry,
      signal,
      onRetry: (error, _attempt, pause) =>
        log.info(`${error.message}; trying again in ${(pause / 1000).toFixed(1)} s`),
    })

  return {
    sendOnce,
    again,
    send: (call) => again(() => sendOnce(call)),
    async authorize(registry, scopes) {
      await authorizer.authorization(registry, scopes)
    },
    bytesSent: wire.bytesSent,
    close: wire.close,
  }
}

/** A body that was streamed cannot be sent again here: its owner opens it anew, with the new token. */
async function discardOr401(
  what: string,
  registry: string,
  answer: Answer,
  body: Call['body'],
): Promise<StepError | undefined> {
  if (!(body instanceof Readable)) {
    await answer.discard()
    return undefined
  }
  const { message, hint } = await failure(what, answer, registry)
  const error = new StepError('UNAUTHORIZED', message, { hint, retryable: true })
  return Object.assign(error, { [retryAfter]: 0 })
}

function isRedirect(method: Call['method'], status: number): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  return status === 307 || status === 302 || status === 301 || status === 303 || status === 308
}

/** undici behind one function: connections are kept, at most eight a host. */
async function createWire(options: TransportOptions) {
  const [{ default: Agent }, { default: request }] = await Promise.all([
    import('undici/lib/dispatcher/agent.js'),
    import('undici/lib/api/api-request.js'),
  ])
  const settings = {
    connections: 8,
    keepAliveTimeout: 30_000,
    headersTimeout: ANSWER_TIMEOUT,
    bodyTimeout: SILENCE_TIMEOUT,
    connect: { timeout: 10_000 },
  }
  const direct = new Agent(settings)
  const outward = await proxied(options, settings)
  const special = new Map<string, Dispatcher>()
  let sent = 0

  const dispatcherFor = (url: URL): Dispatcher => {
    const ca = url.protocol === 'https:' ? caFor(url.host, options) : undefined
    if (ca === undefined) return isLoopback(url.hostname) ? direct : (outward ?? direct)
    const known = special.get(url.host)
    if (known) return known
    const connect = { ...settings.connect, ca: [...rootCertificates, ca] }
    const agent = new Agent({ ...settings, connect })
    special.set(url.host, agent)
    return agent
  }

  const count = async function* (source: Readable) {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      sent += chunk.length
      yield chunk
    }
  }

  return {
    async send(
      what: string,
      url: URL,
      { method, headers, body, signal = options.signal }: Request,
    ) {
      if (signal.aborted) throw cancelled(signal)
      if (body instanceof Buffer) sent += body.length
      try {
        const answer = await request.call(dispatcherFor(url), {
          origin: url.origin,
          path: url.pathname + url.search,
          method,
          headers: { 'user-agent': 'crosscloud', ...headers },
          body: body instanceof Readable ? Readable.from(count(body), { objectMode: false }) : body,
          signal,
        } as Dispatcher.RequestOptions)
        const discard = () => answer.body.dump({ limit: 64 * 1024, signal })
        return {
          status: answer.statusCode,
          headers: answer.headers,
          url,
          body: answer.body,
          discard,
        }
      } catch (error) {
        throw signal.aborted ? cancelled(signal) : connectionFault(what, error)
      }
    },
    bytesSent: () => sent,
    async close() {
      for (const agent of [direct, outward, ...special.values()]) await agent?.destroy()
    },
  }
}

async function proxied(
  options: TransportOptions,
  settings: object,
): Promise<Dispatcher | undefined> {
  const { proxy } = options
  if (!proxy?.http && !proxy?.https) return undefined
  const { default: EnvHttpProxyAgent } = await import(
    'undici/lib/dispatcher/env-http-proxy-agent.js'
  )
  return new EnvHttpProxyAgent({
    ...settings,
    // Empty strings keep the agent from reading the environment by itself.
    httpProxy: proxy.http ?? '',
    httpsProxy: proxy.https ?? '',
    noProxy: proxy.except ?? '',
  })
}
