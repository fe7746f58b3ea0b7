import { calculateJwkThumbprint } from 'jose'
import { createKey } from '../../../src/client/key.ts'
import { newApiToken } from '../../../src/ledger/api-token.ts'
import type { SessionRequest } from '../../../src/server/sessions/sessions.ts'
import { type Request, seconds } from './attack.ts'
import { forgeProof, keyWith, sha256, useOf, type World } from './world.ts'

/** A session of its own, and a request with it. */
const used = async (world: World, options = {}) => {
  const key = await createKey()
  const { session } = await world.start(key)
  return { key, session, request: await useOf(key, session, options) }
}
const using =
  (change: (found: Awaited<ReturnType<typeof used>>) => Promise<Partial<SessionRequest>>) =>
  async (world: World) => {
    const found = await used(world)
    return { ...found.request, ...(await change(found)) }
  }
const authorization = (text: unknown) =>
  using(async ({ request }) => ({ headers: { ...request.headers, authorization: text } }))
const provenBy = (parts: Parameters<typeof keyWith>[0]) => async (world: World) => {
  const plain = await keyWith({})
  const { session } = await world.start(plain)
  const { importJWK } = await import('jose')
  const own = (await importJWK(plain.jwk, 'ES256')) as never
  const { kty, crv, x, y } = plain.jwk
  const dpop = await forgeProof({ session, ...parts, by: own, header: { jwk: { kty, crv, x, y } } })
  const headers = { authorization: `DPoP ${session}`, dpop }
  return { method: 'GET', url: '/api/v1/runs', headers, ip: '' }
}

/** Requests with sessions and API tokens. */
export const uses: Record<string, Request> = {
  'no credentials': { reason: 'no-credentials', request: authorization(undefined) },
  'empty credentials': { reason: 'no-credentials', request: authorization('') },
  'credentials of another scheme': { reason: 'credentials', request: authorization('Basic YTpi') },
  'oversize credentials': {
    reason: 'credentials',
    request: authorization(`Bearer ${'a'.repeat(10_000)}`),
  },
  'credentials as a list': { reason: 'credentials', request: authorization(['DPoP a', 'DPoP b']) },
  'two credentials in one header': {
    reason: 'credentials',
    request: using(async ({ session, request }) => ({
      headers: { ...request.headers, authorization: `DPoP ${session}, DPoP ${session}` },
    })),
  },
  'two headers with credentials': {
    reason: 'duplicate-header',
    request: using(async () => ({
      rawHeaders: ['Authorization', 'DPoP a', 'authorization', 'DPoP b'],
    })),
  },
  'credentials of unicode': { reason: 'credentials', request: authorization('DPoP ccs_сессия') },
  'credentials with a line end': {
    reason: 'credentials',
    request: authorization('DPoP ccs_a\r\nx-admin: 1'),
  },
  'a session as a bearer token': {
    reason: 'session-as-bearer',
    request: using(async ({ session, request }) => ({
      headers: { ...request.headers, authorization: `Bearer ${session}` },
    })),
  },
  'an API token as a session': {
    reason: 'api-token-unknown',
    request: authorization(`DPoP cct_${'a'.repeat(43)}`),
  },
  'an ID token in place of a session': {
    reason: 'credentials',
    request: async (world) => {
      const { request } = await used(world)
      const headers = { ...request.headers, authorization: `Bearer ${await world.token()}` }
      return { ...request, headers }
    },
  },
  'a session that was never there': {
    reason: 'session-unknown',
    request: authorization(`DPoP ccs_${'A'.repeat(43)}`),
  },
  'a tampered session': {
    reason: 'session-unknown',
    request: using(async ({ session, request }) => ({
      headers: {
        ...request.headers,
        authorization: `DPoP ${session.slice(0, -1)}${session.endsWith('A') ? 'B' : 'A'}`,
      },
    })),
  },
  'a session after its end': {
    reason: 'session-unknown',
    request: async (world) => {
      const { request, session } = await used(world)
      await world.sessions.end(session)
      return request
    },
  },
  'a session after a revocation': {
    reason: 'session-unknown',
    request: async (world) => {
      const { request } = await used(world)
      await world.revoke({ identity: world.issuer.url, user: 'ops-li' })
      return request
    },
  },
  'a session without a proof': {
    reason: 'no-proof',
    request: using(async ({ session }) => ({ headers: { authorization: `DPoP ${session}` } })),
  },
  'a session with the proof of another key': {
    reason: 'proof-of-another-key',
    request: using(async ({ session }) => useOf(await createKey(), session)),
  },
  'a session of another key with its proof': {
    reason: 'proof-session',
    request: using(async ({ session, request }) => {
      const other = await useOf(await createKey(), 'another')
      return { headers: { ...other.headers, authorization: `DPoP ${session}` }, url: request.url }
    }),
  },
  'a proof without the session in it': {
    reason: 'proof-session',
    request: provenBy({ claims: { ath: undefined } }),
  },
  'a proof with the session itself in it': {
    reason: 'proof-session',
    request: provenBy({ claims: { ath: 'ccs_x' } }),
  },
  'the proof of another request: method': {
    reason: 'proof-method',
    request: using(async () => ({ method: 'DELETE' })),
  },
  'the proof of another request: path': {
    reason: 'proof-address',
    request: using(async () => ({ url: '/api/v1/runs/7/cancel' })),
  },
  'the proof of another request: a path that is spelt in another way': {
    reason: 'proof-address',
    request: using(async () => ({ url: '/api/v1//runs' })),
  },
  'an old proof of a session': {
    reason: 'proof-time',
    request: provenBy({ claims: { iat: seconds() - 600 } }),
  },
  'a request that was seen before': {
    reason: 'proof-replayed',
    request: async (world) => {
      const { request } = await used(world)
      await world.sessions.authenticate(request)
      return request
    },
  },
  'an unknown API token': {
    reason: 'api-token-unknown',
    request: authorization(`Bearer cct_${'a'.repeat(43)}`),
  },
  'a short API token': { reason: 'credentials', request: authorization('Bearer cct_a') },
  'a revoked API token': {
    reason: 'api-token-revoked',
    request: async (world) => tokenRequest(world, { revokedAt: new Date().toISOString() }),
  },
  'an expired API token': {
    reason: 'api-token-expired',
    request: async (world) => tokenRequest(world, { expiresAt: '2020-01-01T00:00:00.000Z' }),
  },
  'an API token whose end cannot be read': {
    reason: 'api-token-expired',
    request: async (world) => tokenRequest(world, { expiresAt: 'never' }),
  },
  'a bound API token without its key': {
    reason: 'api-token-key',
    request: async (world) => tokenRequest(world, { key: 'k'.repeat(43) }),
  },
  'an API token that is bound to nothing, with a key': {
    reason: 'api-token-key',
    request: async (world) => boundRequest(world, () => undefined),
  },
  'a bound API token with another key': {
    reason: 'proof-of-another-key',
    request: async (world) => boundRequest(world, () => 'k'.repeat(43)),
  },
  'a bound API token without a proof': {
    reason: 'no-proof',
    request: async (world) => {
      const request = await boundRequest(world, (own) => own)
      const { authorization } = request.headers
      return { ...request, headers: { authorization } }
    },
  },
  'a request of a bound API token that was seen before': {
    reason: 'proof-replayed',
    request: async (world) => {
      const request = await boundRequest(world, (own) => own)
      await world.sessions.authenticate(request)
      return request
    },
  },
}

async function boundRequest(
  { tokens }: World,
  keyOf: (own: string) => string | undefined,
): Promise<SessionRequest> {
  const { secret } = newApiToken()
  const scope = { verbs: ['agent'], apps: ['*'], envs: ['*'] } as const
  const key = await createKey()
  const own = await calculateJwkThumbprint(key.jwk)
  tokens.set(sha256(secret), { name: 'site-a', scope, key: keyOf(own) })
  return useOf(key, secret, { ip: '' })
}

async function tokenRequest({ tokens }: World, changes: object): Promise<SessionRequest> {
  const { secret } = newApiToken()
  const scope = { verbs: ['view'], apps: ['*'], envs: ['*'] } as const
  tokens.set(sha256(secret), { name: 'jenkins', scope, ...changes })
  const headers = { authorization: `Bearer ${secret}` }
  return { method: 'GET', url: '/api/v1/runs', headers, ip: '' }
}
