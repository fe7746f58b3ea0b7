import type { HealthEndpoint } from '../notation.ts'

/** Statuses from the first to the last, both included. */
export type StatusRange = readonly [first: number, last: number]

export interface HttpCheck extends HealthEndpoint {
  /** What counts as well; 200–299 when undefined. */
  statuses?: readonly StatusRange[] | undefined
  /** Sent along; never secrets: whoever may use the host's engine can read them. */
  headers?: Readonly<Record<string, string>> | undefined
  /** A regular expression for the first 64 KiB of the body. */
  body?: string | undefined
}

/** How it is known that a container is well. */
export type HealthCheck =
  | { http: HttpCheck }
  | { tcp: { port: number } }
  /** By the image's own HEALTHCHECK, which the engine runs. */
  | { docker: true }
  /** Runs in the container; well when it ends with 0. */
  | { command: readonly string[] }
  /** Milliseconds for which it must have run. */
  | { running: number }

export type HealthSettings = HealthCheck & {
  /** Milliseconds that the whole start may take. */
  timeout: number
  /** Milliseconds between two checks; by default they are frequent at first. */
  interval?: number | undefined
  /** Milliseconds that one check may take. */
  requestTimeout?: number | undefined
  /** How many checks in a row must succeed; 1 when undefined. */
  successes?: number | undefined
}

/** milliseconds */
export const defaults = { timeout: 60_000, requestTimeout: 5000 }

/** For a container without a health check. */
export const settling: HealthSettings = { running: 3000, timeout: 3000 }

/** The container's port that the check connects to, if it does. */
export function healthPort(health: HealthSettings | undefined): number | undefined {
  if (!health) return undefined
  if ('http' in health) return health.http.port
  return 'tcp' in health ? health.tcp.port : undefined
}
