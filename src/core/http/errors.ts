import type { IncomingHttpHeaders } from 'node:http'
import { describe, type ErrorCode, errorCodeOf, StepError } from '../errors.ts'
import { BODY_TOO_LONG, header } from './body.ts'

/** The server that is asked, as far as errors differ by it. */
export interface Peer {
  /** What to do next, by what is wrong with the connection. */
  hints: {
    /** There is no such host. */
    name: string
    /** The port speaks no TLS, or only TLS. */
    protocol: string
    /** Its certificate is not trusted. */
    certificate: string
    /** What comes is not of this kind of server. */
    content?: string
    /** Anything else, which may pass. */
    connection: string
  }
  /** Whether what does not pass by itself is tried again, too: for a person to put it right meanwhile. */
  alwaysRetryable?: boolean
}

/** Errors of a connection that another try does not change, by their codes. */
const permanentErrors: [RegExp, keyof Peer['hints']][] = [
  [/^ENOTFOUND$/, 'name'],
  [/^(?:EPROTO|ERR_SSL_)/, 'protocol'],
  [/CERT|^ERR_TLS_|^UNABLE_TO_/, 'certificate'],
  [new RegExp(`^${BODY_TOO_LONG}$`), 'content'],
]

/** An error below HTTP as UNAVAILABLE, `subject` before its message. Broken connections may pass. */
export function connectionError(subject: string, error: unknown, peer: Peer): StepError {
  if (error instanceof StepError) return error
  const code = errorCodeOf(error) ?? ''
  const why = describe(error)
  const shown = code === BODY_TOO_LONG || why.includes(code) ? why : `${why} (${code})`
  const [, kind = 'connection'] = permanentErrors.find(([pattern]) => pattern.test(code)) ?? []
  return new StepError('UNAVAILABLE', `${subject}: ${shown}`, {
    hint: peer.hints[kind] ?? peer.hints.connection,
    retryable: kind === 'connection' || peer.alwaysRetryable === true,
    args: { subject, code },
    cause: error,
  })
}

/** What an error of HTTP tells the code that catches it. */
export interface HttpErrorDetails {
  status: number
}

export interface StatusErrorOptions {
  /** The code of a status that means nothing special. */
  otherwise: ErrorCode
  /** The code of 404; default NOT_FOUND. */
  missing?: ErrorCode
  hint?: (code: ErrorCode) => string | undefined
}

/** The error of a response that is not what was asked for. */
export function statusError(
  message: string,
  { status, headers }: { status: number; headers: IncomingHttpHeaders },
  { otherwise, missing = 'NOT_FOUND', hint }: StatusErrorOptions,
): StepError<HttpErrorDetails> {
  const known = codeOfStatus(status, headers)
  const code = known === 'NOT_FOUND' ? missing : (known ?? otherwise)
  return new StepError(code, message, {
    hint: hint?.(code),
    retryable: known === 'UNAVAILABLE',
    retryAfter: known === 'UNAVAILABLE' ? retryAfterOf(headers) : undefined,
    args: { status },
    details: { status },
  })
}

/** The status of the response that an error is about; undefined when it is about none. */
export function statusOf(error: unknown): number | undefined {
  if (!(error instanceof StepError)) return undefined
  return (error.details as Partial<HttpErrorDetails> | undefined)?.status
}

/** What a status means, whatever server answers; undefined where that depends on the server. */
export function codeOfStatus(status: number, headers: IncomingHttpHeaders): ErrorCode | undefined {
  if (status === 401) return 'UNAUTHORIZED'
  if (status === 403) return isRateLimited(headers) ? 'UNAVAILABLE' : 'FORBIDDEN'
  if (status === 404) return 'NOT_FOUND'
  return isRetryable(status) ? 'UNAVAILABLE' : undefined
}

/** GitHub answers 403 to too many requests as well: docs.github.com, "Rate limits for the REST API". */
function isRateLimited(headers: IncomingHttpHeaders): boolean {
  return headers['retry-after'] !== undefined || header(headers, 'x-ratelimit-remaining') === '0'
}

/** Whether a response of this status may be another one the next time. */
export function isRetryable(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505)
}

/** A server with a wrong clock must not stop a branch for years. */
const LONGEST_RETRY_AFTER = 60 * 60_000

/** RFC 9110, section 10.2.3: seconds or a date. In milliseconds, an hour at most. */
export function retryAfterOf(headers: IncomingHttpHeaders): number | undefined {
  const value = headers['retry-after']
  if (value === undefined) return undefined
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  if (Number.isNaN(milliseconds)) return undefined
  return Math.min(Math.max(0, milliseconds), LONGEST_RETRY_AFTER)
}
