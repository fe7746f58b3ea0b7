import { createHash, randomBytes } from 'node:crypto'

/** Scanners for leaked secrets find tokens by this beginning. */
const PREFIX = 'cct_'
const FORM = /^cct_[A-Za-z0-9_-]{43}$/

/** A new secret of 256 random bits; only its hash is for the ledger. */
export function newApiToken(): { secret: string; hash: string } {
  const secret = `${PREFIX}${randomBytes(32).toString('base64url')}`
  return { secret, hash: hash(secret) }
}

/** Undefined for what is no API token at all. It has no salt: there is nothing to guess in 256 random bits. */
export function hashOfApiToken(secret: string): string | undefined {
  return FORM.test(secret) ? hash(secret) : undefined
}

const hash = (secret: string) => createHash('sha256').update(secret).digest('hex')
