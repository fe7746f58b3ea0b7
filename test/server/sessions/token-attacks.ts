import { createHmac } from 'node:crypto'
import { exportJWK, exportSPKI, generateKeyPair, importJWK, SignJWT } from 'jose'
import { createKey } from '../../../src/client/key.ts'
import { type Claims, gitlabClaims, startIssuer } from '../../identity/issuer.ts'
import { type Login, seconds } from './attack.ts'
import { SERVER, unsigned, type World } from './world.ts'

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

/** ID tokens. */
export const tokens: Record<string, Login> = {
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
