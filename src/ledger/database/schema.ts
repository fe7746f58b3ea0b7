import type {
  ApprovalDecision,
  AuditAction,
  DeploymentKind,
  DeploymentState,
  KeptValue,
} from '../ledger.ts'
import type { ApiTokensTable, AuditHeadTable, AuditLogTable } from './audit-schema.ts'

/**
 * The tables as the newest migration leaves them. Flags are 0 or 1, times ISO 8601 in UTC with
 * milliseconds (they sort as text), `number` counts up in the order things were recorded.
 */
export interface Schema {
  applications: ApplicationsTable
  counters: CountersTable
  releases: ReleasesTable
  deployments: DeploymentsTable
  deployment_hosts: DeploymentHostsTable
  deployment_approvals: DeploymentApprovalsTable
  current_deployments: CurrentDeploymentsTable
  approvals: ApprovalsTable
  approval_tokens: ApprovalTokensTable
  marks: MarksTable
  audit_events: AuditEventsTable
  audit_log: AuditLogTable
  audit_head: AuditHeadTable
  api_tokens: ApiTokensTable
  hosts: HostsTable
  config_revisions: ConfigRevisionsTable
  config_changes: ConfigChangesTable
  config_change_keys: ConfigChangeKeysTable
  locks: LocksTable
  lock_queue: LockQueueTable
  facts: FactsTable
}

/** A row for each application; a change of an application's records locks its row first. */
export interface ApplicationsTable {
  name: string
  /** The highest x.y.z handed out or recorded; the next version comes after it. */
  last_version: string | null
  created_at: string
}

export type Counter =
  | 'release'
  | 'deployment'
  | 'lock'
  | 'config-change'
  | 'approval'
  | 'mark'
  | 'audit-event'

export interface CountersTable {
  name: Counter
  value: number
}

export interface ReleasesTable {
  app: string
  version: string
  number: number
  digest: string
  base_digest: string | null
  war_md5: string
  war_sha256: string
  war_size: number
  repository: string
  commit_id: string | null
  branch: string | null
  author: string | null
  pipeline_url: string | null
  reason: string | null
  baked_by: string
  baked_at: string
  recorded_at: string
  job_url: string | null
  /** When the commit was made. */
  committed_at: string | null
  /** How it is known who baked it; see Approval. */
  baked_identity: string | null
  baked_by_id: string | null
  baked_by_mail: string | null
}

export interface DeploymentsTable {
  id: string
  number: number
  app: string
  environment: string
  version: string
  digest: string
  config_revision: string
  started_by: string
  reason: string | null
  state: DeploymentState
  started_at: string
  finished_at: string | null
  error: string | null
  verified: number
  kind: DeploymentKind
  /** The lock it was started under. Each lock starts one deployment at the most. */
  lock_token: number | null
  /** The deployment that ran there before: its id. */
  replaced: string | null
  /** How it is known who started it; see Approval. */
  identity: string | null
  job_url: string | null
  /** 1 when a closed gate or a bad release was overruled. */
  forced: number
}

export interface DeploymentHostsTable {
  deployment: string
  position: number
  host: string
  container_id: string | null
  previous_container_id: string | null
  url: string | null
  ok: number
  duration: number
}

export interface DeploymentApprovalsTable {
  deployment: string
  approval: number
}

/** The newest deployment that succeeded, by its number. Derived from `deployments`. */
export interface CurrentDeploymentsTable {
  app: string
  environment: string
  number: number
}

/** Rows are only ever added: a change of mind is another row. */
export interface ApprovalsTable {
  number: number
  app: string
  environment: string
  version: string
  digest: string
  decision: ApprovalDecision
  decided_by: string
  /** JSON: a list of groups. */
  member_of: string
  identity: string
  reason: string | null
  decided_at: string
  decided_by_id: string | null
  decided_by_mail: string | null
  /** The signed token's hash (core/token-hash.ts): each token is used once. */
  token_hash: string | null
  /** The config that was looked at. */
  config_revision: string | null
}

/** The signed token of an approval, and the JSON Web Key it was checked by. */
export interface ApprovalTokensTable {
  approval: number
  token: string
  public_key: string
}

/** Rows are only ever added; the newest for a release and an environment counts. */
export interface MarksTable {
  number: number
  app: string
  environment: string
  version: string
  bad: number
  marked_by: string
  reason: string
  marked_at: string
  /** How it is known who marked it; see Approval. */
  identity: string | null
}

/** Rows are only ever added. The id is `e` and the number. */
export interface AuditEventsTable {
  number: number
  app: string
  environment: string
  action: AuditAction
  subject: string | null
  done_by: string
  done_by_id: string | null
  identity: string
  reason: string | null
  job_url: string | null
  done_at: string
}

/** Every host that was ever deployed to, under every address it had. */
export interface HostsTable {
  app: string
  environment: string
  name: string
  address: string
  first_deployment: string
}

export interface ConfigRevisionsTable {
  revision: string
  content: string
  recorded_at: string
}

/** Rows here and in `config_change_keys` are only ever added. The id is `c` and the number. */
export interface ConfigChangesTable {
  number: number
  app: string
  environment: string
  changed_by: string
  reason: string | null
  changed_at: string
  /** Chosen by the caller: the same again is the same change set. */
  request: string | null
  /** How it is known who changed it; see Approval. */
  identity: string | null
}

/** `json`: the text is kept as a JSON string, because it has characters that SQLite would cut at. */
export type KeptState = KeptValue['state'] | 'json'

/** A key of the change set with this number; the texts are null unless a value was kept. */
export interface ConfigChangeKeysTable {
  number: number
  position: number
  key_name: string
  /** SHA-256 of the key in hex: keys are too long for MySQL's indexes, and its collations pad. */
  key_hash: string
  before_state: KeptState
  before_text: string | null
  after_state: KeptState
  after_text: string | null
}

/** A lock that was taken and not released; it may have expired. */
export interface LocksTable {
  app: string
  environment: string
  owner: string
  reason: string
  token: number
  expires_at: string
}

/** Who waits for a lock, in the order of `number`; a place that is not asked for again ends. */
export interface LockQueueTable {
  number: number
  app: string
  environment: string
  owner: string
  reason: string
  expires_at: string
}

/** `id`: the ledger's own, made with it. */
export interface FactsTable {
  name: 'id'
  value: string
}
