import { createHmac, randomUUID } from 'node:crypto'
import { exportJWK, exportSPKI, generateKeyPair, importJWK, SignJWT } from 'jose'
import t from 'tap'
import { createKey } from '../../../src/client/key.ts'
import { toStepError } from '../../../src/core/errors.ts'
import type { SessionRequest } from '../../../src/server/sessions/sessions.ts'
import { type Claims, gitlabClaims, startIssuer } from '../../identity/issuer.ts'
import {
  forgeProof,
  keyWith,
  loginOf,
  SERVER,
  sessionWorld,
  sha256,
  unsigned,
  useOf,
  type World,
} from './world.ts'

/** Each is refused, its reason is in the log, and outside it is told no more than `told`. */
interface Attack {
  reason: string
  /** What its sender may read; default: that it is not accepted, and nothing else. */
  told?: RegExp
}
type Login = Attack & { token(world: World): Promise<string> | string }
type Request = Attack & { request(world: World): Promise<SessionRequest> }
type LoginRequest = Attack & { login(world: World): Promise<SessionRequest> }

const seconds = () => Math.floor(Date.now() / 1000)
const claimsOf = ({ issuer }: World, changes: Claims = {}) =>
  gitlabClaims(issuer.url, { aud: SERVER, ...changes })
const signedWith = async (world: World, header: object, changes: Claims = {}) => {
  const { privateKey } = await generateKeyPair('RS256')
  return new SignJWT(claimsOf(world, changes) as never)
    .setProtectedHeader({ alg: 'RS256', kid: 'key-RS256', ...header } as never)
    .sign(privateKey)
}
const foreignKey = async () => {
  const { publicKey } = await generateKeyPair('RS256')
  return exportJWK(publicKey)
}
const withPayload = (token: string, changes: object) => {
  const [header = '', payload = '', signature = ''] = token.split('.')
  const claims = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), ...changes }
  return `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`
}

const tokens: Record<string, Login> = {
  'an empty token': { reason: 'malformed', token: () => '' },
  'no JWT': { reason: 'malformed', token: () => 'not-a-token' },
  'two parts of three': { reason: 'malformed', token: () => 'e30.e30' },
  'a token that is JSON of a list': {
    reason: 'malformed',
    token: () => `${Buffer.from('[]').toString('base64url')}.W10.x`,
  },
  'a token of unicode': { reason: 'malformed', token: () => '\u202eтокен.令牌.🔑' },
  'an oversize token': {
    reason: 'too-long',
    token: (world) => world.token({ more: 'x'.repeat(200_000) }),
  },
  'alg none': {
    reason: 'algorithm',
    token: (world) => unsigned({ alg: 'none' }, claimsOf(world)),
  },
  'alg None': {
    reason: 'algorithm',
    token: (world) => unsigned({ alg: 'None' }, claimsOf(world)),
  },
  'no alg': { reason: 'algorithm', token: (world) => unsigned({}, claimsOf(world), 'x') },
  'HS256 with the public key as the secret': {
    reason: 'algorithm',
    async token(world) {
      const [jwk] = world.issuer.keys
      const pem = await exportSPKI((await importJWK(jwk as never, 'RS256')) as never)
      const text = unsigned({ alg: 'HS256', kid: 'key-RS256' }, claimsOf(world)).slice(0, -1)
      return `${text}.${createHmac('sha256', pem).update(text).digest('base64url')}`
    },
  },
  'HS512 with the key set as the secret': {
    reason: 'algorithm',
    token(world) {
      const text = unsigned({ alg: 'HS512', kid: 'key-RS256' }, claimsOf(world)).slice(0, -1)
      const secret = JSON.stringify({ keys: world.issuer.keys })
      return `${text}.${createHmac('sha512', secret).update(text).digest('base64url')}`
    },
  },
  'a forged signature': {
    reason: 'signature',
    token: async (world) => `${(await world.token()).slice(0, -8)}AAAAAAAA`,
  },
  'no signature': {
    reason: 'signature',
    token: async (world) => (await world.token()).replace(/\.[^.]*$/, '.'),
  },
  'a key of the attacker under the kid of the issuer': {
    reason: 'signature',
    token: (world) => signedWith(world, {}),
  },
  'a payload changed after it was signed': {
    reason: 'signature',
    token: async (world) => withPayload(await world.token(), { ref_protected: 'true', ref: 'x' }),
  },
  'the kid of the other key': {
    reason: 'signature',
    token: (world) => signedWith(world, { kid: 'key-RS256', alg: 'RS256' }),
  },
  'a kid of another algorithm': {
    reason: 'key',
    token: (world) => world.token({}, { alg: 'RS256', kid: 'key-ES256' }),
  },
  'an unknown kid': { reason: 'key', token: (world) => world.token({}, { kid: 'no-such' }) },
  'a kid that is a path': {
    reason: 'key',
    token: (world) => world.token({}, { kid: '../../../etc/passwd' }),
  },
  'a kid with SQL': { reason: 'key', token: (world) => world.token({}, { kid: "' or 1=1 --" }) },
  'an embedded key': {
    reason: 'token-header',
    token: async (world) => signedWith(world, { jwk: await foreignKey() }),
  },
  'an embedded key without a kid': {
    reason: 'token-header',
    token: async (world) => signedWith(world, { jwk: await foreignKey(), kid: undefined }),
  },
  jku: {
    reason: 'token-header',
    token: (world) => signedWith(world, { jku: 'https://evil.test/keys' }),
  },
  x5u: {
    reason: 'token-header',
    token: (world) => signedWith(world, { x5u: 'https://evil.test/chain.pem' }),
  },
  x5c: { reason: 'token-header', token: (world) => signedWith(world, { x5c: ['MIIB'] }) },
  'a critical extension that nobody knows': {
    reason: 'malformed',
    token: (world) =>
      unsigned(
        { alg: 'RS256', kid: 'key-RS256', crit: ['more'], more: 1 },
        claimsOf(world),
        'AAAA',
      ),
  },
  'an unknown issuer': {
    reason: 'issuer',
    async token() {
      const other = await startIssuer()
      return other.sign(gitlabClaims(other.url, { aud: SERVER }))
    },
  },
  "another issuer's token in the name of ours": {
    reason: 'signature',
    async token(world) {
      const other = await startIssuer()
      return other.sign(claimsOf(world))
    },
  },
  'an issuer with a slash': {
    reason: 'issuer',
    token: (world) => world.token({ iss: `${world.issuer.url}/` }),
  },
  'an issuer in a list': {
    reason: 'issuer',
    token: (world) => world.token({ iss: [world.issuer.url] }),
  },
  'no issuer': { reason: 'issuer', token: (world) => world.token({ iss: undefined }) },
  'the audience of approvals': {
    reason: 'audience',
    told: /it is for crosscloud, not for https:\/\/crosscloud\.test$/,
    token: (world) => world.token({ aud: 'crosscloud' }),
  },
  'the audience of another server': {
    reason: 'audience',
    told: /not for https:\/\/crosscloud\.test$/,
    token: (world) => world.token({ aud: `${SERVER}.evil.test` }),
  },
  'an audience that begins with ours': {
    reason: 'audience',
    told: /not for https:\/\/crosscloud\.test$/,
    token: (world) => world.token({ aud: `${SERVER}/` }),
  },
  'no audience': {
    reason: 'audience',
    told: /it is for nobody/,
    token: (world) => world.token({ aud: undefined }),
  },
  'an expired token': {
    reason: 'expired',
    told: /it has expired at 20/,
    token: (world) => world.token({ exp: seconds() - 120 }),
  },
  'no exp': { reason: 'claim', token: (world) => world.token({ exp: undefined }) },
  'an exp of text': { reason: 'claim', token: (world) => world.token({ exp: 'tomorrow' }) },
  'a token for years': {
    reason: 'token-lifetime',
    told: /valid for longer than a month/,
    token: (world) => world.token({ exp: seconds() + 3 * 365 * 24 * 3600 }),
  },
  'a token that is not valid yet': {
    reason: 'not-yet-valid',
    told: /it is not valid yet/,
    token: (world) => world.token({ nbf: seconds() + 600 }),
  },
  'a token of the future': {
    reason: 'not-yet-valid',
    told: /it is of the future/,
    token: (world) => world.token({ iat: seconds() + 600 }),
  },
  'no jti': {
    reason: 'token-id',
    told: /it has no jti/,
    token: (world) => world.token({ jti: undefined }),
  },
  'a jti that is a number': {
    reason: 'token-id',
    told: /it has no jti/,
    token: (world) => world.token({ jti: 7 }),
  },
  'no sub': { reason: 'claim', token: (world) => world.token({ sub: undefined }) },
  'another project': {
    reason: 'project',
    told: /it is of team\/evil, which is not among those that may speak/,
    token: (world) => world.token({ project_path: 'team/evil' }),
  },
  'a project that begins with ours': {
    reason: 'project',
    told: /it is of team\/webapi-evil/,
    token: (world) => world.token({ project_path: 'team/webapi-evil' }),
  },
  'no project': {
    reason: 'project',
    told: /not among those that may speak/,
    token: (world) => world.token({ project_path: undefined }),
  },
  'an unprotected branch': {
    reason: 'ref',
    told: /main is not protected in team\/webapi/,
    token: (world) => world.token({ ref_protected: 'false' }),
  },
  'a branch whose protection is not said': {
    reason: 'ref',
    told: /not protected/,
    token: (world) => world.token({ ref_protected: undefined }),
  },
  'protection that is another word': {
    reason: 'ref',
    told: /not protected/,
    token: (world) => world.token({ ref_protected: 'yes' }),
  },
  'a token that another key has started a session with': {
    reason: 'token-replayed',
    told: /it has started a session before/,
    async token(world) {
      const token = await world.token()
      await world.start(await createKey(), { token })
      return token
    },
  },
}

const proofOf = (parts: Parameters<typeof keyWith>[0]) => async () => loginOf(await keyWith(parts))
const headers = (dpop: unknown) => async () => ({
  ...(await loginOf(await createKey())),
  headers: { dpop },
})

const logins: Record<string, LoginRequest> = {
  'no proof': { reason: 'no-proof', login: headers(undefined) },
  'a proof that is no JWT': { reason: 'proof-malformed', login: headers('abc') },
  'a proof of unicode': { reason: 'proof-malformed', login: headers('ключ.🔑.\u0000') },
  'an oversize proof': { reason: 'proof-malformed', login: headers('a'.repeat(5000)) },
  'two proofs in one header': {
    reason: 'proof-malformed',
    async login() {
      const request = await loginOf(await createKey())
      const more = await loginOf(await createKey())
      return { ...request, headers: { dpop: `${request.headers.dpop}, ${more.headers.dpop}` } }
    },
  },
  'proofs as a list': {
    reason: 'proof-malformed',
    login: async () => headers([(await loginOf(await createKey())).headers.dpop])(),
  },
  'two headers with proofs': {
    reason: 'duplicate-header',
    async login() {
      const request = await loginOf(await createKey())
      const dpop = request.headers.dpop as string
      return { ...request, rawHeaders: ['DPoP', dpop, 'dpop', dpop] }
    },
  },
  'a proof of another type': { reason: 'proof-type', login: proofOf({ header: { typ: 'JWT' } }) },
  'an ID token for a proof': {
    reason: 'proof-type',
    login: async (world) => headers(await world.token())(),
  },
  'a proof with alg none': {
    reason: 'proof-algorithm',
    login: headers(unsigned({ alg: 'none', typ: 'dpop+jwt', jwk: {} }, {}, 'x')),
  },
  'a proof with a shared secret': {
    reason: 'proof-algorithm',
    login: headers(
      unsigned({ alg: 'HS256', typ: 'dpop+jwt', jwk: { kty: 'oct', k: 'c2VjcmV0' } }, {}, 'x'),
    ),
  },
  'a proof without a key': {
    reason: 'proof-key',
    login: proofOf({ header: { jwk: undefined } }),
  },
  'a proof with a private key': {
    reason: 'proof-key',
    async login() {
      const { jwk } = await createKey()
      return loginOf(await keyWith({ header: { jwk } }))
    },
  },
  'a proof with half a key': {
    reason: 'proof-key',
    login: proofOf({ header: { jwk: { kty: 'EC', crv: 'P-256' } } }),
  },
  'a proof that names the key of somebody else': {
    reason: 'proof-signature',
    async login() {
      const { kty, crv, x, y } = (await createKey()).jwk
      return loginOf(await keyWith({ header: { jwk: { kty, crv, x, y } } }))
    },
  },
  'a proof for another method': { reason: 'proof-method', login: proofOf({ method: 'GET' }) },
  'a proof in lower case': { reason: 'proof-method', login: proofOf({ method: 'post' }) },
  'a proof for another path': {
    reason: 'proof-address',
    login: proofOf({ url: `${SERVER}/api/v1/runs` }),
  },
  'a proof for another server': {
    reason: 'proof-address',
    login: proofOf({ url: 'https://evil.test/api/v1/session' }),
  },
  'a proof for plain HTTP': {
    reason: 'proof-address',
    login: proofOf({ url: 'http://crosscloud.test/api/v1/session' }),
  },
  'a proof with a user in its address': {
    reason: 'proof-address',
    login: proofOf({ url: 'https://crosscloud.test@evil.test/api/v1/session' }),
  },
  'a proof with a query': {
    reason: 'proof-address',
    login: proofOf({ url: `${SERVER}/api/v1/session?x=1` }),
  },
  'a proof with an address of another kind': {
    reason: 'proof-address',
    login: proofOf({ claims: { htu: { a: 1 } } }),
  },
  'an old proof': { reason: 'proof-time', login: proofOf({ claims: { iat: seconds() - 90 } }) },
  'a proof of the future': {
    reason: 'proof-time',
    login: proofOf({ claims: { iat: seconds() + 90 } }),
  },
  'a proof without a time': {
    reason: 'proof-time',
    login: proofOf({ claims: { iat: undefined } }),
  },
  'a proof whose time is a text': {
    reason: 'proof-time',
    login: proofOf({ claims: { iat: `${seconds()}` } }),
  },
  'a proof without an id': { reason: 'proof-id', login: proofOf({ claims: { jti: undefined } }) },
  'a proof with a short id': { reason: 'proof-id', login: proofOf({ claims: { jti: '1' } }) },
  'a proof with a long id': {
    reason: 'proof-id',
    login: proofOf({ claims: { jti: 'a'.repeat(300) } }),
  },
  'a replayed proof': {
    reason: 'proof-replayed',
    async login(world) {
      const request = await loginOf(await createKey())
      await world.sessions.start({ ...request, token: await world.token() })
      return request
    },
  },
}

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

const uses: Record<string, Request> = {
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
    reason: 'credentials',
    request: authorization(`DPoP cct_${'a'.repeat(40)}`),
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
      await world.sessions.revoke({ identity: world.issuer.url, user: 'ops-li' })
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
    request: authorization(`Bearer cct_${'a'.repeat(40)}`),
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
}

async function tokenRequest({ tokens }: World, changes: object): Promise<SessionRequest> {
  const secret = `cct_${randomUUID().replaceAll('-', '')}`
  const scope = { verbs: ['view'], apps: ['*'], envs: ['*'] } as const
  tokens.set(sha256(secret), { name: 'jenkins', scope, ...changes })
  const headers = { authorization: `Bearer ${secret}` }
  return { method: 'GET', url: '/api/v1/runs', headers, ip: '' }
}

t.test(
  'what is forged, replayed, expired or confused is refused, each for its reason',
  async (t) => {
    const world = await sessionWorld(t)
    const { sessions, warnings } = world
    let count = 0
    const refused = async (
      name: string,
      { reason, told }: Attack,
      work: (ip: string) => Promise<unknown>,
    ) => {
      const ip = `10.1.${count >> 8}.${count++ & 255}`
      const error = await work(ip).then(
        () => undefined,
        (thrown: unknown) => toStepError(thrown),
      )
      t.equal(error?.code, 'UNAUTHORIZED', name)
      t.ok(
        warnings.includes(`${ip} was not let in: ${reason}`),
        `${name}: ${reason} in ${warnings.at(-1)}`,
      )
      const uniform = /^the (?:ID token is|credentials are) not accepted$/
      t.match(error?.message, told ?? uniform, name)
    }
    for (const [name, attack] of Object.entries(tokens)) {
      const token = await attack.token(world)
      await refused(name, attack, async (ip) =>
        sessions.start({ ...(await loginOf(await createKey(), ip)), token }),
      )
    }
    for (const [name, attack] of Object.entries(logins)) {
      const request = await attack.login(world)
      const token = await world.token()
      await refused(name, attack, (ip) => sessions.start({ ...request, ip, token }))
      await world
        .start(await createKey(), { token })
        .catch(() => t.fail(`${name} used up its token`))
    }
    for (const [name, attack] of Object.entries(uses)) {
      const request = await attack.request(world)
      await refused(name, attack, (ip) => sessions.authenticate({ ...request, ip }))
    }
    t.ok(count >= 100, `${count} attacks`)
    const { keys } = world.issuer
    t.ok(
      !warnings.some((text) => /ccs_|cct_|ey[A-Za-z0-9_-]{10}/.test(text)),
      'no secret is logged',
    )
    t.equal(keys.length, 2)
  },
)
