import { type ErrorCode, StepError } from '../core/errors.ts'
import { parseObject, readBody } from '../core/http/body.ts'
import type { HttpResponse } from '../core/http/client.ts'
import { codeOfStatus, connectionError, type Peer, retryAfterOf } from '../core/http/errors.ts'

const NO_REGISTRY = 'Is this a registry? A proxy or a login page may stand before it.'

export const REGISTRY: Peer = {
  hints: {
    name: 'Check the name of the registry.',
    protocol: 'If this registry speaks plain http, name it as insecure.',
    certificate: 'Give the certificate authority of this registry.',
    content: NO_REGISTRY,
    connection: 'Check that the registry runs and that this machine reaches it.',
  },
}

/** Larger than any manifest: distribution refuses those above 4 MiB. */
const LONGEST_DOCUMENT = 8 << 20

export async function readDocument(what: string, response: HttpResponse): Promise<Buffer> {
  try {
    return await readBody(response, LONGEST_DOCUMENT)
  } catch (error) {
    throw connectionError(what, error, REGISTRY)
  }
}

export async function readJson(
  what: string,
  response: HttpResponse,
): Promise<Record<string, unknown>> {
  const content = parseObject((await readDocument(what, response)).toString())
  if (content !== undefined) return content
  const message = `${what}: the answer of ${response.url.host} is not JSON`
  throw new StepError('COMMAND_FAILED', message, { hint: NO_REGISTRY })
}

interface RegistryError {
  /** distribution-spec, "Error Codes", and Harbor's own. */
  code: string
  words: string
}

/** The error for a response that is none of those `what` expects, from its body and its status. */
export async function failure(
  what: string,
  response: HttpResponse,
  registry = response.url.host,
): Promise<StepError> {
  const { status, headers, url } = response
  const errors = await readErrors(response)
  const [first] = errors
  const reported = errors.map(({ code, words }) => (words ? `${code}: ${words}` : code)).join('; ')
  const message = `${what}: ${reported || `${url.host} answered ${status}`}`
  const [code, hint] =
    (first?.code === 'DENIED' ? denied(status) : byCode[first?.code ?? '']) ??
    byStatus(response, registry)
  return new StepError(code, message, {
    hint,
    retryable: codeOfStatus(status, headers) === 'UNAVAILABLE',
    retryAfter: retryAfterOf(headers),
    args: { registry, status },
    details: { status },
  })
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
    'The project lets only scanned images out. Wait for the scan, or repair what it found.',
  ],
}

function denied(status: number): [ErrorCode, string] {
  const hint = "Read the registry's words: it may be a missing right, or a quota that is used up."
  return [status === 401 ? 'UNAUTHORIZED' : 'FORBIDDEN', hint]
}

function byStatus({ status, headers, url }: HttpResponse, registry: string): [ErrorCode, string] {
  const code = codeOfStatus(status, headers)
  if (code === 'UNAUTHORIZED') return [code, loginHint(headers['www-authenticate'], url, registry)]
  if (code === 'FORBIDDEN') return [code, 'The account lacks the right to do this.']
  if (code === 'NOT_FOUND') return [code, 'Check the registry, the repository and the tag.']
  if (code === 'UNAVAILABLE') return [code, 'The registry is busy or broken. Try again later.']
  if (status === 409 || status === 412) return ['CONFLICT', 'See what the tag holds now.']
  if (status === 413) {
    return ['COMMAND_FAILED', 'A proxy before the registry limits the size of a request. Raise it.']
  }
  return ['COMMAND_FAILED', 'The registry does not accept this request. Check its address.']
}

/** Harbor: an empty challenge means that there is no such project, or not for this account. */
function loginHint(challenge: string | undefined, url: URL, registry: string): string {
  const login = `Run docker login ${registry}, or set DOCKER_AUTH_CONFIG.`
  if (challenge !== '') return `${login} The account needs the right to do this.`
  const project = /^\/v2\/([^/]+)\//.exec(url.pathname)?.[1] ?? ''
  return `Project "${project}" does not exist or you may not see it. ${login}`
}

async function readErrors(response: HttpResponse): Promise<RegistryError[]> {
  try {
    const { errors } = await readJson('', response)
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

/** The registry's message on one line. Harbor writes each sentence twice: `x: x`. */
function words(message: unknown, detail: unknown): string {
  const text = typeof message === 'string' ? message : ''
  const half = text.slice(0, (text.length - 2) / 2)
  const once = text === `${half}: ${half}` ? half : text
  const more = typeof detail === 'string' && !once.includes(detail) ? ` (${detail})` : ''
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a registry must not steer a terminal
  return `${once}${more}`.replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ').slice(0, 500)
}
