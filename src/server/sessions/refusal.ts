import { StepError } from '../../core/errors.ts'
import type { TokenReason } from '../../identity/verify.ts'

/** Why somebody is not let in: for the log and the audit. */
export type Reason =
  | TokenReason
  | ProofReason
  | LoginReason
  | 'token-header'
  | 'token-lifetime'
  | 'token-id'
  | 'token-replayed'
  | 'no-credentials'
  | 'credentials'
  | 'duplicate-header'
  | 'session-as-bearer'
  | 'api-token-unknown'
  | 'api-token-expired'
  | 'api-token-revoked'
  | 'api-token-key'
  | 'too-many-failures'
  | 'too-many-sessions'

/** What is wrong with a DPoP proof (RFC 9449, section 4.3). */
export type ProofReason =
  | 'no-proof'
  | 'proof-malformed'
  | 'proof-type'
  | 'proof-algorithm'
  | 'proof-key'
  | 'proof-signature'
  | 'proof-method'
  | 'proof-address'
  | 'proof-time'
  | 'proof-id'
  | 'proof-session'
  | 'proof-of-another-key'
  | 'proof-replayed'

/** Why a person who comes by a browser is not let in. */
export type LoginReason =
  | 'login-state'
  | 'login-denied'
  | 'login-error'
  | 'login-code'
  | 'login-nonce'
  | 'login-issuer'
  | 'login-token'
  | 'login-group'
  | 'login-name'
  | 'login-scope'
  | 'login-over'
  | 'foreign-origin'
  | 'session-unknown'

export interface RefusalDetails {
  reason: Reason
}

/**
 * What is told to everybody. More would tell an attacker how far a forged or stolen credential came;
 * the log has the reason.
 */
const UNIFORM = {
  login: 'the ID token is not accepted',
  session: 'the credentials are not accepted',
}
const HINTS = {
  login: "Ask for the server's log: it has the reason, with the address of this machine.",
  session: 'Start a session, or check the API token and whether it has expired.',
}

/** A refusal whose reason is for the log alone. */
export function refuse(kind: keyof typeof UNIFORM, reason: Reason): StepError<RefusalDetails> {
  return new StepError('UNAUTHORIZED', UNIFORM[kind], { hint: HINTS[kind], details: { reason } })
}

/** A refusal that tells its reason: only for what the bearer of a genuine token may know. */
export function refuseOpenly(
  reason: Reason,
  message: string,
  hint: string,
): StepError<RefusalDetails> {
  return new StepError('UNAUTHORIZED', message, { hint, details: { reason } })
}

const tooMany = (reason: Reason, message: string, hint: string) =>
  new StepError<RefusalDetails & { status: number }>('UNAVAILABLE', message, {
    hint,
    retryAfter: 60_000,
    details: { status: 429, reason },
  })

export const tooManyFailures = () =>
  tooMany(
    'too-many-failures',
    'too many failed logins from this address',
    'Wait a minute. The log of the server has the reasons of the failures.',
  )

export const tooManySessions = (most: number) =>
  tooMany(
    'too-many-sessions',
    `this job has ${most} sessions already`,
    'Steps of one job share its session, in the folder of CROSSCLOUD_STATE.',
  )

export const tooManyLogins = (most: number) =>
  tooMany(
    'too-many-sessions',
    `this person is logged in ${most} times already`,
    'Log out where it is not needed any more, or revoke sessions: `crosscloud sessions revoke --server`.',
  )

/** What is wrong with a token whose signature is genuine: its job may be put right by it. */
const OPEN = new Set<Reason>([
  'expired',
  'not-yet-valid',
  'audience',
  'project',
  'ref',
  'token-id',
  'token-lifetime',
  'token-replayed',
])

/** The same error, without what only its log may say. */
export function outside(error: StepError): StepError {
  const reason = reasonOf(error)
  if (reason === undefined || error.code !== 'UNAUTHORIZED' || OPEN.has(reason)) return error
  return error.message === UNIFORM.session ? error : refuse('login', reason)
}

export function reasonOf(error: unknown): Reason | undefined {
  if (!(error instanceof StepError)) return undefined
  return (error.details as Partial<RefusalDetails> | undefined)?.reason
}
