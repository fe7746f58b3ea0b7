import { StepError } from '../../../core/errors.ts'

/** Arguments and results of helpers. Objects have no prototype. */
export type Value = string | number | boolean | null | undefined | readonly Value[] | ValueMap

export interface ValueMap {
  readonly [name: string]: Value
}

const missingMark = Symbol('missing key')

/**
 * Represents the value of an absent key. It passes through helpers until it is printed or decided
 * on, so that one rendering finds all missing keys, and `and`, `or` and defaults ignore the
 * arguments they do not use.
 */
export interface Missing {
  readonly [missingMark]: true
  readonly key: string
  readonly file: string
  readonly line: number
}

export function missing(key: string, file: string, line: number): Missing & ValueMap {
  const mark = { [missingMark]: true as const, key, file, line }
  return Object.assign(Object.create(null), mark)
}

export function isMissing(value: Value): value is Missing & ValueMap {
  return typeof value === 'object' && value !== null && missingMark in value
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}

export function isMap(value: Value): value is ValueMap {
  return typeof value === 'object' && value !== null && !isList(value) && !isMissing(value)
}

export function mapOf(entries: Iterable<readonly [string, Value]>): ValueMap {
  const map: Record<string, Value> = Object.create(null)
  for (const [name, value] of entries) map[name] = value
  return map
}

/** Truth as in Go's templates: "", 0, false, nothing, an empty list or map are false. */
export function truth(value: Value): boolean {
  if (isList(value)) return value.length > 0
  if (isMap(value)) return Object.keys(value).length > 0
  return Boolean(value)
}

/** A kind for error messages; never the value itself, which may be a secret. */
export function kindOf(value: Value): string {
  if (value === undefined || value === null) return 'nothing'
  if (isList(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  return (
    { string: 'a string', number: 'a number', boolean: 'true or false' }[typeof value as string] ??
    'unknown'
  )
}

/** An error in a template. The caller adds file and line. */
export function templateError(message: string, hint?: string): StepError {
  return new StepError('INPUT_INVALID', message, { hint })
}

/** The most characters that a helper's result may have. */
export const LONGEST_VALUE = 1024 * 1024

/** Refuses a result before it is built. */
export function refuseLong(characters: number): void {
  if (characters > LONGEST_VALUE) throw templateError('the value is too large')
}

/**
 * Turns an argument into the type a helper needs, or throws an error that does not show the value.
 */
export type Reader<T> = (value: Value) => T

const want = (what: string, value: Value, hint?: string) =>
  templateError(`needs ${what}, got ${kindOf(value)}`, hint)

export const any: Reader<Value> = (value) => value

export const text: Reader<string> = (value) => {
  if (typeof value === 'string') return value
  throw want('a string', value, 'printf makes a string of a number.')
}

export const integer: Reader<number> = (value) => {
  if (typeof value !== 'number')
    throw want('a whole number', value, 'atoi makes a number of a string.')
  if (!Number.isSafeInteger(value)) throw templateError('needs a whole number of at most 2^53')
  return value
}

export const list: Reader<readonly Value[]> = (value) => {
  if (isList(value)) return value
  throw want('a list', value, 'split, gets, getvs, ls, seq and jsonArray give lists.')
}

export const texts: Reader<readonly string[]> = (value) => list(value).map(text)

export const scalarTexts: Reader<readonly string[]> = (value) =>
  list(value).map((item) => {
    if (typeof item === 'string' || typeof item === 'number' || typeof item === 'boolean')
      return String(item)
    throw want('a list of texts', item)
  })

export const maybe =
  <T>(reader: Reader<T>): Reader<T | undefined> =>
  (value) =>
    value === undefined ? undefined : reader(value)

/** The same error with the helper's name before it; errors of other kinds are unchanged. */
export function named(helper: string, error: unknown): unknown {
  if (!(error instanceof StepError)) return error
  return new StepError(error.code, `${helper}: ${error.message}`, { hint: error.hint })
}
