import { createHmac, randomBytes } from 'node:crypto'
import { isSealed, type KeyRing, seal } from './encryption.ts'

/** Whether a key is secret by the schema; undefined when the schema does not decide. */
export type SecretBySchema = (key: string) => boolean | undefined

const NAME =
  /(?<![a-z])pass(?![a-z])|passwo?r?d|passphrase|passcode|pwd|secret|token|credential|(?:api|private|access|signing)[-_.]?key/

/** A fast check: all of the above match it, and most keys do not. */
const HINT = /pass|pwd|secret|token|credential|key/i

/**
 * Whether a value must never be shown: it is encrypted in the store, the schema marks it, or its
 * name suggests it and the schema does not deny it.
 */
export function isSecret(key: string, stored: string, bySchema?: SecretBySchema): boolean {
  if (isSealed(stored)) return true
  return bySchema?.(key) ?? hasSecretName(key)
}

function hasSecretName(key: string): boolean {
  return namesSecret(key.slice(key.lastIndexOf('/') + 1))
}

/** Whether a text contains a word that secrets are named by. */
export function namesSecret(text: string): boolean {
  return HINT.test(text) && NAME.test(text.replace(/([a-z])([A-Z])/g, '$1-$2').toLowerCase())
}

/** A value to display. */
export interface Shown {
  secret: boolean
  /** As the store holds it. */
  stored: string
  /** In clear; undefined when it cannot be decrypted. */
  clear: string | undefined
}

/**
 * How values are displayed: in JSON's quotes, so that every space is visible. A secret becomes a
 * short mark: equal values have equal marks within one output, and other marks in the next, so that
 * no password can be guessed from them.
 */
export function createShow(): (value: Shown) => string {
  const once = randomBytes(32)
  return ({ secret, stored, clear }) => {
    if (!secret) return JSON.stringify(stored)
    const encrypted = isSealed(stored) ? ', encrypted' : ''
    if (clear === undefined) return `(secret${encrypted}, its key is not here)`
    const mark = createHmac('sha256', once).update(clear).digest('hex').slice(0, 8)
    return `(secret ${mark}${encrypted})`
  }
}

/**
 * A stored value in the form a record may keep: unchanged, or encrypted when it is secret. Null for
 * a secret without a key ring.
 */
export function keepable(
  key: string,
  stored: string,
  { bySchema, ring }: { bySchema?: SecretBySchema | undefined; ring?: KeyRing | undefined },
): string | null {
  if (isSealed(stored) || !isSecret(key, stored, bySchema)) return stored
  return ring === undefined ? null : seal(ring, key, stored)
}
