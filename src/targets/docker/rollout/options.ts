import type { Log } from '../../../core/log.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../host.ts'
import type { Ownership } from './owner.ts'

export interface RolloutOptions extends Ownership {
  /** In the order in which they are changed. */
  hosts: readonly Host[]
  spec: ContainerSpec
  log: Log
  /** Stops the rollout between any two steps; what was changed is then restored. */
  signal: AbortSignal
  /** Throws unless the running, healthy container is the right one. */
  verify: (host: Host, container: ContainerInfo) => Promise<void>
  /** Throws when the deployment's lock was lost. */
  checkLock?: (() => Promise<void>) | undefined
}
