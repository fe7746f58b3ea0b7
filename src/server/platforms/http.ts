import type { z } from 'zod'
import { cancelled, describeCause, StepError, toStepError } from '../../core/errors.ts'
import { retryAfter } from '../../core/retry.ts'

export interface Call {
  /** What is done, for messages: `starting job webapi`. */
  what: string
  /** Whose server it is, for messages: `Jenkins`. */
  server: string
  url: string | URL
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH'
  headers?: Record<string, string>
  /** Sent as JSON. */
  json?: unknown
  /** Sent as a form. */
  form?: Record<string, string>
  /** Sent as it is. */
  text?: string
  signal: AbortSignal
  /** Milliseconds in all; default 20 s. */
  timeout?: number
  /** Of 4xx: those that are an answer, not an error. */
  allow?: readonly number[]
}

export interface CallAnswer {
  status: number
  headers: Headers
  text: string
  /** The body as JSON; undefined when it is none. */
  json(): unknown
  /** The body as JSON of this shape; INPUT_INVALID when whoever answers is not whom we mean. */
  read<Schema extends z.ZodType>(schema: Schema): z.output<Schema>
}

const TIMEOUT = 20_000
const LONGEST_ANSWER = 4 * 1024 * 1024

/**
 * One request, sent once; redirects are not followed. UNAVAILABLE, retryable, when the server does
 * not answer, or with 429 or 5xx; UNAUTHORIZED for 401 and 403; NOT_FOUND; INPUT_INVALID for the
 * rest of 4xx. Messages never show the URL's query, which may hold a secret.
 */
export async function call(request: Call): Promise<CallAnswer> {
  const { signal, timeout = TIMEOUT } = request
  const late = AbortSignal.timeout(timeout)
  try {
    const response = await fetch(request.url, {
      method: request.method ?? 'GET',
      redirect: 'manual',
      signal: AbortSignal.any([signal, late]),
      ...contentOf(request),
    })
    const text = await readText(response)
    const allowed = request.allow?.includes(response.status) ?? false
    if (allowed || (response.status < 400 && response.status !== 0)) {
      return answerOf(request, response, text)
    }
    throw refused(request, response, text)
  } catch (error) {
    if (error instanceof StepError) throw error
    if (signal.aborted) throw cancelled(signal)
    const why = late.aborted ? `no answer within ${timeout / 1000} s` : describeCause(error)
    throw fault(request, 'UNAVAILABLE', `${request.server} does not answer: ${why}`, error)
  }
}

function answerOf(request: Call, { status, headers }: Response, text: string): CallAnswer {
  const json = () => parse(text)
  return {
    ...{ status, headers, text, json },
    read(schema) {
      const result = schema.safeParse(json())
      if (result.success) return result.data
      const message = `the answer (${status}) is not one of ${request.server}`
      throw fault(request, 'INPUT_INVALID', message, result.error)
    },
  }
}

function contentOf({ headers = {}, json, form, text }: Call) {
  const common = { 'user-agent': 'crosscloud', accept: 'application/json', ...headers }
  if (json !== undefined) {
    return {
      headers: { ...common, 'content-type': 'application/json' },
      body: JSON.stringify(json),
    }
  }
  if (form !== undefined) return { headers: common, body: new URLSearchParams(form) }
  return { headers: common, ...(text !== undefined && { body: text }) }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > LONGEST_ANSWER) throw new Error('the answer is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function refused(request: Call, response: Response, text: string): StepError {
  const { status } = response
  const told = text.replace(/\s+/g, ' ').trim().slice(0, 200)
  const message = `${request.server} answers ${status}${told && `: ${told}`}`
  if (status === 429 || status >= 500 || (status === 403 && isLimited(response))) {
    const error = fault(request, 'UNAVAILABLE', message)
    const seconds = Number(response.headers.get('retry-after'))
    return seconds > 0 ? Object.assign(error, { [retryAfter]: seconds * 1000 }) : error
  }
  if (status === 401 || status === 403) return fault(request, 'UNAUTHORIZED', message)
  if (status === 404) return fault(request, 'NOT_FOUND', message)
  return fault(request, 'INPUT_INVALID', message)
}

/** GitHub says 403, too, to one who asks too often: docs.github.com, "Rate limits for the REST API". */
const isLimited = ({ headers }: Response): boolean =>
  headers.has('retry-after') || headers.get('x-ratelimit-remaining') === '0'

const hints: Partial<Record<StepError['code'], string>> = {
  UNAUTHORIZED: 'Check the token, and what it may do. docs/webhooks.md tells what is needed.',
  NOT_FOUND: 'Check the names in crosscloud.server.yml, and whether the token may see them.',
  INPUT_INVALID: 'Check what crosscloud.server.yml says about it.',
}

function fault({ what }: Call, code: StepError['code'], message: string, cause?: unknown) {
  const options = { hint: hints[code], cause: cause && toStepError(cause) }
  return new StepError(code, `${what}: ${message}`, options)
}
