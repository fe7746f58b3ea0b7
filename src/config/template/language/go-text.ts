import { posix } from 'node:path'
import { isList, isMap, mapOf, refuseLong, templateError, type Value } from './values.ts'

/** Go's path.Clean: shortest equal path, never a trailing slash, "." for nothing. */
export function cleanPath(path: string): string {
  const normal = posix.normalize(path)
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal
}

/** Go's path.Base. */
export function basePath(path: string): string {
  if (path === '') return '.'
  const bare = path.replace(/\/+$/, '')
  return bare === '' ? '/' : bare.slice(bare.lastIndexOf('/') + 1)
}

/** Go's path.Dir. */
export function dirPath(path: string): string {
  return cleanPath(path.slice(0, path.lastIndexOf('/') + 1))
}

/** Go's strings.Split: an empty separator splits into characters, not UTF-16 halves. */
export function splitText(text: string, separator: string): string[] {
  return separator === '' ? Array.from(text) : text.split(separator)
}

/**
 * Go's strings.Replace: at most `n` times, all when n < 0; an empty `old` matches before each
 * character.
 */
export function replaceText(text: string, old: string, replacement: string, n: number): string {
  const most = n < 0 ? Number.POSITIVE_INFINITY : n
  const pieces = old === '' ? ['', ...Array.from(text)] : text.split(old)
  const count = Math.min(most, old === '' ? pieces.length : pieces.length - 1)
  refuseLong(text.length + count * (replacement.length - old.length))
  if (old === '') return pieces.map((piece, i) => (i < most ? piece + replacement : piece)).join('')
  let result = pieces[0] ?? ''
  for (const [i, piece] of pieces.slice(1).entries()) {
    result += (i < most ? replacement : old) + piece
  }
  return result
}

/** Go's strings.Join. */
export function joinTexts(items: readonly string[], separator: string): string {
  const characters = items.reduce((sum, item) => sum + item.length, 0)
  refuseLong(characters + separator.length * Math.max(0, items.length - 1))
  return items.join(separator)
}

/** Go's strings.ToUpper and ToLower map one character to one character: ß stays ß. */
export function mapCase(text: string, map: (character: string) => string): string {
  let result = ''
  for (const character of text) {
    const mapped = map(character)
    result += mapped.length === character.length ? mapped : character
  }
  return result
}

const truths = new Set(['1', 't', 'T', 'TRUE', 'true', 'True'])
const untruths = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False'])

/** Go's strconv.ParseBool. */
export function parseBool(text: string): boolean {
  if (truths.has(text)) return true
  if (untruths.has(text)) return false
  throw templateError('the value is neither true nor false', 'Use true or false; spaces count.')
}

/** Go's strconv.Atoi, within the numbers that JavaScript holds exactly. */
export function atoi(text: string): number {
  const number = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(number)) return number === 0 ? 0 : number
  throw templateError('the value is not a whole number of at most 2^53', 'Spaces count.')
}

/** Go's base64.StdEncoding, padded; line ends inside are skipped as Go does. */
export function decodeBase64(text: string): string {
  const bare = text.replace(/[\r\n]/g, '')
  const valid = bare.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(bare)
  if (!valid) throw templateError('the value is not base64')
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      Buffer.from(bare, 'base64'),
    )
  } catch {
    throw templateError('the decoded value is not UTF-8 text')
  }
}

const JSON_TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g

/** JSON with numbers that print as they were written: 1e7, 1.10 and large numbers become texts. */
export function parseJson(text: string): Value {
  try {
    JSON.parse(text)
  } catch {
    throw templateError('the value is not JSON')
  }
  const kept = text.replace(JSON_TOKEN, (token) =>
    token.startsWith('"') || String(Number(token)) === token ? token : `"${token}"`,
  )
  return JSON.parse(kept, (_name, value: Value) =>
    isMap(value) ? mapOf(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value,
  ) as Value
}

/** Go's `index`: item of a list, entry of a map, byte of a string; nested with more arguments. */
export function indexInto(value: Value, at: Value): Value {
  if (isMap(value)) {
    if (typeof at !== 'string') throw templateError('a map is indexed by a string')
    const found = value[at]
    if (found === undefined) throw templateError(`the map has no ${JSON.stringify(at)}`)
    return found
  }
  const items = typeof value === 'string' ? [...Buffer.from(value)] : value
  if (!isList(items)) throw templateError('needs a list, a map or a string')
  if (typeof at !== 'number') throw templateError('a list is indexed by a number')
  const found = items[at]
  if (found === undefined)
    throw templateError(`there is no item ${at}, the length is ${items.length}`)
  return found
}

/** Go's reference time, "Mon Jan 2 15:04:05 MST 2006", in UTC; longest tokens first. */
export function formatTime(date: Date, layout: string): string {
  const iso = date.toISOString()
  const pad = (n: number) => String(n).padStart(2, '0')
  const day = date.toUTCString()
  const month = date.toLocaleString('en-US', { month: 'long', timeZone: 'UTC' })
  const weekday = date.toLocaleString('en-US', { weekday: 'long', timeZone: 'UTC' })
  const hour12 = date.getUTCHours() % 12 || 12
  const tokens: Record<string, string> = {
    '2006': iso.slice(0, 4),
    January: month,
    Jan: day.slice(8, 11),
    Monday: weekday,
    Mon: day.slice(0, 3),
    MST: 'UTC',
    'Z07:00': 'Z',
    '-07:00': '+00:00',
    '-0700': '+0000',
    '.000000': `.${iso.slice(20, 23)}000`,
    '.000': `.${iso.slice(20, 23)}`,
    '01': iso.slice(5, 7),
    '02': iso.slice(8, 10),
    '03': pad(hour12),
    '04': iso.slice(14, 16),
    '05': iso.slice(17, 19),
    '06': iso.slice(2, 4),
    '15': iso.slice(11, 13),
    PM: date.getUTCHours() < 12 ? 'AM' : 'PM',
    '1': String(date.getUTCMonth() + 1),
    '2': String(date.getUTCDate()),
    '3': String(hour12),
    '4': String(date.getUTCMinutes()),
    '5': String(date.getUTCSeconds()),
  }
  const any = Object.keys(tokens)
    .sort((a, b) => b.length - a.length)
    .map((token) => token.replace(/[.+]/g, '\\$&'))
  return layout.replace(new RegExp(any.join('|'), 'g'), (token) => tokens[token] ?? token)
}
