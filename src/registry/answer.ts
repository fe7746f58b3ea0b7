import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { describe, type ErrorCode, errorCodeOf, StepError } from '../core/errors.ts'
import { retryAfter } from '../core/retry.ts'

/** What a server answered. The body must be read or discarded, or its connection stays taken. */
export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  /** Where the answer came from, after redirects. */
  url: URL
  body: Readable
  discard(): Promise<void>
}

/** Larger than any manifest: distribution refuses those above 4 MiB. */
const LONGEST_DOCUMENT = 8 << 20

export async function readBody(what: string, answer: Answer): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > LONGEST_DOCUMENT) {
        throw new StepError('COMMAND_FAILED', `${what}: the answer is longer than 8 MiB`)
      }
      chunks.push(chunk)
    }
  } catch (error) {
    throw connectionError(what, error)
  }
  return Buffer.concat(chunks)
}

export async function readJson(what: string, answer: Answer): Promise<Record<string, unknown>> {
  const text = (await readBody(what, answer)).toString()
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // told below, without the text: it may hold a token
  }
  throw new StepError('COMMAND_FAILED', `${what}: the answer of ${answer.url.host} is not JSON`, {
    hint: 'Is this a registry? A proxy or a login page may stand before it.',
  })
}

export function header(answer: Answer, name: string): string | undefined {
  const value = answer.headers[name]
  return Array.isArray(value) ? value[0] : value
}

export function isRetryable(status: number): boolean {
  return status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505)
}

interface RegistryError {
  /** distribution-spec, "Error Codes", and Harbor's own. */
  code: string
  words: string
}

/** Takes the answer's body and tells in one error why `what` did not work. */
export async function failure(what: string, answer: Answer, registry?: string): Promise<StepError> {
  const { status } = answer
  const errors = await readErrors(answer)
  const first = errors[0]
  const said = errors.map(({ code, words }) => (words ? `${code}: ${words}` : code)).join('; ')
  const message = `${what}: ${said || `${answer.url.host} answered ${status}`}`
  const [code, hint] =
    byCode[first?.code ?? ''] ?? byStatus(status, registry ?? answer.url.host, answer)
  const error = new StepError(code, message, { hint, retryable: isRetryable(status) })
  const pause = pauseAsked(header(answer, 'retry-after'))
  return pause === undefined ? error : Object.assign(error, { [retryAfter]: pause })
}

const byCode: Record<string, [ErrorCode, string]> = {
  MANIFEST_BLOB_UNKNOWN: [
    'NOT_FOUND',
    'The repository lacks a blob or a manifest that this one names. Push that first.',
  ],
  MANIFEST_INVALID: ['COMMAND_FAILED', 'The registry does not accept this kind of manifest.'],
  DIGEST_INVALID: ['VERIFY_FAILED', 'The content was changed while it was read. Build it again.'],
  SIZE_INVALID: ['VERIFY_FAILED', 'The content was changed while it was read. Build it again.'],
  NAME_INVALID: ['INPUT_INVALID', 'Check the name of the repository.'],
  TAG_INVALID: ['INPUT_INVALID', 'Check the tag.'],
  PRECONDITION: ['CONFLICT', 'The tag is immutable in this project. Use a new tag.'],
  PROJECTPOLICYVIOLATION: [
    'GATE_CLOSED',
    'The project lets only scanned images out. Wait for the scan, or mend what it found.',
  ],
  DENIED: [
    'UNAUTHORIZED',
    "Read the registry's words: it may be a missing right, or a quota that is used up.",
  ],
}

function byStatus(status: number, registry: string, answer: Answer): [ErrorCode, string] {
  const login = `Run docker login ${registry}, or set DOCKER_AUTH_CONFIG.`
  if (status === 401) {
    // Harbor: an empty challenge means that there is no such project, or not for you.
    if (answer.headers['www-authenticate'] !== '') {
      return ['UNAUTHORIZED', `${login} The account needs the right to do this.`]
    }
    const project = /^\/v2\/([^/]+)\//.exec(answer.url.pathname)?.[1] ?? ''
    return ['UNAUTHORIZED', `Project "${project}" does not exist or you may not see it. ${login}`]
  }
  if (status === 403) return ['UNAUTHORIZED', 'The account lacks the right to do this.']
  if (status === 404) return ['NOT_FOUND', 'Check the registry, the repository and the tag.']
  if (status === 409 || status === 412) return ['CONFLICT', 'See what the tag holds now.']
  if (status === 413) {
    return ['COMMAND_FAILED', 'A proxy before the registry limits the size of a request. Raise it.']
  }
  if (isRetryable(status)) {
    return ['UNAVAILABLE', 'The registry is busy or broken. Try again later.']
  }
  return ['COMMAND_FAILED', 'The registry does not accept this request. Check its address.']
}

async function readErrors(answer: Answer): Promise<RegistryError[]> {
  try {
    const { errors } = await readJson('', answer)
    if (!Array.isArray(errors)) return []
    return errors.flatMap((item: unknown) => {
      const { code, message, detail } = (item ?? {}) as Record<string, unknown>
      if (typeof code !== 'string') return []
      return [{ code, words: words(message, detail) }]
    })
  } catch {
    return []
  }
}

/** The registry's words on one line. Harbor says each thing twice: `x: x`. */
function words(message: unknown, detail: unknown): string {
  const text = typeof message === 'string' ? message : ''
  const half = text.slice(0, (text.length - 2) / 2)
  const once = text === `${half}: ${half}` ? half : text
  const more = typeof detail === 'string' && !once.includes(detail) ? ` (${detail})` : ''
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a registry must not steer a terminal
  return `${once}${more}`.replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ').slice(0, 500)
}

/** RFC 9110, section 10.2.3: seconds or a date. In milliseconds. */
function pauseAsked(value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now()
  return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds)
}

/** A fault below HTTP, told with the object's name. Broken connections are worth another try. */
export function connectionError(what: string, error: unknown): StepError {
  if (error instanceof StepError) return error
  const code = errorCodeOf(error) ?? ''
  const message = `${what}: ${describe(error)}${code && !describe(error).includes(code) ? ` (${code})` : ''}`
  const lasting = permanentErrors.find(([pattern]) => pattern.test(code))
  if (lasting) {
    return new StepError('UNAVAILABLE', message, {
      hint: lasting[1],
      retryable: false,
      cause: error,
    })
  }
  return new StepError('UNAVAILABLE', message, {
    hint: 'Check that the registry runs and that this machine reaches it.',
    cause: error,
  })
}

const permanentErrors: [RegExp, string][] = [
  [/^ENOTFOUND$/, 'Check the name of the registry.'],
  [/^(?:EPROTO|ERR_SSL_)/, 'If this registry speaks plain http, name it as insecure.'],
  [/CERT|^ERR_TLS_|^UNABLE_TO_/, 'Give the certificate authority of this registry.'],
]
