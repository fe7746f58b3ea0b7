/** Held while an application is changed in an environment. */
export interface Lock {
  app: string
  environment: string
  owner: string
  reason: string
  /** Grows with every lock ever taken; the holder of an older token has lost the lock. */
  token: number
  /** The id of the ledger: tokens of two ledgers cannot be compared. */
  ledger: string
  expiresAt: string
}
