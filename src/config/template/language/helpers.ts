import { compareBytes } from '../../store/keys.ts'
import {
  atoi,
  basePath,
  cleanPath,
  decodeBase64,
  dirPath,
  formatTime,
  indexInto,
  joinTexts,
  mapCase,
  parseBool,
  parseJson,
  replaceText,
  splitText,
} from './go-text.ts'
import { type Helper, type HelperHost, helper, MANY, variadic } from './helper.ts'
import { compilePathMatch } from './path-match.ts'
import { printf } from './printf.ts'
import * as read from './values.ts'
import {
  isList,
  isMap,
  isMissing,
  mapOf,
  type Reader,
  templateError,
  truth,
  type Value,
} from './values.ts'

const LONGEST_SEQUENCE = 100_000

/** A key as templates write it. In confd a key without a slash is never found. */
const key: Reader<string> = (value) => {
  const name = read.text(value)
  if (name.startsWith('/')) return name
  throw templateError(`key "${name}" does not begin with /`, `Write "/${name}".`)
}

const pair = (name: string, value: Value): Value =>
  mapOf([
    ['key', name],
    ['value', value],
  ])

function matching(host: HelperHost, pattern: string): readonly string[] {
  return noted(host, pattern, host.keys().filter(compilePathMatch(pattern)))
}

function noted<T>(host: HelperHost, pattern: string, found: readonly T[]): readonly T[] {
  if (found.length === 0) host.nothingBelow(pattern)
  return found
}

/** memkv's List: child names; a leaf lists itself by its base name. */
function children(host: HelperHost, path: string, onlyFolders: boolean): readonly string[] {
  const clean = cleanPath(path)
  const root = clean === '/' ? '/' : `${clean}/`
  const names = new Set<string>()
  for (const name of host.keys()) {
    if (name === path && !onlyFolders) names.add(basePath(name))
    if (!name.startsWith(root)) continue
    const [child = '', ...below] = name.slice(root.length).split('/')
    if (child !== '' && (!onlyFolders || below.length > 0)) names.add(child)
  }
  return noted(host, path, [...names].sort(compareBytes))
}

/** A default applies to an absent key, not to a key that cannot be decrypted. */
const valueOr = (host: HelperHost, name: string, otherwise?: Value): Value =>
  host.value(name) ?? (host.locked(name) ? undefined : otherwise) ?? host.missing(name)

const keyHelpers: Record<string, Helper> = {
  getv: helper([key, read.maybe(read.any)], valueOr, { least: 1, lazyFrom: 1 }),
  get: helper([key], (host, name) => {
    const value = host.value(name)
    return value === undefined ? host.missing(name) : pair(name, value)
  }),
  exists: helper([key], (host, name) => host.value(name) !== undefined || host.locked(name)),
  gets: helper([key], (host, pattern) =>
    matching(host, pattern).map((name) => pair(name, valueOr(host, name))),
  ),
  getvs: helper([key], (host, pattern) => {
    const found = matching(host, pattern)
    const locked = found.find(host.locked)
    if (locked !== undefined) return host.missing(locked)
    return found.map((name) => host.value(name) ?? '').sort(compareBytes)
  }),
  ls: helper([key], (host, path) => children(host, path, false)),
  lsdir: helper([key], (host, path) => children(host, path, true)),
}

const byteLength = (text: string) => Buffer.byteLength(text)

const textHelpers: Record<string, Helper> = {
  base: helper([read.text], (_, path) => basePath(path)),
  dir: helper([read.text], (_, path) => dirPath(path)),
  split: helper([read.text, read.text], (_, text, separator) => splitText(text, separator)),
  join: helper([read.scalarTexts, read.text], (_, items, separator) => joinTexts(items, separator)),
  contains: helper([read.text, read.text], (_, text, part) => text.includes(part)),
  trimSuffix: helper([read.text, read.text], (_, text, end) =>
    end !== '' && text.endsWith(end) ? text.slice(0, -end.length) : text,
  ),
  replace: helper([read.text, read.text, read.text, read.integer], (_, text, old, replacement, n) =>
    replaceText(text, old, replacement, n),
  ),
  toUpper: helper([read.text], (_, text) => mapCase(text, (c) => c.toUpperCase())),
  toLower: helper([read.text], (_, text) => mapCase(text, (c) => c.toLowerCase())),
  base64Encode: helper([read.text], (_, text) => Buffer.from(text).toString('base64')),
  base64Decode: helper([read.text], (_, text) => decodeBase64(text)),
  json: helper([read.text], (_, text) => {
    const value = parseJson(text)
    if (isMap(value)) return value
    throw templateError('the value is not a JSON object', 'jsonArray reads an array.')
  }),
  jsonArray: helper([read.text], (_, text) => {
    const value = parseJson(text)
    if (isList(value)) return value
    throw templateError('the value is not a JSON array', 'json reads an object.')
  }),
  parseBool: helper([read.text], (_, text) => parseBool(text)),
  atoi: helper([read.text], (_, text) => atoi(text)),
}

/** The result of integer arithmetic; Go would wrap around silently. */
const exact = (result: number) => {
  if (Number.isSafeInteger(result)) return result === 0 ? 0 : result
  throw templateError('the result is larger than 2^53')
}
const divisor: Reader<number> = (value) => {
  const number = read.integer(value)
  if (number !== 0) return number
  throw templateError('division by zero')
}

const listHelpers: Record<string, Helper> = {
  map: variadic(0, (args) => {
    if (args.length % 2 === 1) throw templateError('needs pairs of name and value')
    const names = args.filter((_, i) => i % 2 === 0).map(read.text)
    return mapOf(names.map((name, i) => [name, args[2 * i + 1]]))
  }),
  add: helper([read.integer, read.integer], (_, a, b) => exact(a + b)),
  sub: helper([read.integer, read.integer], (_, a, b) => exact(a - b)),
  mul: helper([read.integer, read.integer], (_, a, b) => exact(a * b)),
  div: helper([read.integer, divisor], (_, a, b) => exact(Math.trunc(a / b))),
  mod: helper([read.integer, divisor], (_, a, b) => exact(a % b)),
  seq: helper([read.integer, read.integer], (_, first, last) => {
    const length = Math.max(0, last - first + 1)
    if (length > LONGEST_SEQUENCE)
      throw templateError(`a sequence has at most ${LONGEST_SEQUENCE} numbers`)
    return Array.from({ length }, (_item, i) => first + i)
  }),
  reverse: helper([read.list], (_, items) => items.toReversed()),
  sortByLength: helper([read.texts], (_, items) =>
    items.toSorted((a, b) => byteLength(a) - byteLength(b)),
  ),
  sortKVByLength: helper([read.list], (_, items) =>
    items
      .map((item) => ({ item, length: byteLength(read.text(isMap(item) ? item.key : undefined)) }))
      .sort((a, b) => a.length - b.length)
      .map(({ item }) => item),
  ),
}

function compare(a: Value, b: Value): number {
  if (typeof a === 'string' && typeof b === 'string') return compareBytes(a, b)
  if (typeof a === 'number' && typeof b === 'number') return a - b
  throw templateError(
    `cannot order ${read.kindOf(a)} and ${read.kindOf(b)}`,
    'atoi makes a number of a string.',
  )
}

function equal(a: Value, b: Value): boolean {
  const kinds = new Set([typeof a, typeof b])
  if (kinds.size === 1 && !kinds.has('object') && a !== undefined) return a === b
  throw templateError(
    `cannot compare ${read.kindOf(a)} with ${read.kindOf(b)}`,
    'Values are strings: compare with "1", or use atoi or parseBool.',
  )
}

/** The first argument whose truth is `wanted`, or the last; later arguments are ignored. */
const firstThat = (wanted: boolean) => (args: readonly Value[]) =>
  args.find((arg) => isMissing(arg) || truth(arg) === wanted) ?? args.at(-1)

const order = (holds: (difference: number) => boolean) =>
  helper([read.any, read.any], (_, a, b) => holds(compare(a, b)))

/** The built-in functions of Go's text/template. */
const logicHelpers: Record<string, Helper> = {
  eq: variadic(2, ([first, ...rest]) => rest.some((other) => equal(first, other))),
  ne: helper([read.any, read.any], (_, a, b) => !equal(a, b)),
  lt: order((difference) => difference < 0),
  le: order((difference) => difference <= 0),
  gt: order((difference) => difference > 0),
  ge: order((difference) => difference >= 0),
  and: variadic(1, firstThat(false), 0),
  or: variadic(1, firstThat(true), 0),
  not: helper([read.any], (_, value) => !truth(value)),
  len: helper([read.any], (_, value) => {
    if (typeof value === 'string') return byteLength(value)
    if (isList(value)) return value.length
    if (isMap(value)) return Object.keys(value).length
    throw templateError(`${read.kindOf(value)} has no length`)
  }),
  index: variadic(1, ([value, ...path]) => path.reduce(indexInto, value)),
  printf: variadic(1, ([format, ...args]) => printf(read.text(format), args)),
}

/** Helpers are synchronous: prefetchLookups queries the network before. */
const addresses = (wanted: (address: string) => boolean) =>
  helper([read.text], (host, name) =>
    host
      .lookup(['lookupIP', name])
      .filter((address) => typeof address === 'string')
      .filter(wanted),
  )

const worldHelpers: Record<string, Helper> = {
  getenv: helper(
    [read.text, read.maybe(read.text)],
    (host, name, otherwise) => {
      const value = host.env(name) ?? ''
      return value === '' ? (otherwise ?? '') : value
    },
    { least: 1 },
  ),
  datetime: helper(
    [read.maybe(read.text)],
    (host, layout) => formatTime(host.now(), layout ?? '2006-01-02T15:04:05.000Z07:00'),
    { least: 0 },
  ),
  fileExists: helper([read.text], (host, path) => host.fileExists(path)),
  slot: helper([read.text], (host, name) => host.slot(name)),
  lookupIP: addresses(() => true),
  lookupIPV4: addresses((address) => address.includes('.')),
  lookupIPV6: addresses((address) => address.includes(':')),
  lookupSRV: helper([read.text, read.text, read.text], (host, service, protocol, name) =>
    host
      .lookup(['lookupSRV', service, protocol, name])
      .flatMap((record) => (typeof record === 'object' ? [mapOf(Object.entries(record))] : [])),
  ),
}

/** Every helper by name. */
export const helpers: ReadonlyMap<string, Helper> = new Map(
  Object.entries({
    ...keyHelpers,
    ...textHelpers,
    ...listHelpers,
    ...logicHelpers,
    ...worldHelpers,
  }),
)

/** Calls a helper after checking how many arguments it got; missing values pass through. */
export function callHelper(name: string, args: readonly Value[], host: HelperHost): Value {
  const known = helpers.get(name)
  if (known === undefined) throw templateError(`there is no helper ${name}`)
  const problem = arityProblem(name, args.length)
  if (problem) throw templateError(problem)
  const absent = args.slice(0, known.lazyFrom).find(isMissing)
  if (absent !== undefined) return absent
  try {
    return known.call(host, args)
  } catch (error) {
    throw read.named(name, error)
  }
}

/** `getv takes 1 or 2 arguments, got 3`, or undefined. */
export function arityProblem(name: string, count: number): string | undefined {
  const [least, most] = helpers.get(name)?.arity ?? [0, MANY]
  if (count >= least && count <= most) return undefined
  const range =
    most === MANY ? `${least} or more` : least === most ? `${least}` : `${least} or ${most}`
  return `${name} takes ${range} argument${range === '1' ? '' : 's'}, got ${count}`
}
