import type { Digest } from '../../core/digest.ts'
import type { Unsigned } from './audit-event.ts'
import type { DeploymentKind, DeploymentState } from './deployment.ts'
import type { Lock } from './lock.ts'
import type { Mark } from './mark.ts'

export interface StatusQuery {
  app?: string | undefined
  environment?: string | undefined
}

/** What is known of an application in an environment now. */
export interface StatusCell {
  app: string
  environment: string
  /** What runs; undefined before the first deployment that succeeded. */
  current:
    | {
        deployment: string
        version: string
        digest: Digest
        configRevision: string
        kind: DeploymentKind
        by: string
        /** ISO 8601, UTC. */
        since: string
        verified: boolean
      }
    | undefined
  /** Hosts that the deployment which runs has left out: something older may run there. */
  missing: string[]
  /**
   * Hosts that a deployment after that was left on although it failed: it was to stop at a failure, or
   * to go on past it. Of each host the newest, by its name.
   */
  partial: { host: string; deployment: string; version: string }[]
  /**
   * Hosts of which the ledger does not know that they are as before: a deployment after that never
   * reported its end, or failed and did not restore them. Of each host the newest, by its name.
   */
  unsettled: { host: string; deployment: string; version: string }[]
  /** Releases that were recorded after the one that runs. */
  behind: number
  /** Deployments there that went past the gate, and that nobody has signed off; oldest first. */
  unsigned: Unsigned[]
  /** Set when what runs is known to be bad there. */
  bad: Pick<Mark, 'by' | 'reason' | 'at'> | undefined
  lock: Pick<Lock, 'owner' | 'reason' | 'expiresAt'> | undefined
  /** A deployment that has not ended; `abandoned` when its deployer is gone. */
  underway:
    | {
        deployment: string
        version: string
        by: string
        since: string
        state: DeploymentState
        /** Hosts that what runs was put on, any of which it may have changed. */
        hosts: string[]
      }
    | undefined
}
