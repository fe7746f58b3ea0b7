import { isUtf8 } from 'node:buffer'
import { StepError } from '../../../core/errors.ts'
import { keyProblem, selectorOf } from '../keys.ts'

/**
 * confd's layout: `/webapi/db/url` is a string of that name, or the field `url` of the hash
 * `/webapi/db`; a field may contain slashes. If both exist, the string counts.
 */
export interface RedisContent {
  strings: Map<string, Buffer>
  hashes: Map<string, Map<string, Buffer>>
}

/** The keys at or below the roots; invalid keys are left out. */
export function toSnapshot(
  name: string,
  { strings, hashes }: RedisContent,
  roots: readonly string[],
): Map<string, string> {
  const selects = selectorOf(roots)
  const values = new Map<string, string>()
  const add = (key: string, value: Buffer) => {
    if (keyProblem(key) === undefined && selects(key)) values.set(key, decode(name, key, value))
  }
  for (const [hash, fields] of hashes) {
    for (const [field, value] of fields) add(`${hash}/${field}`, value)
  }
  for (const [key, value] of strings) add(key, value)
  return values
}

export function decode(name: string, key: string, value: Buffer): string {
  if (isUtf8(value)) return value.toString('utf8')
  throw new StepError('INPUT_INVALID', `${name}: ${key}: the value is not UTF-8 text`, {
    hint: 'Set it anew as text; binary content can be kept in base64.',
  })
}

/** The keys of Redis to read for these roots: those below them, and hashes above them. */
export function relevantKeys(roots: readonly string[]): (key: string) => boolean {
  const below = selectorOf(roots)
  const above = new Set(roots.flatMap((root) => ancestors(root)))
  return (key) => below(key) || above.has(key)
}

/** `/a/b`, `/a` of `/a/b/c`; the nearest first. */
export function ancestors(key: string): string[] {
  const found: string[] = []
  for (let at = key.lastIndexOf('/'); at > 0; at = key.lastIndexOf('/', at - 1)) {
    found.push(key.slice(0, at))
  }
  return found
}

/** MATCH patterns of SCAN: one root narrows the scan, several do not. */
export function scanPattern(roots: readonly string[]): string {
  const [only, ...others] = roots
  if (only === undefined || others.length > 0 || only === '/') return '/*'
  return `${only.replace(/[\\*?[\]]/g, '\\$&')}*`
}
