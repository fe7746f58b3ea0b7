import type { Redis } from 'ioredis'
import { type RedisContent, relevantKeys, scanPattern } from './layout.ts'

const SCAN_COUNT = 5000

/** SCAN may return a key twice, and returns every key that exists during the whole scan. */
export async function scan(
  redis: Pick<Redis, 'scan'>,
  roots: readonly string[],
): Promise<Set<string>> {
  const relevant = relevantKeys(roots)
  const found = new Set<string>()
  const pattern = scanPattern(roots)
  // A narrowed pattern does not match the hashes above the root.
  if (pattern !== '/*') for (const key of ancestorsOf(roots)) found.add(key)
  let cursor = '0'
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT)
    for (const key of keys) if (relevant(key)) found.add(key)
    cursor = next
  } while (cursor !== '0')
  return found
}

function ancestorsOf(roots: readonly string[]): string[] {
  return roots.flatMap((root) => {
    const parts = root.split('/').slice(1, -1)
    return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)
  })
}

/** HGETALL's flat reply: field, value, field, value. */
export function addHash({ hashes }: RedisContent, key: string, flat: readonly Buffer[]): void {
  const fields = new Map<string, Buffer>()
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [field, value] = [flat[at], flat[at + 1]]
    if (field && value) fields.set(field.toString('utf8'), value)
  }
  if (fields.size > 0) hashes.set(key, fields)
}
