import type { AuditDecision, AuditVia } from '../ledger.ts'

/** Rows are only ever added, each chained to the one before it (audit-chain.ts). */
export interface AuditLogTable {
  number: number
  at: string
  subject: string
  via: AuditVia
  verb: string
  app: string | null
  environment: string | null
  /** What else it was done to: a release, a key, a token's name. */
  object: string | null
  decision: AuditDecision
  rule: string | null
  reason: string | null
  plan: string | null
  run: string | null
  request: string | null
  address: string | null
  prev: string
  hash: string
}

/** A single row: the newest of `audit_log`. It is what writers lock, and tells when the end was cut off. */
export interface AuditHeadTable {
  name: 'audit'
  number: number
  hash: string
}

export interface ApiTokensTable {
  /** That of its creation in `audit_log`. */
  number: number
  name: string
  token_hash: string
  /** JSON, as the other two: a list of names. */
  verbs: string
  apps: string
  environments: string
  created_by: string
  created_at: string
  expires_at: string
  revoked_at: string | null
  revoked_by: string | null
  last_used_at: string | null
  /** Of the key that it is bound to (RFC 7638). */
  key_thumbprint: string | null
}
