import { isStepError, StepError } from '../../core/errors.ts'
import type { LoginReason } from '../sessions/refusal.ts'
import { refuseLogin } from './refusal.ts'

interface Failure {
  name?: string
  code?: string
  /** Of OAuth: access_denied, invalid_grant. */
  error?: string
  status?: number
  message?: string
  cause?: unknown
}

const asFailure = (value: unknown) => (typeof value === 'object' ? (value ?? {}) : {}) as Failure

/** What openid-client throws, as our error: a refusal with its reason, or UNAVAILABLE. */
export function loginError(thrown: unknown, issuer: string): StepError {
  for (let error = thrown; error; error = asFailure(error).cause) {
    if (error instanceof StepError) return error
  }
  const { code = '', message } = asFailure(thrown)
  if (isOfClient(thrown)) {
    const hint = 'Check client-id and client-secret in crosscloud.server.yml.'
    return unavailable(issuer, 'it does not know this server', hint)
  }
  if (code === 'OAUTH_RESPONSE_IS_NOT_CONFORM' || code === 'OAUTH_RESPONSE_IS_NOT_JSON') {
    return unavailable(issuer, message ?? code, 'Is this the issuer? It may be starting.')
  }
  if (/TIMEOUT|METADATA|JSON_ATTRIBUTE/.test(code)) {
    const hint = 'Write the issuer in crosscloud.server.yml exactly as it calls itself.'
    return unavailable(issuer, message ?? code, hint)
  }
  return refuseLogin(reasonFor(asFailure(thrown)))
}

function reasonFor({ name, code, error, message = '', cause }: Failure): LoginReason {
  if (name === 'AuthorizationResponseError') {
    return error === 'access_denied' ? 'login-denied' : 'login-error'
  }
  if (error === 'invalid_grant') return 'login-code'
  if (code === 'OAUTH_JWT_CLAIM_COMPARISON_FAILED') {
    const { claim } = (asFailure(cause).cause ?? {}) as { claim?: string }
    return claim === 'nonce' ? 'login-nonce' : 'login-token'
  }
  const inner = asFailure(cause).message ?? message
  if (code === 'OAUTH_INVALID_RESPONSE' && /"iss"/.test(inner)) return 'login-issuer'
  return error === undefined ? 'login-token' : 'login-error'
}

/** The server itself is refused, and not a person: the token endpoint asks for a password, or says so. */
function isOfClient(thrown: unknown): boolean {
  const { error = '', cause } = asFailure(thrown)
  if (/^(?:invalid|unauthorized)_client$/.test(error)) return true
  const challenges: readonly { scheme?: string }[] = Array.isArray(cause) ? cause : []
  return challenges.some(({ scheme }) => scheme?.toLowerCase() === 'basic')
}

function unavailable(issuer: string, why: string, hint: string): StepError {
  return new StepError('UNAVAILABLE', `${issuer} cannot be asked who somebody is: ${why}`, { hint })
}

/** Whether the issuer, asked again, no longer stands for somebody: blocked, left, or logged out there. */
export function isOver(thrown: unknown): boolean {
  if (isStepError(thrown, 'UNAUTHORIZED')) return true
  if (isOfClient(thrown)) return false
  const { error, status, cause } = asFailure(thrown)
  if (error === 'invalid_grant') return true
  return [status, asFailure(cause).status].some((found) => found === 401 || found === 403)
}
