import type { JSONWebKeySet } from 'jose'
import { StepError } from '../core/errors.ts'
import { retry } from '../core/retry.ts'
import { getJson, type IssuerAccess } from './http.ts'
import { isSafeOrigin } from './url.ts'

/**
 * The public keys of an issuer: at `jwks`, or where its openid-configuration says (OpenID Connect
 * Discovery 1.0, sections 4 and 4.3). UNAVAILABLE when they cannot be had, UNAUTHORIZED when the
 * configuration is another issuer's.
 */
export async function fetchKeys(
  { issuer, jwks }: { issuer: string; jwks?: string | undefined },
  access: IssuerAccess,
): Promise<JSONWebKeySet> {
  const get = (what: string, url: string) =>
    retry(() => getJson(what, new URL(url), access), {
      attempts: 3,
      ...access.retry,
      signal: access.signal,
    })
  const address = jwks ?? (await findKeys(issuer, get))
  const { keys } = await get(`reading the keys of ${issuer}`, address)
  if (!Array.isArray(keys)) {
    throw new StepError('UNAVAILABLE', `reading the keys of ${issuer}: ${address} holds no keys`, {
      hint: 'Check jwks under identity in crosscloud.yml.',
      retryable: false,
    })
  }
  // One odd key, of a kind that this version does not know, does not spoil the others.
  return { keys: keys.filter((key) => typeof key?.kty === 'string' && key.kty !== 'oct') }
}

async function findKeys(
  issuer: string,
  get: (what: string, url: string) => Promise<Record<string, unknown>>,
): Promise<string> {
  const what = `asking ${issuer} for its keys`
  const found = await get(what, `${issuer}/.well-known/openid-configuration`)
  if (found.issuer !== issuer) {
    throw new StepError('UNAUTHORIZED', `${what}: it calls itself ${quoted(found.issuer)}`, {
      hint: 'Write the issuer in crosscloud.yml exactly as it calls itself.',
    })
  }
  const { jwks_uri: keys } = found
  if (typeof keys === 'string' && isSafeOrigin(keys)) return keys
  throw new StepError(
    'UNAUTHORIZED',
    `${what}: it names ${quoted(keys)} for them, not an https URL`,
    {
      hint: 'Check the external URL of the issuer, or name its keys: jwks, under identity.',
    },
  )
}

/** A value that another party wrote, for a message: short, without line ends and controls. */
export function quoted(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a token must not steer a terminal
  const clean = text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g, ' ')
  return clean.length > 200 ? `${clean.slice(0, 200)}…` : clean || '""'
}
