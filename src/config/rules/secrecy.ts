import { createHmac, randomBytes } from 'node:crypto'
import { isSealed, type KeyRing, seal } from './encryption.ts'

/** Which keys are secret by the schema; undefined where it says nothing. */
export type SecretBySchema = (key: string) => boolean | undefined

const NAME =
  /(?<![a-z])pass(?![a-z])|passwo?r?d|passphrase|passcode|pwd|secret|token|credential|(?:api|private|access|signing)[-_.]?key/

/** In all of the above; most keys are done with after this look. */
const HINT = /pass|pwd|secret|token|credential|key/i

/**
 * Whether a value must never be shown: it is encrypted in the store, the schema says so, or its name
 * looks like it and the schema does not deny that.
 */
export function isSecret(key: string, stored: string, bySchema?: SecretBySchema): boolean {
  if (isSealed(stored)) return true
  return bySchema?.(key) ?? hasSecretName(key)
}

function hasSecretName(key: string): boolean {
  return speaksOfSecret(key.slice(key.lastIndexOf('/') + 1))
}

/** Whether a text has one of the words that secrets are called by. */
export function speaksOfSecret(text: string): boolean {
  return HINT.test(text) && NAME.test(text.replace(/([a-z])([A-Z])/g, '$1-$2').toLowerCase())
}

/** One value, and what is known of it. */
export interface Shown {
  secret: boolean
  /** As the store holds it. */
  stored: string
  /** In clear; undefined when it cannot be decrypted. */
  clear: string | undefined
}

/**
 * How values are shown to people: in JSON's quotes, so that no space stays invisible. Secrets become
 * a short mark: equal values have equal marks within one output, and no two outputs can be compared,
 * so that nobody can try out passwords against them.
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
 * A stored value as a record may keep it: as it is, or encrypted when it is secret. Null when it is
 * secret and there is no key: then nothing may be kept.
 */
export function keepable(
  key: string,
  stored: string,
  { bySchema, ring }: { bySchema?: SecretBySchema | undefined; ring?: KeyRing | undefined },
): string | null {
  if (isSealed(stored) || !isSecret(key, stored, bySchema)) return stored
  return ring === undefined ? null : seal(ring, key, stored)
}
