/**
 * A value of the config centre as a record may hold it. `withheld`: a secret in clear, that
 * the ledger must not hold.
 */
export type KeptValue =
  | { state: 'absent' }
  | { state: 'kept'; text: string }
  | { state: 'withheld' }

export interface KeyChange {
  key: string
  before: KeptValue
  after: KeptValue
}

/** Keys that were changed together. It is never edited, and never removed. */
export interface ConfigChangeSet {
  id: string
  /** Counts up in the order of recording, through all applications; times may not. */
  number: number
  app: string
  environment: string
  by: string
  /** How it is known who it was; see Approval. */
  identity: string | undefined
  reason: string | undefined
  /** ISO 8601, UTC. */
  at: string
  /** In the order they were given; each key once. */
  changes: KeyChange[]
}

export type ConfigChangeStart = Pick<
  ConfigChangeSet,
  'app' | 'environment' | 'by' | 'reason' | 'changes'
> & {
  identity?: string | undefined
  /** A name of its own for this change: recorded twice, it is one change set. */
  request?: string | undefined
  /** When it was made; default: now. */
  at?: string | undefined
}

export interface ConfigChangeQuery {
  app?: string | undefined
  environment?: string | undefined
  /** Only change sets that have this key, and of them only its change. */
  key?: string | undefined
  /** The id of a change set: only those recorded after it. */
  after?: string | undefined
  /** The id of a change set: only those recorded before it. */
  before?: string | undefined
  /** ISO 8601, UTC: only what was changed then or later, and before. */
  since?: string | undefined
  until?: string | undefined
  limit: number
}
