import { setMaxListeners } from 'node:events'
import { Readable } from 'node:stream'
import { StepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { retry, retryAfter } from '../core/retry.ts'
import type { Secrets } from '../core/secrets.ts'
import { type Answer, failure, header, isRetryable } from './answer.ts'
import { createAuthorizer, type Scope } from './auth.ts'
import type { CredentialSource } from './credentials.ts'
import { followLocation, originOf } from './origin.ts'
import { createWire, type WireOptions, type WireRequest } from './wire.ts'

export interface TransportOptions extends WireOptions {
  credentials: CredentialSource
  secrets: Secrets
  log: Log
  retry?: { attempts?: number; firstPause?: number } | undefined
}

/** One request to a registry. */
export interface Call {
  /** What is being done, to what: the start of each error message. */
  what: string
  method: WireRequest['method']
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
  close(): void
}

const MOST_REDIRECTS = 5
export function createTransport(options: TransportOptions): Transport {
  const { log } = options
  // One signal for all requests in parallel; Node warns from the eleventh listener on.
  const signal = AbortSignal.any([options.signal])
  setMaxListeners(0, signal)
  const origin = (registry: string) => originOf(registry, options)
  const wire = createWire({ ...options, signal })

  const exchange = async (what: string, url: URL, request: WireRequest): Promise<Answer> => {
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
