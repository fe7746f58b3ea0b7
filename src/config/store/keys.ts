import { StepError } from '../../core/errors.ts'
import type { ConfigChange } from './store.ts'

const LONGEST_KEY = 1024
/** C0 and C1 controls: invisible in a key, and shown differently by every tool. */
const CONTROL = /\p{Cc}/u
/** A fast check that nearly all keys pass: no control, no empty segment, none of dots alone. */
const PLAIN = /^(?:\/(?!\.{1,2}(?:\/|$))[!-.0-~]+)+$/
const LONE_SURROGATE = /\p{Cs}/u

/** The problem with a key, or undefined. Valid is `/a/b/c`: no empty, `.` or `..` segment. */
export function keyProblem(key: string): string | undefined {
  if (PLAIN.test(key) && key.length <= LONGEST_KEY) return undefined
  if (!key.startsWith('/')) return 'a key begins with /'
  if (key === '/' || key.endsWith('/')) return 'a key does not end with /'
  if (key.length > LONGEST_KEY) return `a key has at most ${LONGEST_KEY} characters`
  if (CONTROL.test(key)) return 'it has a control character'
  if (LONE_SURROGATE.test(key)) return 'it is not valid Unicode'
  const segments = key.slice(1).split('/')
  if (segments.includes('')) return 'it has an empty segment (//)'
  if (segments.includes('.') || segments.includes('..')) return 'it has a . or .. segment'
  return undefined
}

/** Refuses changes that no store could keep, all in one error. Every driver calls this first. */
export function checkChanges(
  changes: readonly ConfigChange[],
  expect: readonly ConfigChange[] = [],
): void {
  const problems: string[] = []
  for (const [what, list] of [
    ['change', changes],
    ['expectation', expect],
  ] as const) {
    const seen = new Set<string>()
    for (const { key, value } of list) {
      const problem = keyProblem(key)
      if (problem) problems.push(`key ${JSON.stringify(key)}: ${problem}`)
      if (seen.has(key)) problems.push(`key ${key}: more than one ${what}`)
      if (value !== null && LONE_SURROGATE.test(value)) {
        problems.push(`key ${key}: the value is not valid Unicode`)
      }
      seen.add(key)
    }
  }
  if (problems.length === 0) return
  throw new StepError('INPUT_INVALID', problems.join('\n'), {
    hint: 'Write keys as /webapi/db/url.',
  })
}

/** CONFLICT, naming the keys but no value, unless each expected key has its value in `now`. */
export function checkExpected(
  name: string,
  now: ReadonlyMap<string, string>,
  expect: readonly ConfigChange[],
): void {
  const moved = expect.filter(({ key, value }) => (now.get(key) ?? null) !== value)
  if (moved.length === 0) return
  const keys = moved.map(({ key }) => key).join(', ')
  throw new StepError('CONFLICT', `${name}: ${keys} changed meanwhile, nothing was written`, {
    hint: 'Read the key again, then repeat the change.',
  })
}

/** `/a/b` from `a/b`, `/a//b/`, …; `/` for everything. */
export function joinKey(...parts: readonly string[]): string {
  return `/${parts
    .join('/')
    .split('/')
    .filter((part) => part !== '')
    .join('/')}`
}

/** The keys at or below any root: `/web` has `/web/a` but not `/webapi`. */
export function selectBelow(
  all: Iterable<readonly [string, string]>,
  roots: readonly string[],
): Map<string, string> {
  const selects = selectorOf(roots)
  const selected = new Map<string, string>()
  for (const [key, value] of all) if (selects(key)) selected.set(key, value)
  return selected
}

/** Whether a key is at or below any root; its time does not depend on the number of roots. */
export function selectorOf(roots: readonly string[]): (key: string) => boolean {
  const wanted = new Set(roots.map((root) => joinKey(root)))
  if (wanted.has('/')) return () => true
  return (key) => {
    for (let at = key; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
      if (wanted.has(at)) return true
    }
    return false
  }
}

/** Orders texts as Go does: by UTF-8 bytes, which is by code point, not by UTF-16 unit. */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x === y) continue
    const xHigh = x >= 0xd800 && x <= 0xdfff
    const yHigh = y >= 0xd800 && y <= 0xdfff
    return xHigh === yHigh ? x - y : xHigh ? 1 : -1
  }
  return a.length - b.length
}
