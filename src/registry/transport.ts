import { setMaxListeners } from 'node:events'
import { Readable } from 'node:stream'
import type { StepError } from '../core/errors.ts'
import { header } from '../core/http/body.ts'
import { createHttpClient, type HttpRequest, type HttpResponse } from '../core/http/client.ts'
import { connectionError, isRetryable } from '../core/http/errors.ts'
import type { Proxies } from '../core/http/proxy.ts'
import type { Timeouts } from '../core/http/timeouts.ts'
import type { Log } from '../core/log.ts'
import { retry } from '../core/retry.ts'
import type { Secrets } from '../core/secrets.ts'
import { createAuthorizer } from './auth.ts'
import type { CredentialSource } from './credentials.ts'
import { caFor, followLocation, type OriginOptions, originOf } from './origin.ts'
import { failure, REGISTRY } from './response.ts'
import type { Scope } from './scopes.ts'

export interface TransportOptions extends OriginOptions {
  signal: AbortSignal
  proxies?: Proxies | undefined
  timeouts?: Partial<Timeouts> | undefined
  credentials: CredentialSource
  secrets: Secrets
  log: Log
  retry?: { attempts?: number; firstPause?: number } | undefined
}

/** One request to a registry. */
export interface Call {
  /** What is being done, to what: the start of each error message. */
  what: string
  method: NonNullable<HttpRequest['method']>
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
   * Sends a request with the authorization it needs and follows redirects of GET and HEAD. Errors
   * of the connection and the statuses 408, 429 and 5xx are thrown; other statuses are responses.
   */
  sendOnce(call: Call): Promise<HttpResponse>
  /** The same, tried again while the error may pass. */
  send(call: Call): Promise<HttpResponse>
  /** Runs `work` again while it fails with an error that may pass. */
  again<T>(work: (attempt: number) => Promise<T>): Promise<T>
  authorize(registry: string, scopes: readonly Scope[]): Promise<void>
  bytesSent(): number
  close(): void
}

const MOST_REDIRECTS = 5
export function createTransport(options: TransportOptions): Transport {
  const { log } = options
  // One signal for all requests in parallel; Node warns from the eleventh listener on.
  const signal = AbortSignal.any([options.signal])
  setMaxListeners(0, signal)
  const origin = (registry: string) => originOf(registry, options)
  const http = createHttpClient({ ...options, ca: (host) => caFor(host, options) })

  const exchange = async (
    what: string,
    url: URL,
    request: Partial<HttpRequest>,
  ): Promise<HttpResponse> => {
    const sending = http.send(url, { ...request, signal: request.signal ?? signal })
    const response = await sending.catch((error) => {
      throw connectionError(what, error, REGISTRY)
    })
    if (isRetryable(response.status)) throw await failure(what, response)
    return response
  }
  const authorizer = createAuthorizer({ ...options, signal, originOf: origin, exchange })

  const sendOnce = async (call: Call): Promise<HttpResponse> => {
    const { what, registry, scopes, body } = call
    const home = origin(registry)
    let url = call.to instanceof URL ? call.to : new URL(call.to, home)
    const own = () => url.origin === home.origin
    let authorization = own() ? await authorizer.authorization(registry, scopes) : undefined
    let renewed = false
    for (let redirects = 0; ; ) {
      const headers = { ...call.headers, ...(own() && authorization ? { authorization } : {}) }
      const response = await exchange(what, url, { ...call, headers })
      if (response.status === 401 && own() && !renewed) {
        renewed = true
        const challenge = response.headers['www-authenticate']
        const better = await authorizer.renew(registry, scopes, challenge, authorization)
        if (better === undefined) return response
        authorization = better
        // A body that was streamed cannot be sent again here: its owner opens it anew.
        if (body instanceof Readable) throw await expired(what, response, registry)
        await response.discard()
      } else if (isRedirect(call.method, response.status) && redirects < MOST_REDIRECTS) {
        redirects++
        await response.discard()
        url = followLocation(what, url, header(response.headers, 'location'))
      } else return response
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
    bytesSent: http.bytesSent,
    close: http.close,
  }
}

/** The token was refused, and there is a new one: the same request may be sent again at once. */
async function expired(what: string, response: HttpResponse, registry: string): Promise<StepError> {
  const error = await failure(what, response, registry)
  return error.with({ code: 'UNAUTHORIZED', retryable: true, retryAfter: 0, cause: undefined })
}

function isRedirect(method: Call['method'], status: number): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  return status === 307 || status === 302 || status === 301 || status === 303 || status === 308
}
