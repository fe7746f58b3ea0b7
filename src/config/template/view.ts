import { compareBytes } from '../store/keys.ts'
import type { ConfigSnapshot } from '../store/store.ts'
import type { ConfigTemplate } from './resources.ts'

/** The keys that a template sees: only those below its roots, without its prefix. */
export interface View {
  value(key: string): string | undefined
  keys(): readonly string[]
  /** Whether the key is below the roots, decrypted or not. */
  seen(key: string): boolean
  used: Set<string>
}

export function createView(
  { prefix, roots }: ConfigTemplate,
  snapshot: ConfigSnapshot,
  sorted: () => readonly string[],
): View {
  const wanted = new Set(roots)
  const seen = belowAny(wanted)
  const used = new Set<string>()
  const keys = once(() => {
    const outermost = [...wanted].filter((root) => root === '/' || !seen(parentOf(root)))
    const found = outermost
      .flatMap((root) => range(sorted(), root))
      .map((key) => shortKey(prefix, key))
    return outermost.length > 1 ? sortKeys(found) : found
  })
  return {
    used,
    keys,
    value(key) {
      const full = fullKey(prefix, key)
      const value = seen(full) ? snapshot.get(full) : undefined
      if (value !== undefined) used.add(full)
      return value
    },
    seen: (key) => seen(fullKey(prefix, key)),
  }
}

/**
 * Sorts by UTF-8 bytes; without surrogates, UTF-16 has the same order and the default sort is
 * faster.
 */
export function sortKeys(keys: string[]): string[] {
  return keys.some((key) => /[\ud800-\udfff]/.test(key)) ? keys.sort(compareBytes) : keys.sort()
}

function parentOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/')) || '/'
}

/** Whether a key is at or below a root; keys of one folder share its cached result. */
function belowAny(roots: ReadonlySet<string>): (key: string) => boolean {
  const known = new Map([['/', roots.has('/')]])
  const folder = (path: string): boolean => {
    const cached = known.get(path)
    if (cached !== undefined) return cached
    const below = roots.has(path) || folder(parentOf(path))
    known.set(path, below)
    return below
  }
  return (key) => roots.has(key) || folder(parentOf(key))
}

/** The full key in the config centre for a key in a template. */
export function fullKey(prefix: string, key: string): string {
  if (prefix === '/') return key
  return key === '/' ? prefix : prefix + key
}

function shortKey(prefix: string, key: string): string {
  return prefix === '/' ? key : key.slice(prefix.length) || '/'
}

/** The root itself and all keys below it, which are adjacent in the sorted list. */
function range(sorted: readonly string[], root: string): string[] {
  if (root === '/') return [...sorted]
  const first = firstFrom(sorted, `${root}/`)
  let last = first
  while (sorted[last]?.startsWith(`${root}/`)) last++
  const own = sorted[firstFrom(sorted, root)] === root ? [root] : []
  return [...own, ...sorted.slice(first, last)]
}

function firstFrom(sorted: readonly string[], key: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(sorted[middle] ?? '', key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Makes it at the first call. */
export function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
