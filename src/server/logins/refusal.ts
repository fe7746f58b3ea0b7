import { StepError } from '../../core/errors.ts'
import type { Subject } from '../../policy/subject.ts'
import type { LoginReason, RefusalDetails } from '../sessions/refusal.ts'

interface Told {
  message: string
  hint: string
}

const AGAIN = 'Log in again.'

/** What whoever is refused may read; the rest is in the log and the audit. */
const told: Partial<Record<LoginReason, Told>> = {
  'login-denied': { message: 'the login was cancelled at the issuer', hint: AGAIN },
  'login-state': {
    message: 'this login was not started in this browser, or is too long ago',
    hint: AGAIN,
  },
  'login-group': {
    message: 'you are in none of the groups that may log in here',
    hint: 'Ask for one of those under logins in crosscloud.server.yml.',
  },
  'login-name': {
    message: 'the issuer gives no login that can be used here',
    hint: 'Set login-claim of the issuer under logins in crosscloud.server.yml.',
  },
  'login-scope': {
    message: 'the issuer does not let this server see your groups',
    hint: 'Grant what it asks for at the login, or check scopes in crosscloud.server.yml.',
  },
  'foreign-origin': {
    message: 'the request comes from another site',
    hint: 'Send it from a page of this server, with its Origin; programs take an API token.',
  },
}
const OTHERWISE: Told = { message: 'the login is not accepted', hint: AGAIN }

/** A login that is none. */
export function refuseLogin(reason: LoginReason): StepError<RefusalDetails> {
  const { message, hint } = told[reason] ?? OTHERWISE
  const code = reason === 'foreign-origin' ? 'FORBIDDEN' : 'UNAUTHORIZED'
  return new StepError(code, message, { hint, details: { reason } })
}

interface SubjectDetails extends RefusalDetails {
  subject?: Pick<Subject, 'name'> | undefined
}

/** The same refusal, of somebody who is known: for the audit. */
export function ofSubject(error: StepError, { name }: Pick<Subject, 'name'>): StepError {
  return error.with({ details: { ...(error.details as SubjectDetails), subject: { name } } })
}

export const refusedSubject = ({ details }: StepError) => (details as SubjectDetails).subject

/** Reasons that prove no attempt to guess: they do not count as failed logins of an address. */
export const honest: readonly LoginReason[] = [
  'login-denied',
  'login-state',
  'login-group',
  'login-name',
  'login-scope',
  'login-over',
  'foreign-origin',
]
