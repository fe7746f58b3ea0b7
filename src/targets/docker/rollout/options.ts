import type { Log } from '../../../core/log.ts'
import type { EndingOf } from '../../remains.ts'
import type { RolloutStrategy } from '../../rollout-settings.ts'
import type { RolloutCommands } from '../../target.ts'
import type { ContainerInfo, ContainerSpec, Host } from '../host.ts'
import type { Ownership } from './owner.ts'
import type { RolloutProxy } from './proxy.ts'

export interface RolloutOptions extends Ownership {
  /** In the order in which they are changed. */
  hosts: readonly Host[]
  spec: ContainerSpec
  log: Log
  /** Stops the rollout between any two steps; what was changed is then restored. */
  signal: AbortSignal
  /**
   * Fires with `signal`, and when another host of the same batch has failed: this host is then left
   * at the next safe point, without the hurry of a cancel.
   */
  halt?: AbortSignal | undefined
  strategy?: RolloutStrategy | undefined
  proxy?: RolloutProxy | undefined
  commands?: RolloutCommands | undefined
  /** Throws unless the running, healthy container is the right one; the log names its host. */
  verify: (host: Host, container: ContainerInfo, log: Log) => Promise<void>
  endingOf?: EndingOf | undefined
  /** Throws when the deployment's lock was lost. */
  checkLock?: (() => Promise<void>) | undefined
}
