import { StepError } from '../core/errors.ts'
import { parseObject, sendForText } from '../core/http/body.ts'
import type { HttpClient } from '../core/http/client.ts'
import { connectionError, type Peer, statusError } from '../core/http/errors.ts'

/** How an issuer is reached. */
export interface IssuerAccess {
  http: HttpClient
  signal: AbortSignal
  /** Milliseconds a request may take in all; default 10 s. */
  timeout?: number | undefined
  retry?: { attempts?: number; firstPause?: number } | undefined
}

const ISSUER: Peer = {
  hints: {
    name: 'Check the name of the issuer in crosscloud.yml.',
    protocol: 'This port does not speak https. Check the address of the issuer.',
    certificate: "Name the issuer's certificate authority: ca, under identity.",
    content: 'Is this the issuer? A proxy or another page may stand before it.',
    connection: 'Check that the issuer runs and that this machine reaches it, then run again.',
  },
}

/** GitLab's and GitHub's keys take a few KiB. */
const LONGEST_RESPONSE = 512 * 1024
const TIMEOUT = 10_000

/**
 * The JSON object at a URL. Redirects are not followed. UNAVAILABLE when there is none: retryable
 * when the server may come back. Messages name `what`, never the URL's query or a header.
 */
export async function getJson(
  what: string,
  url: URL,
  { http, signal, timeout = TIMEOUT }: IssuerAccess,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  const subject = `${what}: ${url.origin}${url.pathname}`
  const response = await sendForText(http, url, {
    headers: { accept: 'application/json', ...headers },
    longest: LONGEST_RESPONSE,
    timeout,
    signal,
  }).catch((error: unknown) => {
    throw connectionError(subject, error, ISSUER)
  })
  if (response.status !== 200) throw refused(subject, response)
  const content = parseObject(response.text)
  if (content !== undefined) return content
  throw new StepError('UNAVAILABLE', `${subject}: the answer is not a JSON object`, {
    retryable: false,
    hint: 'Is this the issuer? A proxy or a login page may stand before it.',
  })
}

function refused(subject: string, response: Parameters<typeof statusError>[1]): StepError {
  const message = `${subject}: the server answered ${response.status}`
  const error = statusError(message, response, {
    otherwise: 'UNAVAILABLE',
    missing: 'UNAVAILABLE',
    hint: () => 'Check this address, and whether the job may read it.',
  })
  return error.retryable ? error.with({ hint: ISSUER.hints.connection, cause: undefined }) : error
}
