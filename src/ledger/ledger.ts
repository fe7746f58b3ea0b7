import type { Digest } from '../core/digest.ts'
import type {
  AuditEvent,
  AuditEventStart,
  AuditQuery,
  BreakGlass,
  MarkQuery,
  Unsigned,
} from './audit.ts'
import type { ConfigChangeQuery, ConfigChangeSet, ConfigChangeStart } from './config-change.ts'

/** One immutable build, written `webapi@1.4.2`. */
export interface Release {
  app: string
  version: string
  digest: Digest
  baseDigest: Digest | undefined
  /** hex */
  warMd5: string
  /** hex */
  warSha256: string
  /** bytes */
  warSize: number
  /** The first repository it was pushed to, without tag. */
  repository: string
  commit: string | undefined
  /** When the commit was made; ISO 8601, UTC. */
  committedAt: string | undefined
  branch: string | undefined
  author: string | undefined
  pipelineUrl: string | undefined
  jobUrl: string | undefined
  reason: string | undefined
  bakedBy: string
  /** How it is known who baked it: the issuer of a signed token, or `unverified`. */
  bakedIdentity: string | undefined
  /** The person's id on the CI system, and mail, as their signed token said. */
  bakedById: string | undefined
  bakedByMail: string | undefined
  /** ISO 8601, UTC, milliseconds. */
  bakedAt: string
}

export const deploymentStates = ['running', 'succeeded', 'failed', 'abandoned'] as const
export type DeploymentState = (typeof deploymentStates)[number]

export const deploymentKinds = ['deploy', 'rollback'] as const
export type DeploymentKind = (typeof deploymentKinds)[number]

export interface HostOutcome {
  host: string
  containerId: string | undefined
  previousContainerId: string | undefined
  url: string | undefined
  /** Of a deployment that succeeded: false for a host that was left out. */
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
  hosts: HostOutcome[]
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
  /** ISO 8601, UTC; now, when it is told at once. */
  finishedAt?: string | undefined
  error?: string | undefined
  hosts: HostOutcome[]
  verified: boolean
  /** A release that is known to be bad there once this one runs: written with the end, or not at all. */
  bad?: Pick<Mark, 'version' | 'by' | 'identity' | 'reason'> | undefined
}

/** Held by whoever changes an application in an environment. */
export interface Lock {
  app: string
  environment: string
  owner: string
  reason: string
  /** Grows with every lock ever taken; a holder with an older one has lost it. */
  token: number
  /** The id of the ledger: tokens of two ledgers cannot be compared. */
  ledger: string
  expiresAt: string
}

export interface HistoryQuery {
  app?: string | undefined
  version?: string | undefined
  environment?: string | undefined
  state?: DeploymentState | undefined
  by?: string | undefined
  /** ISO 8601, UTC: only those started then or later. */
  since?: string | undefined
  /** The id of a deployment: only those before it. The last one of a page gives the next page. */
  before?: string | undefined
  limit: number
}

export interface StatusQuery {
  app?: string | undefined
  environment?: string | undefined
}

/** What is known of one application in one environment now. */
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
  /** Releases that were recorded after the one that runs. */
  behind: number
  /** Deployments there that went past the gate, and that nobody has signed off; oldest first. */
  unsigned: Unsigned[]
  /** Set when what runs is known to be bad there. */
  bad: Pick<Mark, 'by' | 'reason' | 'at'> | undefined
  lock: Pick<Lock, 'owner' | 'reason' | 'expiresAt'> | undefined
  /** A deployment that has not ended; `abandoned` when its deployer is gone. */
  underway:
    | { deployment: string; version: string; by: string; since: string; state: DeploymentState }
    | undefined
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

export const approvalDecisions = ['approved', 'rejected'] as const
export type ApprovalDecision = (typeof approvalDecisions)[number]

/** One person's word on a release in an environment. Of one person the newest counts. */
export interface Approval {
  id: string
  app: string
  environment: string
  version: string
  /** The approval is for this image and no other. */
  digest: Digest
  decision: ApprovalDecision
  by: string
  /** The person's id on the CI system, mail and groups, as their signed token said. */
  byId: string | undefined
  byMail: string | undefined
  groups: readonly string[]
  /** How it is known who it was: the issuer of a signed token, or `unverified`. */
  identity: string
  /** The hash of that token (core/token-hash.ts). Each token speaks once. */
  tokenHash: string | undefined
  /** The config revision it was given for; undefined: none was looked at. */
  configRevision: string | undefined
  reason: string | undefined
  /** ISO 8601, UTC. */
  at: string
}

type Proof = Pick<Approval, 'byId' | 'byMail' | 'tokenHash' | 'configRevision'>

/** What is proven of somebody, and what was looked at, are left out where nothing is. */
export type ApprovalStart = Omit<Approval, 'id' | 'at' | keyof Proof> & Partial<Proof>

/** A secret: the signed token somebody spoke with, and the issuer's key it was checked by (a JWK). */
export interface ApprovalProof {
  token: string
  publicKey: string
}

export interface ProvenApproval {
  approval: Approval
  /** Undefined where none was kept. */
  proof: ApprovalProof | undefined
}

/** Whether a release is known to be bad in an environment. */
export interface Mark {
  app: string
  environment: string
  version: string
  bad: boolean
  by: string
  /** How it is known who it was; see Approval. */
  identity?: string | undefined
  reason: string
  /** ISO 8601, UTC. */
  at: string
}

/**
 * The record of releases, deployments and config changes. A driver is a function that returns one of these; every
 * driver passes test/ledger/ledger-conformance.ts. Times are ISO 8601 in UTC.
 */
export interface Ledger {
  /** How people call it, without any secret. */
  readonly name: string
  /**
   * Hands out the next version of an application; two callers never get the same. The first is
   * 1.0.0; after x.y.9 comes x.(y+1).0, after x.9.9 (x+1).0.0.
   */
  nextVersion(app: string): Promise<string>
  /** Records a release. The same again changes nothing; another digest for a known version is CONFLICT. */
  recordRelease(release: Release): Promise<void>
  findRelease(app: string, version: string): Promise<Release | undefined>
  findReleaseByDigest(app: string, digest: Digest): Promise<Release | undefined>
  /** The versions that are known, in the order of their recording. */
  inOrder(app: string, versions: readonly string[]): Promise<string[]>
  /** Newest first; only those of a commit, where one is given. */
  releases(app: string, limit: number, commit?: string): Promise<Release[]>
  /**
   * Writes a deployment in state `running`, and closes as `abandoned` those left running before it.
   * The caller holds the lock of `lockToken`; the same token again gives the same deployment.
   */
  startDeployment(start: DeploymentStart): Promise<Deployment>
  /**
   * States go forward only: a deployment ends once, and the same end again changes nothing. Only an
   * abandoned one may still be settled, by a deployer that reports late.
   */
  endDeployment(id: string, end: DeploymentEnd): Promise<void>
  /** Newest first. One that is `running` under no living lock is shown as `abandoned`. */
  deployments(query: HistoryQuery): Promise<Deployment[]>
  findDeployment(id: string): Promise<Deployment | undefined>
  /** Every host that an application was ever deployed to there, under each address it had. */
  hosts(app: string, environment: string): Promise<{ name: string; address: string }[]>
  /** The newest deployment that succeeded for each application and environment. */
  current(app?: string): Promise<Deployment[]>
  /** Keeps a config revision's content by its hash; values that are secret must not be in it. */
  recordConfigRevision(revision: string, content: string): Promise<void>
  findConfigRevision(revision: string): Promise<string | undefined>
  /** Records a change that was made: all its keys or none, at least one. */
  recordConfigChange(set: ConfigChangeStart): Promise<ConfigChangeSet>
  /** Newest first. NOT_FOUND when `after` or `before` is not in the ledger. */
  configChanges(query: ConfigChangeQuery): Promise<ConfigChangeSet[]>
  findConfigChange(id: string): Promise<ConfigChangeSet | undefined>
  /** Whether approvals are written, and their proofs read, by an account of their own. */
  readonly approvalsApart: boolean
  recordApproval(approval: ApprovalStart, proof?: ApprovalProof): Promise<Approval>
  /** What was said about a release, in an environment or in all, oldest first. */
  approvals(app: string, environment: string | undefined, version: string): Promise<Approval[]>
  /** The same for a gate, with what proves each. */
  provenApprovals(app: string, environment: string, version: string): Promise<ProvenApproval[]>
  /** Says that a release is bad in an environment, or good again. */
  mark(mark: Omit<Mark, 'at'>): Promise<Mark>
  /** The mark that counts, see standingMark in marks.ts; undefined when there is none. */
  findMark(app: string, environment: string, version: string): Promise<Mark | undefined>
  /** What was ever said of a release being bad, oldest first. */
  marks(app: string, version: string): Promise<Mark[]>
  /** The same of many releases, newest first. */
  markHistory(query: MarkQuery): Promise<Mark[]>
  recordEvent(event: AuditEventStart): Promise<AuditEvent>
  /** Newest first. */
  events(query: AuditQuery): Promise<AuditEvent[]>
  /** What went past a gate, and nobody has signed off; oldest first. */
  unsigned(query?: StatusQuery): Promise<Unsigned[]>
  /** By application and environment, in that order. */
  status(query?: StatusQuery): Promise<StatusCell[]>
  /** Deployments started since then (ISO 8601, UTC), oldest first. */
  deliveries(query: StatusQuery & { since: string }): Promise<Delivery[]>
  /**
   * Takes the lock, or CONFLICT naming its owner, reason and expiry. An expired lock is taken over.
   * With `queue`, whoever asked earlier and still waits comes first; an owner that is refused keeps
   * its own place for so many milliseconds, 0 for none. Without, nobody is waited for.
   */
  lock(
    app: string,
    environment: string,
    owner: string,
    reason: string,
    ttl: number,
    queue?: number,
  ): Promise<Lock>
  /** Gives up the place of an owner that waits no more. */
  leaveQueue(app: string, environment: string, owner: string): Promise<void>
  /** The lock as it is held now, by whomever; undefined when there is none or it has expired. */
  findLock(app: string, environment: string): Promise<Lock | undefined>
  /** Makes the lock last `ttl` milliseconds from now; CONFLICT when it was lost. */
  heartbeat(lock: Lock, ttl: number): Promise<Lock>
  /** Gives the lock back. Changes nothing when it was lost: another's is never released. */
  unlock(lock: Lock): Promise<void>
  /** Its schema, and how many rows each table has. */
  facts(): Promise<{ schema: string; rows: Record<string, number> }>
  /**
   * All records of one moment as JSON lines, each handed to `put` with its line break. The last line
   * has a count and the SHA-256 of all before it.
   */
  exportRecords(put: (line: string) => void | Promise<void>): Promise<void>
  /** Takes the lines of an export into an empty ledger: all of them or none. */
  importRecords(lines: AsyncIterable<string>): Promise<{ rows: number }>
  /**
   * Makes the triggers that hold history where they are missing: a migration goes on without them
   * where it may not make them. UNAUTHORIZED, with the next step, when this account may not.
   */
  guard(): Promise<void>
  close(): Promise<void>
}
