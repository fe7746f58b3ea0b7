import { fetchKeys } from '../../src/identity/issuer.ts'
import { checkToken, TOLERANCE } from '../../src/identity/verify.ts'

type Rules = Parameters<typeof checkToken>[1]
type Access = Parameters<typeof fetchKeys>[1] & { now?: Date | undefined }

/** The identity that a token proves, by the keys that the issuer has now. */
export function verifyIdToken(token: string, rules: Rules, access: Access) {
  const keys = () => fetchKeys(rules, access)
  return checkToken(token, rules, { keys, at: access.now ?? new Date(), tolerance: TOLERANCE })
}
