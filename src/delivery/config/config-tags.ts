import { createHmac } from 'node:crypto'
import type { ConfigSnapshot } from '../../config/store/store.ts'

/** Says whether a value, or a set of them, is still the one that somebody saw. */
export interface ConfigTags {
  /** Of all keys; it goes into an ETag. */
  ofAll(stored: ConfigSnapshot): string
  ofKey(key: string, stored: string | undefined): string
}

/**
 * Tags are made with a key that their readers do not have: nobody can test guesses of a secret
 * against them.
 */
export function createConfigTags(secret: string): ConfigTags {
  const tag = (...parts: unknown[]) =>
    createHmac('sha256', secret).update(JSON.stringify(parts)).digest('base64url').slice(0, 32)
  return {
    ofAll: (stored) =>
      tag(
        'all',
        [...stored].sort(([a], [b]) => (a < b ? -1 : 1)),
      ),
    ofKey: (key, stored) => tag('key', key, stored ?? null),
  }
}
