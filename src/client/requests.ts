import type { z } from 'zod'
import { errorOfProblem, problem } from '../api/problem.ts'
import type { ServerAddress } from '../api/settings.ts'
import { StepError, throwIfCancelled, toStepError } from '../core/errors.ts'
import { header, parseObject, readBody, sendForText, type TextResponse } from '../core/http/body.ts'
import type { HttpClient, HttpResponse } from '../core/http/client.ts'
import { connectionError, isRetryable, type Peer, retryAfterOf } from '../core/http/errors.ts'
import type { Log } from '../core/log.ts'
import { wait } from '../core/retry.ts'
import type { Credentials } from './credentials.ts'

/** Requests to one server, tried again while it is away. */
export interface Requests {
  send<Schema extends z.ZodType>(
    request: ApiRequest & { answer: Schema },
  ): Promise<z.output<Schema>>
  /** The same, one try. */
  sendOnce<Schema extends z.ZodType>(
    request: ApiRequest & { answer: Schema },
  ): Promise<z.output<Schema>>
  /** The head of a stream; its body is the caller's to read. One try. */
  open(request: ApiRequest): Promise<HttpResponse>
  /** Runs work again while the server does not answer, for as long as it may be away. */
  whileAway<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>
}

export interface ApiRequest {
  method: 'GET' | 'POST' | 'DELETE'
  /** Below /api/v1/, each part encoded. */
  path: string
  body?: object
  headers?: Readonly<Record<string, string>>
  credentials: Credentials
  signal: AbortSignal
}

export interface RequestsOptions {
  server: ServerAddress
  http: HttpClient
  log: Log
}

const TIMEOUT = 60_000
const LONGEST_ANSWER = 16 * 1024 * 1024
const PAUSES = { first: 500, longest: 15_000 }
/** Milliseconds of two clocks that are taken for one. */
const SAME_TIME = 5000

const PEER: Peer = {
  hints: {
    name: 'Check the name of the server: CROSSCLOUD_SERVER, or server in crosscloud.yml.',
    protocol: 'This port does not speak https. Check the address of the server.',
    certificate:
      "Name the server's authority: server.ca in crosscloud.yml, or NODE_EXTRA_CA_CERTS.",
    connection: 'What was begun goes on there. Run the same command again to see how it ended.',
  },
}

export function createRequests({ server, http, log }: RequestsOptions): Requests {
  const clock = createClock()
  const urlOf = (path: string) => `${server.url}/api/v1/${path}`

  const headersOf = async ({ method, path, body, headers, credentials }: ApiRequest) => {
    const url = urlOf(path)
    const own = await credentials.headers({ method, url, now: clock.now() })
    const type = body && { 'content-type': 'application/json' }
    return { accept: 'application/json, application/problem+json', ...type, ...own, ...headers }
  }
  const tryOnce = async (request: ApiRequest): Promise<TextResponse> => {
    const { method, path, body, signal } = request
    const url = new URL(urlOf(path))
    const headers = await headersOf(request)
    const content = body && Buffer.from(JSON.stringify(body))
    const options = { method, headers, body: content, signal }
    return sendForText(http, url, { ...options, timeout: TIMEOUT, longest: LONGEST_ANSWER }).catch(
      (error: unknown) => {
        throw connectionError(server.url, error, PEER)
      },
    )
  }
  /** A wrong clock or a session that is over is put right once. */
  const answered = async (request: ApiRequest): Promise<TextResponse> => {
    const response = await tryOnce(request)
    if (response.status !== 401) return response
    if (clock.follow(header(response.headers, 'date'))) {
      const again = await tryOnce(request)
      if (again.status !== 401) return again
    }
    return (await request.credentials.renew()) ? tryOnce(request) : response
  }
  const whileAway: Requests['whileAway'] = (work, signal) => tryFor(work, { server, signal, log })
  const sendOnce: Requests['sendOnce'] = async ({ answer, ...request }) => {
    const response = await answered(request)
    if (response.status >= 300) throw refusalOf(response, server.url)
    const parsed = answer.safeParse(parseObject(response.text))
    if (parsed.success) return parsed.data
    throw notUnderstood(server.url)
  }
  return {
    whileAway,
    sendOnce,
    send: (request) => whileAway(() => sendOnce(request), request.signal),
    async open(request) {
      const { path, signal } = request
      const attempt = async () =>
        http.send(new URL(urlOf(path)), { headers: await headersOf(request), signal })
      const guarded = () =>
        attempt().catch((error: unknown) => {
          throw connectionError(server.url, error, PEER)
        })
      let response = await guarded()
      if (response.status === 401 && (await request.credentials.renew())) {
        await response.discard()
        response = await guarded()
      }
      if (response.status === 200) return response
      const text = (
        await readBody(response, LONGEST_ANSWER).catch(() => Buffer.alloc(0))
      ).toString()
      throw refusalOf({ status: response.status, headers: response.headers, text }, server.url)
    },
  }
}

/** Proofs are of this second; a runner's clock may be minutes off, and the server tells its own. */
function createClock() {
  let offset = 0
  return {
    now: () => Date.now() + offset,
    /** Whether it was wrong. */
    follow(date: string | undefined): boolean {
      const theirs = Date.parse(date ?? '')
      if (Number.isNaN(theirs) || Math.abs(theirs - (Date.now() + offset)) < SAME_TIME) return false
      offset = theirs - Date.now()
      return true
    },
  }
}

function refusalOf({ status, headers, text }: TextResponse, server: string): StepError {
  const retryAfter = retryAfterOf(headers)
  const found = problem.safeParse(parseObject(text))
  if (found.success) return errorOfProblem(found.data, retryAfter)
  const away = isRetryable(status)
  return new StepError(away ? 'UNAVAILABLE' : 'COMMAND_FAILED', `${server} answers ${status}`, {
    hint: away
      ? PEER.hints.connection
      : 'Is this a server of crosscloud? A proxy may stand before it.',
    retryable: away,
    retryAfter,
  })
}

export function notUnderstood(server: string): StepError {
  return new StepError('COMMAND_FAILED', `${server}: its answer is not understood`, {
    hint: 'Use a crosscloud here of the same version as the server.',
  })
}

async function tryFor<T>(
  work: () => Promise<T>,
  { server, signal, log }: { server: ServerAddress; signal: AbortSignal; log: Log },
): Promise<T> {
  let since: number | undefined
  for (let attempt = 0; ; attempt++) {
    throwIfCancelled(signal)
    try {
      const result = await work()
      if (since !== undefined) log.info(`${server.url} answers again`)
      return result
    } catch (thrown) {
      const error = toStepError(thrown)
      if (error.code !== 'UNAVAILABLE' || !error.retryable) throw error
      const now = Date.now()
      if (since === undefined) {
        since = now
        log.warn(`the server does not answer; trying for ${inWords(server.wait)}: ${error.message}`)
      }
      const backoff = Math.min(PAUSES.first * 2 ** attempt, PAUSES.longest) * (0.5 + Math.random())
      const pause = error.retryAfter ?? backoff
      if (now + pause - since > server.wait) throw error
      await wait(pause, signal)
    }
  }
}

function inWords(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000)
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`
}
