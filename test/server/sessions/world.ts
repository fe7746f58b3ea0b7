import { createHash, randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { Test } from 'tap'
import { type ClientKey, createKey } from '../../../src/client/key.ts'
import { createHttpClient } from '../../../src/core/http/client.ts'
import { silentLog } from '../../../src/core/log.ts'
import { parseRedisUrl } from '../../../src/redis/address.ts'
import { openQueueRedis } from '../../../src/server/queue/connection.ts'
import { openIssuers } from '../../../src/server/sessions/issuers.ts'
import {
  type ApiToken,
  createSessions,
  type SessionRequest,
  type SessionsOptions,
} from '../../../src/server/sessions/sessions.ts'
import { sessionSettings } from '../../../src/server/sessions/settings.ts'
import { openSessionStore, type SessionFilter } from '../../../src/server/sessions/store.ts'
import { type Claims, gitlabClaims, startIssuer } from '../../identity/issuer.ts'
import { startRedis } from '../../support/servers/redis.ts'

export const SERVER = 'https://crosscloud.test'

export type World = Awaited<ReturnType<typeof sessionWorld>>

/** Sessions over a real Redis and a real issuer; what they log is kept. */
export async function sessionWorld(
  t: Pick<Test, 'teardown'>,
  changes: {
    settings?: object
    issuer?: object
    folder?: string
    onLogin?: SessionsOptions['onLogin']
    keepTokens?: boolean
  } = {},
) {
  const redis = await startRedis(t)
  const queue = await openQueueRedis(
    { url: parseRedisUrl(`redis://127.0.0.1:${redis.port}`) },
    '.',
    silentLog,
  )
  t.teardown(queue.close)
  const issuer = await startIssuer()
  const settings = sessionSettings.parse({
    url: SERVER,
    issuers: { gitlab: { issuer: issuer.url, project: 'team/webapi', ...changes.issuer } },
    ...{ 'failed-logins': 1000, 'job-sessions': 1000 },
    ...changes.settings,
  })
  const warnings: string[] = []
  const log = { ...silentLog, warn: (text: string) => void warnings.push(text) }
  const tokens = new Map<string, ApiToken>()
  const http = createHttpClient()
  t.teardown(http.close)
  const signal = new AbortController().signal
  const folder = changes.folder ?? '.'
  const issuers = await openIssuers({ settings, folder, http, variables: {}, signal })
  const store = openSessionStore({
    client: queue.failFast,
    server: 'redis',
    base: '{crosscloud:test}:',
  })
  const sessions = createSessions({
    settings,
    issuers,
    store,
    log,
    onLogin: changes.onLogin,
    keepTokens: changes.keepTokens,
    findToken: async (hash) => tokens.get(hash),
  })
  const token = (claims: Claims = {}, header = {}) =>
    issuer.sign(gitlabClaims(issuer.url, { aud: SERVER, ...claims }), header)
  const start = async (key: ClientKey, given: Partial<SessionRequest> & { token?: string } = {}) =>
    sessions.start({ ...(await loginOf(key)), token: await token(), ...given })
  /** How many there were. */
  const revoke = async (filter: SessionFilter) => {
    const found = await store.list(filter)
    const ended = await Promise.all(found.map(store.revoke))
    return ended.filter(Boolean).length
  }
  return { redis, issuer, sessions, settings, warnings, tokens, token, start, store, revoke }
}

export const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

const PATH = '/api/v1/session'

export async function loginOf(key: ClientKey, ip = '192.0.2.1'): Promise<SessionRequest> {
  const address = `${SERVER}${PATH}`
  const proven = { method: 'POST', url: address, session: undefined, now: Date.now() }
  const headers = { dpop: await key.prove(proven) }
  return { method: 'POST', url: PATH, headers, ip }
}

/** A request with a session, as the client sends it. */
export async function useOf(
  key: ClientKey,
  session: string,
  { method = 'GET', url = '/api/v1/runs?limit=1', ip = '192.0.2.1' } = {},
): Promise<SessionRequest> {
  const dpop = await key.prove({ method, url: `${SERVER}${url}`, session, now: Date.now() })
  return { method, url, ip, headers: { authorization: `DPoP ${session}`, dpop } }
}

/** A proof with anything in it: `undefined` takes a part out. */
export async function forgeProof({
  claims = {},
  header = {},
  session,
  method = 'GET',
  url = `${SERVER}/api/v1/runs`,
  alg = 'ES256',
  by,
}: {
  claims?: Claims
  header?: Claims
  session?: string
  method?: string
  url?: string
  alg?: string
  /** Signed by this key, whatever key it names. */
  by?: CryptoKeyLike
} = {}): Promise<string> {
  const pair = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(pair.publicKey)
  const ath = session && createHash('sha256').update(session).digest('base64url')
  const all = {
    htm: method,
    htu: url,
    jti: randomUUID(),
    iat: Math.floor(Date.now() / 1000),
    ...(ath && { ath }),
    ...claims,
  }
  return new SignJWT(all)
    .setProtectedHeader({ alg, typ: 'dpop+jwt', jwk, ...header } as never)
    .sign(by ?? pair.privateKey)
}

type CryptoKeyLike = Parameters<SignJWT['sign']>[0]

/** A JWT that no key has signed, or that `signature` pretends to. */
export function unsigned(header: object, claims: object, signature = ''): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part(header)}.${part(claims)}.${signature}`
}

/** A key that says how a proof is made by it, whatever is asked. */
export async function keyWith(
  parts: Omit<Parameters<typeof forgeProof>[0] & object, 'session'>,
): Promise<ClientKey> {
  const key = await createKey()
  const { importJWK } = await import('jose')
  const own = (await importJWK(key.jwk, 'ES256')) as CryptoKeyLike
  const { kty, crv, x, y } = key.jwk as Required<JWK>
  return {
    jwk: key.jwk,
    prove: ({ method, url, session }) => {
      const [htu = ''] = url.split(/[?#]/, 1)
      const header = { jwk: { kty, crv, x, y }, ...parts.header }
      return forgeProof({
        ...{ method, url: htu, by: own },
        ...(session && { session }),
        ...parts,
        header,
      })
    },
  }
}
