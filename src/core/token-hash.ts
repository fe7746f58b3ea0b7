import { createHash } from 'node:crypto'

/**
 * By which a signed token is known again, in hex: SHA-256 of what was signed, its header and payload.
 * The signature stays out: it can be written in several ways, by the spare bits of its last character.
 */
export function hashOfToken(token: string): string {
  const signed = token.split('.').slice(0, 2).join('.')
  return createHash('sha256').update(signed).digest('hex')
}
