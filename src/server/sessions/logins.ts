import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { AuditStart } from '../../ledger/ledger.ts'
import type { Subject } from '../../policy/subject.ts'
import type { Reason } from './refusal.ts'

/** Somebody who came in, was not let in, or went. */
export interface Login {
  request: { method: string; url: string; ip: string }
  subject?: Pick<Subject, 'name'> | undefined
  /** Default: login. */
  verb?: 'login' | 'logout' | undefined
  /** Why not. */
  reason?: Reason | undefined
}

const MINUTE = 60_000
const LONGEST_NAME = 255

/** Refusals that are recorded in a minute: they cost whoever asks nothing, and the ledger a row each. */
const MOST_REFUSED = 60

/** Logins in the audit log. One that cannot be recorded is none; a refusal stays one. */
export function auditLogins(
  record: (entry: AuditStart) => Promise<unknown>,
  log: Pick<Log, 'error'>,
  now = Date.now,
): (login: Login) => Promise<void> {
  let since = 0
  let count = 0
  let left = 0
  return async ({ request: { method, url, ip }, subject, reason, verb = 'login' }) => {
    const entry = {
      subject: subject?.name.slice(0, LONGEST_NAME) ?? 'unknown',
      ...({ via: 'session', verb, object: {} } as const),
      request: `${method} ${url.split('?')[0]?.slice(0, 200)}`,
      address: ip,
    }
    if (reason === undefined) {
      await record({ ...entry, decision: 'allowed' })
      return
    }
    if (now() - since >= MINUTE) {
      since = now()
      count = 0
    }
    if (++count > MOST_REFUSED) {
      left++
      return
    }
    const more = left > 0 ? `; ${left} refused logins before it are in no record` : ''
    left = 0
    try {
      await record({ ...entry, decision: 'refused', reason: `${reason}${more}` })
    } catch (error) {
      log.error(`recording a refused login: ${toStepError(error).message}`)
    }
  }
}
