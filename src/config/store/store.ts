/** The keys of one environment as they were at one moment. Keys begin with `/`: `/webapi/db/url`. */
export type ConfigSnapshot = ReadonlyMap<string, string>

/** One change of a key; `null` removes it. */
export interface ConfigChange {
  key: string
  value: string | null
}

/**
 * A config centre. A driver is a function that returns one of these; every driver passes
 * test/config/store/store-conformance.ts. A fault is UNAVAILABLE or UNAUTHORIZED, never a missing key.
 */
export interface ConfigStore {
  /** How people call it, without any secret: `redis://config-test:6379/0`. */
  readonly name: string
  /** All keys at or below any of `roots` (`/` for all), of one moment, in few round trips. */
  snapshot(roots: readonly string[]): Promise<ConfigSnapshot>
  /**
   * Makes all changes or none. With `expect`, fails with CONFLICT, changing nothing, unless each
   * named key has that value now (`null`: it is absent).
   */
  change(changes: readonly ConfigChange[], expect?: readonly ConfigChange[]): Promise<void>
  close(): Promise<void>
}
