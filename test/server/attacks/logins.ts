import { type ClientKey, createKey } from '../../../src/client/key.ts'
import { keyWith, unsigned } from '../sessions/world.ts'
import type { Attacked, Sent } from './world.ts'

/** A request that is refused, what its sender is told, and what the server's log has of it. */
export interface Attack {
  status?: number
  told?: RegExp
  /** Why, for the log alone. */
  reason?: string
  request(world: Attacked): Promise<Sent>
}

const seconds = () => Math.floor(Date.now() / 1000)

interface Login {
  token?: string
  key?: ClientKey
  method?: string
  path?: string
  body?: object
}

async function login(world: Attacked, given: Login = {}): Promise<Sent> {
  const { key = await createKey(), method = 'POST', path = '/session' } = given
  const { token = await world.token() } = given
  const proven = { method, url: `${world.url}/api/v1${path}`, session: undefined }
  const dpop = await key.prove({ ...proven, now: Date.now() })
  const body = given.body ?? { token }
  return { method: 'POST', path: '/session', body, headers: [['dpop', dpop]] }
}

const withToken =
  (make: (world: Attacked) => Promise<string> | string) => async (world: Attacked) =>
    login(world, { token: await make(world) })
const withClaims = (claims: object) => withToken((world) => world.token({ ...claims }))
const withKey = (parts: Parameters<typeof keyWith>[0]) => async (world: Attacked) =>
  login(world, { key: await keyWith(parts) })

/** `POST session`. */
export const logins: Record<string, Attack> = {
  'a forged signature': {
    reason: 'signature',
    request: withToken(async (world) => `${(await world.token()).slice(0, -8)}AAAAAAAA`),
  },
  'alg none': {
    reason: 'algorithm',
    request: withToken(({ issuer, url }) =>
      unsigned({ alg: 'none' }, { iss: issuer.url, aud: url }),
    ),
  },
  'an issuer that nobody named': {
    reason: 'issuer',
    request: withClaims({ iss: 'https://evil.example.com' }),
  },
  'one issuer in the name of the other': {
    reason: 'signature',
    request: withToken(({ token, issuer, other }) => token({ iss: issuer.url }, other)),
  },
  'an expired token': {
    told: /it has expired at 20/,
    request: withClaims({ exp: seconds() - 600 }),
  },
  'a token of tomorrow': {
    told: /it is not valid yet/,
    request: withClaims({ nbf: seconds() + 3600 }),
  },
  'a token for years': {
    told: /valid for longer than a month/,
    request: withClaims({ exp: seconds() + 3 * 365 * 24 * 3600 }),
  },
  'a token without an id': { told: /it has no jti/, request: withClaims({ jti: undefined }) },
  'a token for approvals': {
    told: /it is for crosscloud, not for http/,
    request: withClaims({ aud: 'crosscloud' }),
  },
  'a token for another server': {
    told: /it is for https:\/\/evil\.example\.com, not for http/,
    request: withClaims({ aud: 'https://evil.example.com' }),
  },
  'a token of another project': {
    told: /it is of team\/evil, which is not among those that may speak/,
    request: withClaims({ project_path: 'team/evil' }),
  },
  'a token of no project': {
    told: /not among those that may speak/,
    request: withClaims({ project_path: undefined }),
  },
  'an unprotected branch': {
    told: /feature is not protected in team\/webapi/,
    request: withClaims({ ref: 'feature', ref_protected: 'false' }),
  },
  'a branch of which it is not said': {
    told: /main is not protected/,
    request: withClaims({ ref_protected: undefined }),
  },
  'a token that has started a session': {
    told: /it has started a session before/,
    async request(world) {
      const token = await world.token()
      await world.start(await createKey(), token)
      return login(world, { token })
    },
  },
  'a token of a revoked session, by its own key': {
    told: /it has started a session before/,
    async request(world) {
      const [token, key] = [await world.token({ job_id: '999' }), await createKey()]
      await world.start(key, token)
      await world.revoke('job 999 of team/webapi')
      return login(world, { token, key })
    },
  },
  'an API token in place of an ID token': {
    reason: 'malformed',
    request: withToken(() => `cct_${'a'.repeat(43)}`),
  },
  'no proof': {
    reason: 'no-proof',
    request: async (world) => ({ ...(await login(world)), headers: [] }),
  },
  'two proofs': {
    reason: 'duplicate-header',
    async request(world) {
      const sent = await login(world)
      return { ...sent, headers: [...(sent.headers ?? []), ...(sent.headers ?? [])] }
    },
  },
  'a proof for another method': {
    reason: 'proof-method',
    request: (world) => login(world, { method: 'DELETE' }),
  },
  'a proof for another path': {
    reason: 'proof-address',
    request: (world) => login(world, { path: '/runs' }),
  },
  'a proof for another server': {
    reason: 'proof-address',
    request: withKey({ url: 'https://evil.example.com/api/v1/session' }),
  },
  'an old proof': { reason: 'proof-time', request: withKey({ claims: { iat: seconds() - 600 } }) },
  'a proof of tomorrow': {
    reason: 'proof-time',
    request: withKey({ claims: { iat: seconds() + 86_400 } }),
  },
  'a proof without an id': {
    reason: 'proof-id',
    request: withKey({ claims: { jti: undefined } }),
  },
  'a proof that was used': {
    reason: 'proof-replayed',
    async request(world) {
      const sent = await login(world)
      await world.send(sent)
      return { ...sent, body: { token: await world.token() } }
    },
  },
  'a body with more than a token': {
    status: 400,
    told: /subject/,
    request: async (world) => login(world, { body: { token: await world.token(), subject: 'li' } }),
  },
  'a token that is a list': {
    status: 400,
    told: /token/,
    request: (world) => login(world, { body: { token: ['x'] } }),
  },
}
