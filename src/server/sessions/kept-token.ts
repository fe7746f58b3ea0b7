import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

/*
 * An agent checks the ID token of a job itself, so that the session keeps it. Redis has the session's
 * secret only as a hash: whoever reads Redis cannot open what is sealed with the secret.
 */

const CIPHER = 'aes-256-gcm'
const [NONCE, TAG] = [12, 16]

const keyOf = (session: string) =>
  Buffer.from(hkdfSync('sha256', session, '', 'crosscloud: ID token of a session', 32))

export function sealToken(token: string, session: string): string {
  const nonce = randomBytes(NONCE)
  const cipher = createCipheriv(CIPHER, keyOf(session), nonce)
  const sealed = Buffer.concat([cipher.update(token, 'utf8'), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')
}

/** Undefined for what this session's secret did not seal. */
export function openToken(sealed: string, session: string): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url')
  try {
    const nonce = bytes.subarray(0, NONCE)
    const decipher = createDecipheriv(CIPHER, keyOf(session), nonce, { authTagLength: TAG })
    decipher.setAuthTag(bytes.subarray(NONCE, NONCE + TAG))
    const opened = [decipher.update(bytes.subarray(NONCE + TAG)), decipher.final()]
    return Buffer.concat(opened).toString('utf8')
  } catch {
    return undefined
  }
}
