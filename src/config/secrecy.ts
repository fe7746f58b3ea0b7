import { createHmac, randomBytes } from 'node:crypto'
import { isSealed } from './seal.ts'

/** Which keys are secret by the schema; undefined where it says nothing. */
export type SecretBySchema = (key: string) => boolean | undefined

const NAME =
  /(?<![a-z])pass(?![a-z])|passwo?r?d|passphrase|passcode|pwd|secret|token|credential|(?:api|private|access|signing)[-_.]?key/

/**
 * Whether a value must never be shown: it is encrypted in the store, the schema says so, or its name
 * looks like it and the schema does not deny that.
 */
export function isSecret(key: string, stored: string, bySchema?: SecretBySchema): boolean {
  if (isSealed(stored)) return true
  return bySchema?.(key) ?? hasSecretName(key)
}

function hasSecretName(key: string): boolean {
  const last = key.slice(key.lastIndexOf('/') + 1)
  return NAME.test(last.replace(/([a-z])([A-Z])/g, '$1-$2').toLowerCase())
}

/** A value as people may see it: in JSON's quotes, so that no space stays invisible. */
export type Show = (key: string, stored: string) => string

/**
 * Secrets are shown as a short mark: equal values have equal marks within one output, and no two
 * outputs can be compared, so that nobody can try out passwords against them.
 */
export function createShow(bySchema?: SecretBySchema): Show {
  const once = randomBytes(32)
  return (key, stored) => {
    if (!isSecret(key, stored, bySchema)) return JSON.stringify(stored)
    const mark = createHmac('sha256', once).update(stored).digest('hex').slice(0, 8)
    return `(secret ${mark}${isSealed(stored) ? ', encrypted' : ''})`
  }
}
