import type { HttpClient } from '../core/http/client.ts'

/** The settings that hold the address and the token: crosscloud.yml or crosscloud.server.yml. */
export type SettingsPlace = 'application' | 'server'

export interface GitlabAccess {
  url: string
  token: string
  http: HttpClient
  signal: AbortSignal
  /** Milliseconds that one request may take in all; default 30 s. */
  timeout?: number | undefined
  /** Pauses between tries, in milliseconds. */
  firstPause?: number
  /** Tries in all; default 5. */
  attempts?: number
  /** Whose settings name it; default crosscloud.yml. */
  place?: SettingsPlace
}
