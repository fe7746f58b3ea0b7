import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

/** What the issuer gave for a person: secrets. */
export interface Tokens {
  access: string
  refresh?: string | undefined
  id?: string | undefined
  /** Milliseconds since 1970. */
  accessEnd?: number | undefined
}

const NONCE = 12
const TAG = 16

/**
 * The key is the session's own secret, which only the browser has: whoever reads Redis has neither the
 * session nor the tokens.
 */
const keyOf = (session: string) =>
  Buffer.from(hkdfSync('sha256', session, '', 'crosscloud: tokens of a login', 32))

export function sealTokens(tokens: Tokens, session: string): string {
  const nonce = randomBytes(NONCE)
  const cipher = createCipheriv('aes-256-gcm', keyOf(session), nonce)
  const text = Buffer.concat([cipher.update(JSON.stringify(tokens), 'utf8'), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64')
}

/** Throws when it was changed. */
export function unsealTokens(sealed: string, session: string): Tokens {
  const bytes = Buffer.from(sealed, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', keyOf(session), bytes.subarray(0, NONCE), {
    authTagLength: TAG,
  })
  decipher.setAuthTag(bytes.subarray(NONCE, NONCE + TAG))
  const text = Buffer.concat([decipher.update(bytes.subarray(NONCE + TAG)), decipher.final()])
  return JSON.parse(text.toString('utf8')) as Tokens
}
