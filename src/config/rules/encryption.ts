import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { describe, StepError } from '../../core/errors.ts'
import type { ConfigSnapshot } from '../store/store.ts'

/** A key for values encrypted at rest. */
interface SealingKey {
  id: string
  /** 32 bytes */
  bytes: Buffer
}

/** The first key encrypts; all decrypt. To rotate, put a new one first. */
export interface KeyRing {
  readonly active: SealingKey
  /** The last key: values derived from it stay the same while a new key is added. */
  readonly oldest: SealingKey
  find(id: string): SealingKey | undefined
}

/** A snapshot with decrypted values. Holds secrets in clear: never store or print it. */
export interface OpenedSnapshot {
  values: ConfigSnapshot
  /** Keys that are encrypted in the store. */
  sealed: ReadonlySet<string>
  /** Keys whose values cannot be decrypted, and why. */
  locked: ReadonlyMap<string, string>
}

const MARK = 'enc:v1:'
const SEALED = /^enc:v1:([\w.-]{1,64}):([\w-]+)$/
const LINE = /^([\w.-]{1,64}):([\w+/-]{43}=?)$/
const IV_LENGTH = 12
const TAG_LENGTH = 16

/**
 * Reads keys: `id:` and 32 bytes in base64, separated by lines or commas; `#` begins a comment.
 * `source` names their origin for errors, which show no part of a key.
 */
export function parseKeyRing(text: string, source: string): KeyRing {
  const lines = text
    .split('\n')
    .flatMap((line) => line.replace(/#.*/, '').split(','))
    .map((line) => line.trim())
    .filter(Boolean)
  const keys = new Map<string, SealingKey>()
  for (const [index, line] of lines.entries()) {
    const [, id, encoded] = LINE.exec(line) ?? []
    const bytes = Buffer.from(encoded ?? '', 'base64')
    if (id === undefined || bytes.length !== 32 || keys.has(id)) {
      const why = id !== undefined && keys.has(id) ? `has the id ${id} again` : 'is not a key'
      throw new StepError('INPUT_INVALID', `${source}: entry ${index + 1} ${why}`, { hint: MAKE })
    }
    keys.set(id, { id, bytes })
  }
  const [active] = keys.values()
  const oldest = [...keys.values()].at(-1)
  if (active && oldest) return { active, oldest, find: (id) => keys.get(id) }
  throw new StepError('INPUT_INVALID', `${source}: holds no key`, { hint: MAKE })
}

const MAKE = 'A key is ID:BASE64. Make one with `crosscloud config make-key`.'

/** A new key, as `parseKeyRing` reads it. */
export function makeKey(id: string): string {
  return `${id}:${randomBytes(32).toString('base64')}`
}

export function isSealed(stored: string): boolean {
  return stored.startsWith(MARK)
}

/** The id of the key a value was encrypted with. */
export function sealedWith(stored: string): string | undefined {
  return SEALED.exec(stored)?.[1]
}

/**
 * AES-256-GCM with the active key: `enc:v1:<key id>:<base64url of IV, ciphertext and tag>`. The
 * config key's path is authenticated: a value that was moved to another key cannot be decrypted.
 */
export function seal(ring: KeyRing, key: string, plain: string): string {
  return sealWith(randomBytes(IV_LENGTH), ring, key, plain)
}

/**
 * Deterministic encryption, for records that are compared. The IV is a MAC of the path and the text
 * under a separate key, as in RFC 5297: it repeats only for the same text at the same path.
 */
export function sealAlike(ring: KeyRing, key: string, plain: string): string {
  const { id, bytes } = ring.active
  const macKey = Buffer.from(hkdfSync('sha256', bytes, '', 'crosscloud config record IV v1', 32))
  const mac = createHmac('sha256', macKey).update(authenticated(id, key)).update('\n').update(plain)
  return sealWith(mac.digest().subarray(0, IV_LENGTH), ring, key, plain)
}

function sealWith(iv: Buffer, { active }: KeyRing, key: string, plain: string): string {
  const cipher = createCipheriv('aes-256-gcm', active.bytes, iv, { authTagLength: TAG_LENGTH })
  cipher.setAAD(authenticated(active.id, key))
  const parts = [iv, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]
  return `${MARK}${active.id}:${Buffer.concat(parts).toString('base64url')}`
}

/** The value in clear; a value that is not encrypted is returned unchanged. No error shows it. */
export function unseal(ring: KeyRing | undefined, key: string, stored: string): string {
  if (!isSealed(stored)) return stored
  const [, id = '', encoded = ''] = SEALED.exec(stored) ?? []
  const found = ring?.find(id)
  if (found === undefined) {
    const why = SEALED.test(stored)
      ? `it is encrypted with the key "${id}", which is not given here`
      : 'its encryption is damaged'
    throw new StepError('UNAUTHORIZED', `${key}: ${why}`, { hint: GIVE })
  }
  const bytes = Buffer.from(encoded, 'base64url')
  try {
    const iv = bytes.subarray(0, IV_LENGTH)
    const options = { authTagLength: TAG_LENGTH }
    const decipher = createDecipheriv('aes-256-gcm', found.bytes, iv, options)
    decipher.setAAD(authenticated(id, key))
    decipher.setAuthTag(bytes.subarray(-TAG_LENGTH))
    const plain = decipher.update(bytes.subarray(IV_LENGTH, -TAG_LENGTH))
    return Buffer.concat([plain, decipher.final()]).toString('utf8')
  } catch {
    throw new StepError('VERIFY_FAILED', `${key}: its encrypted value was changed or moved`, {
      hint: 'Set it anew with `crosscloud config set`.',
    })
  }
}

const GIVE =
  'Give the key in CROSSCLOUD_CONFIG_KEY, or name its file as config-key in crosscloud.yml.'

function authenticated(id: string, key: string): Buffer {
  return Buffer.from(JSON.stringify(['crosscloud config value', id, key]))
}

/** Decrypts all values it can; the others are listed as locked. */
export function openSnapshot(stored: ConfigSnapshot, ring: KeyRing | undefined): OpenedSnapshot {
  const values = new Map(stored)
  const sealed = new Set<string>()
  const locked = new Map<string, string>()
  for (const [key, text] of stored) {
    if (!isSealed(text)) continue
    sealed.add(key)
    try {
      values.set(key, unseal(ring, key, text))
    } catch (error) {
      values.delete(key)
      locked.set(key, describe(error).slice(key.length + 2))
    }
  }
  return { values, sealed, locked }
}
