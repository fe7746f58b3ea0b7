/** Occasions for a notification. */
export const noticeKinds = ['started', 'succeeded', 'failed', 'drift'] as const
export type NoticeKind = (typeof noticeKinds)[number]

/** The newest record of a ledger's audit log. */
export interface AuditHeadOf {
  ledger: string
  number: number
  hash: string
}

/** What goes with every notification, whatever it is about. */
export interface LedgerFacts {
  /** Deployments past a gate, one line each, until they are signed off. */
  unsigned: readonly string[]
  /** Of each ledger: who gets it can tell later whether the audit log was written anew. */
  auditHeads: readonly AuditHeadOf[]
}

/** What a receiver gets. It is stored in Redis, and is the body of a webhook: names stay. */
export interface Notice {
  /** The same for each attempt. */
  id: string
  what: NoticeKind
  route: string
  /** What happened, or went wrong. */
  text: string
  url?: string | undefined
  facts: Readonly<Record<string, string>>
}
