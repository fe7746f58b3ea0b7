import type { DeploymentState, KeptValue } from './ledger.ts'

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
  config_revisions: ConfigRevisionsTable
  config_changes: ConfigChangesTable
  config_change_keys: ConfigChangeKeysTable
  locks: LocksTable
}

/** One row an application; whoever changes an application's records holds this row first. */
export interface ApplicationsTable {
  name: string
  /** The highest x.y.z handed out or recorded; the next version comes after it. */
  last_version: string | null
  created_at: string
}

export type Counter = 'release' | 'deployment' | 'lock' | 'config-change'

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
}

/** `json`: the text is kept as a JSON string, because it has characters that SQLite would cut at. */
export type KeptState = KeptValue['state'] | 'json'

/** One key of the change set with this number; the texts are null unless something was kept. */
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

/** A row is a lock somebody took and did not give back; it may have expired. */
export interface LocksTable {
  app: string
  environment: string
  owner: string
  reason: string
  token: number
  expires_at: string
}
