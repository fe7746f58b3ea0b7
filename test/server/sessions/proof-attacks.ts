import { createKey } from '../../../src/client/key.ts'
import { type LoginRequest, seconds } from './attack.ts'
import { keyWith, loginOf, SERVER, unsigned } from './world.ts'

const proofOf = (parts: Parameters<typeof keyWith>[0]) => async () => loginOf(await keyWith(parts))
const headers = (dpop: unknown) => async () => ({
  ...(await loginOf(await createKey())),
  headers: { dpop },
})

/** DPoP proofs of logins. */
export const logins: Record<string, LoginRequest> = {
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
    // So far that no slow machine makes it the present.
    login: proofOf({ claims: { iat: seconds() + 3600 } }),
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
