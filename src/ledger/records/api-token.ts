import type { AuditBy } from './audit-record.ts'

/** What a token allows at most; the policy's grants are asked as well. Names are written out, or it is `*` alone. */
export interface TokenScope {
  verbs: readonly string[]
  apps: readonly string[]
  envs: readonly string[]
}

export type TokenState = 'living' | 'expired' | 'revoked'

/** A token for machines. Its secret is nowhere but with its holder: the ledger has a hash. */
export interface ApiToken {
  /** That of its creation in the audit log. */
  number: number
  /** Of the living tokens none has the same. */
  name: string
  scope: TokenScope
  /** Of the key that every use of it is proven with (RFC 7638); undefined: whoever has it may use it. */
  key: string | undefined
  createdBy: string
  /** ISO 8601, UTC, as all times. */
  createdAt: string
  expiresAt: string
  revokedAt: string | undefined
  revokedBy: string | undefined
  /** To the minute. */
  lastUsedAt: string | undefined
  /** By the ledger's clock. */
  state: TokenState
}

export interface ApiTokenStart {
  name: string
  /** `hashOfApiToken` of the secret. */
  hash: string
  scope: TokenScope
  /** At most a year ahead. */
  expiresAt: string
  /** Thumbprint of a key to bind it to. */
  key?: string | undefined
}

/** API tokens, in the same place as the audit log: each change is recorded there with it, or not made. */
export interface ApiTokens {
  /** CONFLICT when a living token has the name. */
  recordToken(token: ApiTokenStart, by: AuditBy): Promise<ApiToken>
  /** By the hash of its secret, whatever its state. */
  findToken(hash: string): Promise<ApiToken | undefined>
  /** The same of a living token only, whose use is noted at most once a minute. */
  useToken(hash: string): Promise<ApiToken | undefined>
  /** Newest first. */
  tokens(): Promise<ApiToken[]>
  /** The newest of this name; one that is revoked stays as it is. NOT_FOUND for an unknown name. */
  revokeToken(name: string, by: AuditBy): Promise<ApiToken>
}
