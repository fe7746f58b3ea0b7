import type { Digest } from '../../core/digest.ts'
import type { BreakGlass } from './audit-event.ts'
import type { Mark } from './mark.ts'

export const deploymentStates = ['running', 'succeeded', 'failed', 'abandoned'] as const
export type DeploymentState = (typeof deploymentStates)[number]

export const deploymentKinds = ['deploy', 'rollback'] as const
export type DeploymentKind = (typeof deploymentKinds)[number]

/**
 * What came of an instance on a host. A host that got none, as it was left out, has an outcome without
 * an id. The table has one row for a host of a deployment: a target with several instances on a host
 * needs a migration that takes its unique key away. Names are those of the JSON of `crosscloud history`
 * and of the journal.
 */
export interface InstanceOutcome {
  /** The host that it is on. */
  host: string
  /** The instance's id. */
  containerId: string | undefined
  /** Of the instance that it replaced. */
  previousContainerId: string | undefined
  url: string | undefined
  /**
   * Of a deployment that succeeded: false for a host that was left out. Of a deployment that failed:
   * true for a host that it was left on all the same, and that runs it.
   */
  ok: boolean
  /** milliseconds */
  duration: number
}

/** A release and a config revision put on an environment. */
export interface Deployment {
  id: string
  app: string
  version: string
  environment: string
  digest: Digest
  configRevision: string
  by: string
  reason: string | undefined
  state: DeploymentState
  /** ISO 8601, UTC. */
  startedAt: string
  finishedAt: string | undefined
  error: string | undefined
  hosts: InstanceOutcome[]
  /** Whether the WAR's MD5 and every file were compared in the running containers. */
  verified: boolean
  kind: DeploymentKind
  /** The token of the lock it was started under. */
  lockToken: number | undefined
  /** The deployment that ran there before: its id. */
  replaced: string | undefined
  /** How it is known who started it: the issuer of a signed token, or `unverified`. */
  identity: string | undefined
  jobUrl: string | undefined
  /** Whether a closed gate or a bad release was overruled. */
  forced: boolean
  /** Ids of the approvals it was let through by. */
  approvals: string[]
  /** Set when it went past the gate. */
  breakGlass: BreakGlass | undefined
}

export type DeploymentStart = Pick<
  Deployment,
  'app' | 'version' | 'environment' | 'digest' | 'configRevision' | 'by' | 'reason'
> &
  Partial<Pick<Deployment, 'kind' | 'lockToken' | 'identity' | 'jobUrl' | 'forced'>> & {
    /** Ids of the approvals it was let through by. */
    approvals?: readonly string[]
    /** It goes past the gate: written with it, or not at all. */
    breakGlass?: Partial<Pick<BreakGlass, 'byId'>> | undefined
    /** Where it will run. Addresses hold no secret. */
    hosts?: readonly { name: string; address: string }[]
  }

export interface DeploymentEnd {
  state: Exclude<DeploymentState, 'running'>
  /** ISO 8601, UTC; default: now. */
  finishedAt?: string | undefined
  error?: string | undefined
  hosts: InstanceOutcome[]
  verified: boolean
  /** A release that is marked bad there once this deployment runs: written with the end, or not at all. */
  bad?: Pick<Mark, 'version' | 'by' | 'identity' | 'reason'> | undefined
}

export interface HistoryQuery {
  app?: string | undefined
  version?: string | undefined
  environment?: string | undefined
  state?: DeploymentState | undefined
  by?: string | undefined
  /** ISO 8601, UTC: only those started then or later. */
  since?: string | undefined
  /** The id of a deployment: only those before it. The last deployment of a page gives the next page. */
  before?: string | undefined
  limit: number
}

/** A deployment as the measures of delivery need it. */
export interface Delivery
  extends Pick<
    Deployment,
    | 'id'
    | 'app'
    | 'environment'
    | 'version'
    | 'state'
    | 'kind'
    | 'replaced'
    | 'startedAt'
    | 'finishedAt'
  > {
  committedAt: string | undefined
  bakedAt: string
  /** Whether its release is known to be bad there. */
  bad: boolean
  /** Whether its release had never succeeded there before. */
  isFirst: boolean
}
