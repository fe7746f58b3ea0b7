import type Docker from 'dockerode'
import type { Caller } from '../call.ts'
import type { HostName } from '../errors.ts'

/** What each operation on a host is made with. */
export interface Operating {
  docker: Docker
  host: HostName
  call: Caller
  /** Fires when the host is closed. */
  closed: AbortSignal
  /** Whether the engine runs on this machine. */
  local: boolean
  /** For commands that hints name. */
  environment: string
}
