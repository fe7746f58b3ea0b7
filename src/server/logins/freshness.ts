import { setTimeout as wait } from 'node:timers/promises'
import { isStepError, StepError } from '../../core/errors.ts'
import type { SessionStore } from '../sessions/store.ts'
import type { LoginIssuer } from './issuer.ts'
import { mayLogIn, type Naming, subjectOf } from './person.ts'
import { ofSubject, refuseLogin } from './refusal.ts'
import { sealTokens, unsealTokens } from './sealed.ts'
import type { LoginRecord, LoginStore } from './store.ts'

export interface FreshnessOptions {
  /** By the names of logins.issuers. */
  issuers: ReadonlyMap<string, { issuer: LoginIssuer; naming: Naming }>
  sessions: Pick<SessionStore, 'find' | 'replace' | 'remove'>
  store: LoginStore
  /** Milliseconds that groups may be old. */
  age: number
  now?: (() => number) | undefined
}

export type Freshen = (session: string, record: LoginRecord) => Promise<LoginRecord>

const POLL = 100
const MOST_POLLS = 100

/**
 * The same session with the groups that its person has now. The issuer is asked again after half of the
 * age; when it does not answer, what is known counts until the age is over, and then nothing is allowed.
 * UNAUTHORIZED, and the session is over, when the issuer no longer stands for the person.
 */
export function keepFresh(options: FreshnessOptions): Freshen {
  const { age, store, sessions, now = Date.now } = options
  const running = new Map<string, Promise<LoginRecord>>()
  /** By issuer: one that does not answer is let alone for a moment, so that nobody waits for it in vain. */
  const failedAt = new Map<string, number>()
  const isOlder = ({ login }: LoginRecord, time: number) => now() - login.checkedAt >= time

  const check = async (session: string, record: LoginRecord): Promise<LoginRecord> => {
    if (!(await store.claimCheck(session))) return awaitOther(session, record)
    try {
      // Another server may have asked since this was read, and a refresh token counts once.
      const current = (await sessions.find(session)) as LoginRecord | undefined
      if (current === undefined) throw refuseLogin('login-over')
      if (!isOlder(current, age / 2)) return current
      const renewed = await askAgain(session, current, options)
      // Whoever revoked it meanwhile has the last word.
      if (await sessions.replace(session, renewed)) return renewed
      throw refuseLogin('login-over')
    } catch (error) {
      if (isStepError(error, 'UNAUTHORIZED')) {
        await sessions.remove(session)
        throw ofSubject(error, record.subject)
      }
      failedAt.set(record.login.issuer, now())
      if (!isOlder(record, age)) return record
      throw error
    } finally {
      await store.endCheck(session)
    }
  }

  /** Another server asks: its answer is waited for only where this one knows nothing recent. */
  const awaitOther = async (session: string, record: LoginRecord): Promise<LoginRecord> => {
    if (!isOlder(record, age)) return record
    for (let poll = 0; poll < MOST_POLLS; poll++) {
      await wait(POLL)
      const found = (await sessions.find(session)) as LoginRecord | undefined
      if (found === undefined) throw refuseLogin('login-over')
      if (!isOlder(found, age)) return found
    }
    throw new StepError('UNAVAILABLE', 'it is not known which groups you are in now', {
      hint: 'Try again: the issuer may be slow.',
    })
  }

  return async (session, record) => {
    if (!isOlder(record, age / 2)) return record
    const failed = failedAt.get(record.login.issuer) ?? Number.NEGATIVE_INFINITY
    if (now() - failed < age / 8 && !isOlder(record, age)) return record
    const asking = running.get(session) ?? check(session, record)
    running.set(session, asking)
    try {
      return await asking
    } finally {
      running.delete(session)
    }
  }
}

async function askAgain(
  session: string,
  record: LoginRecord,
  { issuers, now = Date.now }: FreshnessOptions,
): Promise<LoginRecord> {
  const { login, subject, project: id } = record
  const known = issuers.get(login.issuer)
  // It was taken out of the settings.
  if (known === undefined) throw refuseLogin('login-over')
  const checkedAt = now()
  const { account, tokens } = await known.issuer.again(readTokens(login.tokens, session), id)
  if (!mayLogIn(account, known.issuer.settings)) throw refuseLogin('login-group')
  const { subject: found, person } = subjectOf(account, known.naming)
  // What ends all sessions of a login must find this one by it.
  if (found.by !== subject.by || found.identity !== subject.identity)
    throw refuseLogin('login-over')
  const sealed = sealTokens(tokens, session)
  return { ...record, subject: found, person, login: { ...login, checkedAt, tokens: sealed } }
}

function readTokens(sealed: string, session: string) {
  try {
    return unsealTokens(sealed, session)
  } catch {
    throw refuseLogin('login-over')
  }
}
