export const auditVias = ['session', 'token', 'cli'] as const
/** How somebody came: a session of the server, an API token, or a command with the ledger's own account. */
export type AuditVia = (typeof auditVias)[number]

export const auditDecisions = ['allowed', 'refused'] as const
export type AuditDecision = (typeof auditDecisions)[number]

/** What an act was done to, or would have been. */
export interface AuditObject {
  app?: string | undefined
  environment?: string | undefined
  /** `webapi@1.4.2`, a key of the config, an API token's name. */
  text?: string | undefined
}

/**
 * One act, or one refusal, in the audit log. Each record is chained to the one before it
 * (audit-chain.ts), so none is changed, removed or put in between unseen.
 */
export interface AuditRecord {
  /** Counts up from 1 without a gap. */
  number: number
  /** ISO 8601, UTC. The clock may go backwards; numbers never do. */
  at: string
  /** Whose act it is, as the ledger names people: `zhang`, `token:jenkins`. */
  subject: string
  via: AuditVia
  verb: string
  object: AuditObject
  decision: AuditDecision
  /** What decided: `grants[2]`. */
  rule: string | undefined
  reason: string | undefined
  plan: string | undefined
  run: string | undefined
  request: string | undefined
  /** Where the request came from. */
  address: string | undefined
  /** The hash of the record before it. */
  prev: string
  hash: string
}

type Optional = 'rule' | 'reason' | 'plan' | 'run' | 'request' | 'address'

export type AuditStart = Pick<AuditRecord, 'subject' | 'via' | 'verb' | 'object' | 'decision'> &
  Partial<Pick<AuditRecord, Optional>>

/** Who does what is recorded with its own record in the audit log, as a token's creation. */
export type AuditBy = Pick<AuditStart, 'subject' | 'via' | Optional>

/** The newest record; number 0 before the first. */
export type AuditHead = Pick<AuditRecord, 'number' | 'hash'>

export interface AuditLogQuery {
  app?: string | undefined
  environment?: string | undefined
  by?: string | undefined
  verb?: string | undefined
  decision?: AuditDecision | undefined
  /** ISO 8601, UTC: only what was recorded then or later. */
  since?: string | undefined
  /** The next page: only records before this number. */
  before?: number | undefined
  /** Oldest first, from the record after this number. */
  after?: number | undefined
  limit: number
}

export type AuditProblem = 'changed' | 'removed' | 'inserted' | 'reordered'

/** What a check of the whole chain finds; `number` is the first record that is not as it was written. */
export type AuditVerdict =
  | { intact: true; count: number; head: string }
  | { intact: false; problem: AuditProblem; number: number }
  /** The chain holds, but the given head is not in it: its end was cut off or written anew. */
  | { intact: false; problem: 'head'; number: undefined; count: number; head: string }
