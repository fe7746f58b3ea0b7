import { createHash, randomUUID } from 'node:crypto'
import type { CryptoKey, JWK } from 'jose'

/** The key pair that a session is bound to. It never leaves this machine. */
export interface ClientKey {
  /** With its private part: for a file that only this user can read. */
  jwk: JWK
  /** A proof for one request (RFC 9449): `now` in milliseconds, by the server's clock. */
  prove(request: {
    method: string
    url: string
    session: string | undefined
    now: number
  }): Promise<string>
}

const ALGORITHM = 'ES256'

export async function createKey(): Promise<ClientKey> {
  const { exportJWK, generateKeyPair } = await import('jose')
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  return keyOf(await exportJWK(privateKey))
}

export async function keyOf(jwk: JWK): Promise<ClientKey> {
  const { importJWK, SignJWT } = await import('jose')
  const key = (await importJWK(jwk, ALGORITHM)) as CryptoKey
  const { kty = '', crv = '', x = '', y = '' } = jwk
  const header = { alg: ALGORITHM, typ: 'dpop+jwt', jwk: { kty, crv, x, y } }
  return {
    jwk,
    prove({ method, url, session, now }) {
      const [htu = ''] = url.split(/[?#]/, 1)
      const ath = session && createHash('sha256').update(session).digest('base64url')
      const claims = { htm: method, htu, jti: randomUUID(), ...(ath && { ath }) }
      return new SignJWT(claims)
        .setProtectedHeader(header)
        .setIssuedAt(Math.floor(now / 1000))
        .sign(key)
    },
  }
}
