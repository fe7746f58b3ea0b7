import type { Digest } from '../core/digest.ts'
import type { ApiTokens } from './records/api-token.ts'
import type { Approval, ApprovalProof, ApprovalStart, ProvenApproval } from './records/approval.ts'
import type { AuditEvent, AuditEventStart, AuditQuery, Unsigned } from './records/audit-event.ts'
import type {
  AuditHead,
  AuditLogQuery,
  AuditRecord,
  AuditStart,
  AuditVerdict,
} from './records/audit-record.ts'
import type {
  ConfigChangeQuery,
  ConfigChangeSet,
  ConfigChangeStart,
} from './records/config-change.ts'
import type {
  Delivery,
  Deployment,
  DeploymentEnd,
  DeploymentStart,
  HistoryQuery,
} from './records/deployment.ts'
import type { Lock } from './records/lock.ts'
import type { Mark, MarkQuery } from './records/mark.ts'
import type { Release } from './records/release.ts'
import type { StatusCell, StatusQuery } from './records/status.ts'

export * from './records/api-token.ts'
export * from './records/approval.ts'
export * from './records/audit-event.ts'
export * from './records/audit-record.ts'
export * from './records/config-change.ts'
export * from './records/deployment.ts'
export * from './records/lock.ts'
export * from './records/mark.ts'
export * from './records/release.ts'
export * from './records/status.ts'

/**
 * The record of releases, deployments and config changes. A driver is a function that returns a Ledger; every
 * driver passes test/ledger/conformance/ledger.ts. Times are ISO 8601 in UTC.
 */
export interface Ledger extends ApiTokens {
  /** How people call it, without any secret. */
  readonly name: string
  /** What every lock names it by, made with it: tokens of two ledgers cannot be compared. */
  id(): Promise<string>
  /**
   * Hands out the next version of an application; two callers never get the same. The first is
   * 1.0.0; after x.y.9 comes x.(y+1).0, after x.9.9 (x+1).0.0.
   */
  nextVersion(app: string): Promise<string>
  /** Records a release. The same again changes nothing; another digest for a known version is CONFLICT. */
  recordRelease(release: Release): Promise<void>
  findRelease(app: string, version: string): Promise<Release | undefined>
  findReleaseByDigest(app: string, digest: Digest): Promise<Release | undefined>
  /** Releases made of one WAR, newest first: a build that changes nothing bakes the same one again. */
  releasesByWar(app: string, md5: string, limit: number): Promise<Release[]>
  /** The versions that are known, in the order of their recording. */
  inOrder(app: string, versions: readonly string[]): Promise<string[]>
  /** Newest first; only those of a commit, where it is given. */
  releases(app: string, limit: number, commit?: string): Promise<Release[]>
  /**
   * Writes a deployment in state `running`, and closes as `abandoned` those left running before it.
   * The caller holds the lock of `lockToken`; the same token again gives the same deployment.
   */
  startDeployment(start: DeploymentStart): Promise<Deployment>
  /**
   * States go forward only: a deployment ends once, and the same end again changes nothing. Only an
   * abandoned deployment may still get its end, from a deployer that reports late.
   */
  endDeployment(id: string, end: DeploymentEnd): Promise<void>
  /** Newest first. A deployment that is `running` under no living lock is shown as `abandoned`. */
  deployments(query: HistoryQuery): Promise<Deployment[]>
  findDeployment(id: string): Promise<Deployment | undefined>
  /** Every host that an application was ever deployed to there, under each address it had. */
  hosts(app: string, environment: string): Promise<{ name: string; address: string }[]>
  /** The newest deployment that succeeded for each application and environment. */
  current(app?: string): Promise<Deployment[]>
  /** What runs in an environment: the newest deployment that succeeded there. */
  currentDeployment(app: string, environment: string): Promise<Deployment | undefined>
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
  /** The decisions about a release, in an environment or in all, oldest first. */
  approvals(app: string, environment: string | undefined, version: string): Promise<Approval[]>
  /** The same for a gate, with what proves each. */
  provenApprovals(app: string, environment: string, version: string): Promise<ProvenApproval[]>
  /** Marks a release as bad in an environment, or good again. */
  mark(mark: Omit<Mark, 'at'>): Promise<Mark>
  /** The mark that counts, see standing-marks.ts; undefined when there is none. */
  findMark(app: string, environment: string, version: string): Promise<Mark | undefined>
  /** All marks of a release, oldest first. */
  marks(app: string, version: string): Promise<Mark[]>
  /** The same of many releases, newest first. */
  markHistory(query: MarkQuery): Promise<Mark[]>
  recordEvent(event: AuditEventStart): Promise<AuditEvent>
  /** Newest first. */
  events(query: AuditQuery): Promise<AuditEvent[]>
  /** Adds an act or a refusal to the audit log, chained to the record before it. */
  recordAudit(entry: AuditStart): Promise<AuditRecord>
  /** Newest first, unless `after` is given. */
  audits(query: AuditLogQuery): Promise<AuditRecord[]>
  /** The newest record; who keeps its hash elsewhere can tell later whether the log was written anew. */
  auditHead(): Promise<AuditHead>
  /** Checks the whole audit log, page by page; a `head` that was kept must be in it. */
  verifyAudit(options?: { head?: string | undefined }): Promise<AuditVerdict>
  /** What went past a gate, and nobody has signed off; oldest first. */
  unsigned(query?: StatusQuery): Promise<Unsigned[]>
  /** By application and environment, in that order. */
  status(query?: StatusQuery): Promise<StatusCell[]>
  /** Deployments started since then (ISO 8601, UTC), oldest first. */
  deliveries(query: StatusQuery & { since: string }): Promise<Delivery[]>
  /**
   * Takes the lock, or CONFLICT naming its owner, reason and expiry. An expired lock is taken over.
   * With `queue`, an owner that asked earlier and still waits comes first; an owner that is refused keeps
   * its place for so many milliseconds, 0 for none. Without it, the order of asking does not count.
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
  /** The lock as it is held now; undefined when there is none or it has expired. */
  findLock(app: string, environment: string): Promise<Lock | undefined>
  /** Makes the lock last `ttl` milliseconds from now; CONFLICT when it was lost. */
  heartbeat(lock: Lock, ttl: number): Promise<Lock>
  /** Gives the lock back. Changes nothing when it was lost: another's is never released. */
  unlock(lock: Lock): Promise<void>
  /** Its schema, and how many rows each table has. */
  facts(): Promise<{ schema: string; rows: Record<string, number> }>
  /**
   * All records of a single moment as JSON lines, each handed to `put` with its line break. The last line
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
