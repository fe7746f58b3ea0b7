import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { type Digest, isDigest } from '../core/digest.ts'
import { Refusal } from './refusal.ts'

/** One request to the registry API, taken apart. */
export interface RegistryRequest {
  method: string
  name: string
  kind: 'manifest' | 'blob' | 'upload' | 'tags' | 'referrers'
  /** A tag, a digest or an upload's id; empty for none. */
  item: string
  query: URLSearchParams
  message: IncomingMessage
}

export interface Reply {
  status: number
  headers?: Record<string, string | number>
  body?: Readable | Buffer | string
}

/** The digest that a request names; it refuses any other text. */
export function digestOf(text: string | null): Digest {
  if (text && isDigest(text)) return text
  throw new Refusal(400, 'DIGEST_INVALID', 'provided digest is not sha256 and 64 hex digits')
}

export function created(location: string, digest: Digest): Reply {
  return { status: 201, headers: { location, 'docker-content-digest': digest } }
}

/** One page after `last`, at most `n` long, with a Link to the next. `all` is sorted. */
export function pageReply(
  path: string,
  query: URLSearchParams,
  all: readonly string[],
  body: (page: string[]) => object,
): Reply {
  const last = query.get('last')
  const asked = query.get('n')
  const n = asked !== null && /^\d+$/.test(asked) ? Number(asked) : 10_000
  const rest = last === null ? [...all] : all.filter((name) => name > last)
  const page = rest.slice(0, n)
  const end = page.at(-1)
  const more = end !== undefined && rest.length > page.length
  const next = more ? `<${path}?last=${encodeURIComponent(end)}&n=${n}>; rel="next"` : undefined
  return {
    ...jsonReply(200, body(page)),
    headers: { 'content-type': 'application/json', ...(next ? { link: next } : {}) },
  }
}

export function jsonReply(status: number, value: object): Reply {
  return {
    status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(value),
  }
}

export function refusalReply({
  status,
  code,
  message,
  detail,
}: Pick<Refusal, 'status' | 'code' | 'message'> & { detail?: unknown }): Reply {
  return jsonReply(status, { errors: [{ code, message, ...(detail ? { detail } : {}) }] })
}
