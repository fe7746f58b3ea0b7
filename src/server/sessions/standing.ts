import type { SessionStore } from './store.ts'

/** Whether what somebody came with still holds: for an answer that takes long. */
export type Standing = 'alive' | 'expired' | 'revoked'

/** What somebody came with, by its hash: enough to see whether it holds, and not to use it. */
export interface Credential {
  kind: 'session' | 'token'
  id: string
}

export async function standingOfSession(
  session: string,
  expiresAt: number,
  store: Pick<SessionStore, 'find'>,
): Promise<Standing> {
  const record = await store.find(session)
  if (record !== undefined) return record.end > Date.now() ? 'alive' : 'expired'
  // Other requests may have made it live longer; then this is the milder of two words.
  return expiresAt <= Date.now() ? 'expired' : 'revoked'
}

interface Ends {
  expiresAt?: string | undefined
  revokedAt?: string | undefined
}

export async function standingOfToken(
  hash: string,
  findToken: (hash: string) => Promise<Ends | undefined>,
): Promise<Standing> {
  const found = await findToken(hash)
  if (found === undefined || found.revokedAt !== undefined) return 'revoked'
  const isOver = found.expiresAt !== undefined && !(Date.parse(found.expiresAt) > Date.now())
  return isOver ? 'expired' : 'alive'
}
