export const auditActions = [
  'lock',
  'unlock',
  // The first version's names of `instances …`: its ledgers have them.
  'hosts start',
  'hosts stop',
  'hosts rm',
  'instances start',
  'instances stop',
  'instances restart',
  'instances rm',
  'instances exec',
  'hosts rmi',
  'hosts prune',
  'hosts check',
  'retention',
  'break-glass',
  'sign-off',
  'command',
  'across-migration',
] as const
export type AuditAction = (typeof auditActions)[number]

/**
 * An operation on an environment that is no release, deployment, approval, mark or change of
 * config. It is never edited, and never removed.
 */
export interface AuditEvent {
  id: string
  app: string
  environment: string
  action: AuditAction
  /** What it was done to: a deployment's id, containers, the owner of a lock. */
  subject: string | undefined
  by: string
  /** The person's id on the CI system, as stated in their signed token. */
  byId: string | undefined
  /** How it is known who it was: the issuer of a signed token, or `unverified`. */
  identity: string
  reason: string | undefined
  jobUrl: string | undefined
  /** ISO 8601, UTC. */
  at: string
}

export type AuditEventStart = Pick<
  AuditEvent,
  'app' | 'environment' | 'action' | 'by' | 'identity'
> &
  Partial<Pick<AuditEvent, 'subject' | 'byId' | 'reason' | 'jobUrl'>>

export interface AuditQuery {
  app?: string | undefined
  environment?: string | undefined
  action?: AuditAction | undefined
  /** ISO 8601, UTC: only what was done then or later. */
  since?: string | undefined
  /** Only what was done before. */
  until?: string | undefined
  limit: number
}

/** A second person's confirmation of what was done past a gate. */
export type SignOff = Pick<AuditEvent, 'by' | 'identity' | 'reason' | 'at'>

/** Who went past the gate with a deployment, and why. Times are ISO 8601, UTC. */
export interface BreakGlass {
  by: string
  byId: string | undefined
  /** How it is known who it was: the issuer of a signed token, or `unverified`. */
  identity: string
  reason: string
  at: string
  /** Until when a second person must sign it off. */
  due: string
  signedOff: SignOff | undefined
}

/** A deployment that went past the gate of its environment, and that nobody has signed off. */
export interface Unsigned extends Pick<BreakGlass, 'by' | 'reason' | 'at' | 'due'> {
  app: string
  environment: string
  deployment: string
}
