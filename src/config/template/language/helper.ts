import type { Reader, Value } from './values.ts'

/** Addresses, or SRV records. */
export type LookupResult = readonly (string | SrvRecord)[]

export interface SrvRecord {
  /** Host name without the dot at its end. */
  target: string
  port: number
  priority: number
  weight: number
}

/** What a template may access while it is rendered. */
export interface HelperHost {
  /** The value of a key as the template names it; undefined when there is none. */
  value(key: string): string | undefined
  /** All keys the template may see, sorted by their bytes. */
  keys(): readonly string[]
  /** Whether the key exists, but its value cannot be decrypted. */
  locked(key: string): boolean
  /** The placeholder for a key that is absent or locked. */
  missing(key: string): Value
  /** Called with a pattern or folder that no key matches. */
  nothingBelow(pattern: string): void
  /** The result of `["lookupIP", "db.example.com"]`, fetched before; throws when that failed. */
  lookup(query: readonly string[]): LookupResult
  env(name: string): string | undefined
  now(): Date
  fileExists(path: string): boolean
  /** Stands for a value that only the place where the file is put knows. */
  slot(name: string): string
}

export interface Helper {
  /** Fewest and most arguments. */
  readonly arity: readonly [number, number]
  /**
   * From this argument on, missing values are accepted; a missing value before it is the result.
   */
  readonly lazyFrom: number
  call(host: HelperHost, args: readonly Value[]): Value
}

/** The arity of helpers without an upper limit. */
export const MANY = Number.POSITIVE_INFINITY

/** A helper with a reader for each argument; arguments from `least` on are optional. */
export function helper<A extends readonly unknown[]>(
  readers: readonly [...{ [K in keyof A]: Reader<A[K]> }],
  run: (host: HelperHost, ...args: A) => Value,
  { least = readers.length, lazyFrom = MANY } = {},
): Helper {
  const all: readonly Reader<unknown>[] = readers
  return {
    arity: [least, readers.length],
    lazyFrom,
    call: (host, args) => run(host, ...(all.map((reader, i) => reader(args[i])) as unknown as A)),
  }
}

/** A helper with any number of arguments, from `least` on. */
export function variadic(
  least: number,
  run: (args: readonly Value[]) => Value,
  lazyFrom = MANY,
): Helper {
  return { arity: [least, MANY], lazyFrom, call: (_host, args) => run(args) }
}
