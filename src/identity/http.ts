import http, { type Agent, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { rootCertificates } from 'node:tls'
import { cancelled, describe, errorCodeOf, StepError } from '../core/errors.ts'

/** How an issuer is reached. */
export interface IssuerAccess {
  signal: AbortSignal
  /** PEM text of an authority that is trusted beside the usual ones. */
  ca?: string | undefined
  /** The agent for a URL, where a proxy leads there. */
  agentFor?: ((url: URL) => Agent | undefined | Promise<Agent | undefined>) | undefined
  /** Milliseconds a request may take in all; default 10 s. */
  timeout?: number | undefined
  retry?: { attempts?: number; firstPause?: number } | undefined
}

/** GitLab's and GitHub's keys take a few KiB. */
const LONGEST_ANSWER = 512 * 1024
const TIMEOUT = 10_000

/**
 * The JSON object at a URL. Redirects are not followed. UNAVAILABLE when there is none: retryable
 * when the server may come back. Messages name `what`, never the URL's query or a header.
 */
export async function getJson(
  what: string,
  url: URL,
  access: IssuerAccess,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  const { signal, timeout = TIMEOUT } = access
  if (signal.aborted) throw cancelled(signal)
  const late = AbortSignal.timeout(timeout)
  try {
    const response = await send(url, access, headers, AbortSignal.any([signal, late]))
    const { statusCode = 0 } = response
    if (statusCode !== 200) {
      response.destroy()
      throw refused(what, url, statusCode)
    }
    return parse(what, url, await readText(what, url, response))
  } catch (error) {
    if (signal.aborted) throw cancelled(signal)
    if (late.aborted) throw unavailable(what, url, `no answer within ${timeout / 1000} s`)
    if (error instanceof StepError) throw error
    throw connectionError(what, url, error)
  }
}

async function send(
  url: URL,
  { ca, agentFor }: IssuerAccess,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const agent = await agentFor?.(url)
  const options: https.RequestOptions = {
    // Without an agent of ours the connection ends with the answer; nothing keeps the process.
    agent: agent ?? false,
    headers: { accept: 'application/json', 'user-agent': 'crosscloud', ...headers },
    signal,
    ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
  }
  const { get } = url.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    get(url, options, resolve).on('error', reject)
  })
}

async function readText(what: string, url: URL, response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > LONGEST_ANSWER) {
      throw unavailable(what, url, `the answer is longer than ${LONGEST_ANSWER / 1024} KiB`, {
        retryable: false,
        hint: 'Is this the issuer? A proxy or another page may stand before it.',
      })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function parse(what: string, url: URL, text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>
    }
  } catch {
    // told below, without the text: it may hold a token
  }
  throw unavailable(what, url, 'the answer is not a JSON object', {
    retryable: false,
    hint: 'Is this the issuer? A proxy or a login page may stand before it.',
  })
}

function refused(what: string, url: URL, status: number): StepError {
  const passing = status === 408 || status === 429 || status >= 500
  const message = `${what}: ${url.origin}${url.pathname}: the server answered ${status}`
  return new StepError(status === 401 || status === 403 ? 'UNAUTHORIZED' : 'UNAVAILABLE', message, {
    retryable: passing,
    hint: passing ? RETRY_HINT : 'Check this address, and whether the job may read it.',
  })
}

const permanentErrors: [RegExp, string][] = [
  [/^ENOTFOUND$/, 'Check the name of the issuer in crosscloud.yml.'],
  [/^(?:EPROTO|ERR_SSL_)/, 'This port does not speak https. Check the address of the issuer.'],
  [/CERT|^ERR_TLS_|^UNABLE_TO_/, "Name the issuer's certificate authority: ca, under identity."],
]

function connectionError(what: string, url: URL, error: unknown): StepError {
  const code = errorCodeOf(error) ?? ''
  const lasting = permanentErrors.find(([pattern]) => pattern.test(code))
  const why = describe(error)
  return unavailable(what, url, why.includes(code) ? why : `${why} (${code})`, {
    cause: error,
    ...(lasting ? { retryable: false, hint: lasting[1] } : {}),
  })
}

const RETRY_HINT = 'Check that the issuer runs and that this machine reaches it, then run again.'

function unavailable(
  what: string,
  { origin, pathname }: URL,
  why: string,
  options: { retryable?: boolean; hint?: string; cause?: unknown } = {},
): StepError {
  return new StepError('UNAVAILABLE', `${what}: ${origin}${pathname}: ${why}`, {
    hint: RETRY_HINT,
    ...options,
  })
}
