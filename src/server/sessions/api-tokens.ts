import type { Ledger } from '../../ledger/ledger.ts'
import { isVerb } from '../../policy/verbs.ts'
import type { ApiToken } from './sessions.ts'

/** A token of the ledger as it is now; one that is revoked or over is told apart from an unknown one. */
export async function findToken(
  { findToken: find }: Pick<Ledger, 'findToken'>,
  hash: string,
): Promise<(ApiToken & { isLiving: boolean }) | undefined> {
  const found = await find(hash)
  if (found === undefined) return undefined
  const { name, scope, expiresAt, revokedAt, state, key } = found
  // A verb of a later version allows nothing here.
  const known = { ...scope, verbs: scope.verbs.filter(isVerb) }
  return { name, expiresAt, revokedAt, key, scope: known, isLiving: state === 'living' }
}

/** The same where it is used, which the ledger notes. */
export async function useToken(
  ledger: Pick<Ledger, 'findToken' | 'useToken'>,
  hash: string,
): Promise<ApiToken | undefined> {
  const found = await findToken(ledger, hash)
  if (found?.isLiving) await ledger.useToken(hash)
  return found
}
