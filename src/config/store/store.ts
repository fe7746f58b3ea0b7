/** The keys of an environment at a point in time. Keys begin with `/`: `/webapi/db/url`. */
export type ConfigSnapshot = ReadonlyMap<string, string>

/** One change of a key; `null` removes it. */
export interface ConfigChange {
  key: string
  value: string | null
}

/**
 * A config centre. A driver is a function that returns a ConfigStore and passes
 * test/config/store/store-conformance.ts. An error of the store is UNAVAILABLE or UNAUTHORIZED, and
 * never looks like a missing key.
 */
export interface ConfigStore {
  /** For display, without any secret: `redis://config-test:6379/0`. */
  readonly name: string
  /** All keys at or below any of `roots` (`/` for all), consistent, in few round trips. */
  snapshot(roots: readonly string[]): Promise<ConfigSnapshot>
  /**
   * Makes all changes or none. With `expect`, fails with CONFLICT, changing nothing, unless each
   * named key has that value now (`null`: it is absent).
   */
  change(changes: readonly ConfigChange[], expect?: readonly ConfigChange[]): Promise<void>
  close(): Promise<void>
}
