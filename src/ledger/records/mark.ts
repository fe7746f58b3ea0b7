import type { AuditQuery } from './audit-event.ts'

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

export type MarkQuery = Pick<AuditQuery, 'app' | 'environment' | 'since' | 'until' | 'limit'> & {
  version?: string | undefined
}
