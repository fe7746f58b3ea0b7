import { createHash } from 'node:crypto'
import type { JWK, JWTPayload, ProtectedHeaderParameters } from 'jose'
import type { ProofReason } from './refusal.ts'

/** A request, as far as a proof is about it. */
export interface ProvenRequest {
  method: string
  /** The address that the client wrote, without query. */
  address: string
  /** The session that is used; undefined when one is started. */
  session: string | undefined
}

export interface Proof {
  /** The key's thumbprint (RFC 7638): a session is bound to it. */
  thumbprint: string
  id: string
}

/** Seconds that a proof may be older or younger than this server's clock. */
export const PROOF_WINDOW = 60
const LONGEST_PROOF = 4096
/** Only signatures with a key pair: whoever reads a proof must not be able to make another one. */
const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'PS256', 'RS256']
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/**
 * Checks a DPoP proof (RFC 9449, section 4.3) against its request, all but whether it was used before.
 * Its key proves nothing by itself: the caller compares the thumbprint.
 */
export async function checkProof(
  header: unknown,
  request: ProvenRequest,
  refuse: (reason: ProofReason) => Error,
): Promise<Proof> {
  if (header === undefined || header === '') throw refuse('no-proof')
  // Two headers are joined by a comma, which no proof has.
  if (typeof header !== 'string' || header.length > LONGEST_PROOF || /[^\w.-]/.test(header)) {
    throw refuse('proof-malformed')
  }
  const jose = await import('jose')
  const { typ, alg = '', jwk, crit } = decodeHeader(jose, header, refuse)
  if (typ !== 'dpop+jwt') throw refuse('proof-type')
  if (!ALGORITHMS.includes(alg)) throw refuse('proof-algorithm')
  if (!isPublicKey(jwk) || crit !== undefined) throw refuse('proof-key')
  const key = await jose.importJWK(jwk, alg).catch(() => {
    throw refuse('proof-key')
  })
  const payload = await jose.compactVerify(header, key, { algorithms: ALGORITHMS }).then(
    (verified) => parseClaims(verified.payload),
    () => {
      throw refuse('proof-signature')
    },
  )
  checkClaims(payload, request, refuse)
  return { thumbprint: await jose.calculateJwkThumbprint(jwk), id: payload?.jti ?? '' }
}

function decodeHeader(
  jose: typeof import('jose'),
  text: string,
  refuse: (reason: ProofReason) => Error,
): ProtectedHeaderParameters {
  try {
    return jose.decodeProtectedHeader(text)
  } catch {
    throw refuse('proof-malformed')
  }
}

function isPublicKey(jwk: unknown): jwk is JWK {
  if (typeof jwk !== 'object' || jwk === null) return false
  return !PRIVATE.some((part) => Object.hasOwn(jwk, part))
}

function parseClaims(content: Uint8Array): JWTPayload | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content))
    return typeof value === 'object' && value !== null ? (value as JWTPayload) : undefined
  } catch {
    return undefined
  }
}

function checkClaims(
  claims: JWTPayload | undefined,
  { method, address, session }: ProvenRequest,
  refuse: (reason: ProofReason) => Error,
): void {
  if (claims === undefined) throw refuse('proof-malformed')
  const { htm, htu, iat, jti, ath } = claims
  if (htm !== method) throw refuse('proof-method')
  if (typeof htu !== 'string' || !isSameAddress(htu, address)) throw refuse('proof-address')
  const age = typeof iat === 'number' ? Date.now() / 1000 - iat : Number.NaN
  if (!(Math.abs(age) <= PROOF_WINDOW)) throw refuse('proof-time')
  if (typeof jti !== 'string' || jti.length < 8 || jti.length > 200) throw refuse('proof-id')
  if (session !== undefined && ath !== hashOfSession(session)) throw refuse('proof-session')
}

/** Equal after normalization (RFC 3986, sections 6.2.2 and 6.2.3), and without query and fragment. */
function isSameAddress(given: string, expected: string): boolean {
  if (!URL.canParse(given) || /[?#@\\\s]/.test(given)) return false
  return new URL(given).href === new URL(expected).href
}

/** The claim `ath`: base64url of SHA-256. */
export function hashOfSession(session: string): string {
  return createHash('sha256').update(session).digest('base64url')
}
