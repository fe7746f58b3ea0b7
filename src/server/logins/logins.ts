import { randomBytes } from 'node:crypto'
import { StepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { throttleWarnings } from '../monitoring/throttled-warnings.ts'
import { idOfSession } from '../sessions/keys.ts'
import type { Login } from '../sessions/logins.ts'
import { type LoginReason, reasonOf, tooManyLogins } from '../sessions/refusal.ts'
import { type Authenticated, refuseTooMany, type SessionRequest } from '../sessions/sessions.ts'
import { type Standing, standingOfSession } from '../sessions/standing.ts'
import type { SessionStore } from '../sessions/store.ts'
import { LOGIN_COOKIE, readCookie, SESSION_COOKIE, setCookie } from './cookies.ts'
import { type FreshnessOptions, keepFresh } from './freshness.ts'
import { isFromHere } from './origin.ts'
import { mayLogIn, subjectOf } from './person.ts'
import { honest, refusedSubject, refuseLogin } from './refusal.ts'
import { returnPath } from './return-path.ts'
import { sealTokens, unsealTokens } from './sealed.ts'
import type { LoginSettings } from './settings.ts'
import { hashOf, LOGIN_LASTS, type LoginRecord, type LoginStore } from './store.ts'

export interface LoginsOptions {
  settings: LoginSettings
  /** Of this server, as browsers write it: `https://crosscloud.example.com`. */
  url: string
  failedLogins: number
  issuers: FreshnessOptions['issuers']
  sessions: SessionStore
  store: LoginStore
  /** Told of each login, logout and refusal; a login that it does not take is none. */
  onLogin(login: Login): Promise<void>
  log: Log
}

/** Where the browser goes next, and the cookies that it gets. */
export interface Redirect {
  location: string
  cookies: readonly string[]
}

export interface Logins {
  names: readonly string[]
  begin(request: SessionRequest, to: { issuer: string; path?: unknown }): Promise<Redirect>
  /** The browser is back from the issuer. */
  finish(request: SessionRequest, issuer: string): Promise<Redirect>
  /** Whether a request comes by cookie, and not by a header that no other site can make a browser send. */
  isByCookie(request: Pick<SessionRequest, 'headers'>): boolean
  authenticate(request: SessionRequest): Promise<Authenticated>
  /** By cookie; where the browser should go for a logout at the issuer, too. */
  logout(request: SessionRequest): Promise<string | undefined>
  /** Ends a session. */
  end(session: string): Promise<void>
}

/** Of one person at a time. */
const MOST_SESSIONS = 100
const SESSION = /^ccl_[\w-]{43}$/
const BROWSER = /^[\w-]{43}$/
const random = () => randomBytes(32).toString('base64url')

export const isLoginSession = (session: string) => SESSION.test(session)

export function createLogins(options: LoginsOptions): Logins {
  const { issuers, log, sessions, onLogin } = options
  const warn = throttleWarnings(log)
  const freshen = keepFresh({ ...options, age: options.settings['groups-age'] })
  const guarded = async <T>(request: SessionRequest, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (thrown) {
      const error = toStepError(thrown)
      const reason = reasonOf(error)
      const { ip } = request
      if (reason === undefined || reason === 'too-many-failures') throw error
      warn(`${reason} ${ip}`, `${ip} was not let in: ${reason}`)
      if (reason !== 'session-unknown') {
        if (!honest.includes(reason as LoginReason)) await sessions.addFailure(ip)
        await onLogin({ request, reason, subject: refusedSubject(error) })
      }
      throw error
    }
  }
  const context: Context = { ...options, freshen }
  return {
    names: [...issuers.keys()],
    begin: (request, to) => guarded(request, () => begin(request, to, context)),
    finish: (request, issuer) => guarded(request, () => finish(request, issuer, context)),
    isByCookie: ({ headers }) =>
      headers.authorization === undefined && readCookie(headers, SESSION_COOKIE) !== undefined,
    authenticate: (request) => guarded(request, () => authenticate(request, context)),
    logout: (request) => guarded(request, () => logout(request, context)),
    end: async (session) => void (await end(session, DELETION, context)),
  }
}

interface Context extends LoginsOptions {
  freshen: ReturnType<typeof keepFresh>
}

const originOf = ({ url }: Pick<LoginsOptions, 'url'>) => new URL(url).origin

const callbackOf = (context: Context, issuer: string) =>
  `${originOf(context)}/login/callback/${issuer}`

async function begin(
  { headers, ip }: SessionRequest,
  { issuer: name, path }: { issuer: string; path?: unknown },
  context: Context,
): Promise<Redirect> {
  const { issuers, store, sessions, failedLogins } = context
  await refuseTooMany({ ip }, { store: sessions, most: failedLogins })
  const to = returnPath(path, originOf(context))
  if (to === undefined) {
    throw new StepError('INPUT_INVALID', 'to is no path of this server', {
      hint: 'Write a path such as /runs.',
    })
  }
  const { issuer } = find(name, issuers)
  const known = readCookie(headers, LOGIN_COOKIE) ?? ''
  // Two tabs may log in side by side.
  const browser = BROWSER.test(known) ? known : random()
  const checks = { state: random(), nonce: random(), verifier: random() }
  const location = await issuer.begin(checks, callbackOf(context, name))
  await store.begin({ ...checks, issuer: name, browser: hashOf(browser), to })
  const cookies = [setCookie(LOGIN_COOKIE, browser, LOGIN_LASTS / 1000)]
  return { location: location.href, cookies }
}

async function finish(request: SessionRequest, name: string, context: Context): Promise<Redirect> {
  const { settings, issuers, store, sessions, onLogin, failedLogins } = context
  const { headers, ip, url } = request
  await refuseTooMany({ ip }, { store: sessions, most: failedLogins })
  const { issuer, naming } = find(name, issuers)
  const address = new URL(callbackOf(context, name))
  address.search = url.includes('?') ? url.slice(url.indexOf('?')) : ''
  const states = address.searchParams.getAll('state')
  const pending = states.length === 1 ? await store.take(states[0] ?? '') : undefined
  const browser = readCookie(headers, LOGIN_COOKIE) ?? ''
  // The issuer, too: else a code of one could be brought to another one.
  if (pending?.browser !== hashOf(browser) || pending.issuer !== name) {
    throw refuseLogin('login-state')
  }
  const now = Date.now()
  const { account, tokens } = await issuer.finish(address, pending)
  if (!mayLogIn(account, issuer.settings)) throw refuseLogin('login-group')
  const known = subjectOf(account, naming)
  const session = `ccl_${random()}`
  const record: LoginRecord = {
    ...known,
    thumbprint: '',
    // No ID token starts it once more.
    token: '',
    startedAt: now,
    end: now + settings.lifetime,
    login: { issuer: name, tokens: sealTokens(tokens, session), checkedAt: now },
  }
  const expiresAt = Math.min(now + settings.idle, record.end)
  if (!(await sessions.create(session, record, { expiresAt, most: MOST_SESSIONS }))) {
    throw tooManyLogins(MOST_SESSIONS)
  }
  try {
    await onLogin({ request, subject: known.subject })
  } catch (error) {
    await sessions.remove(session)
    throw error
  }
  // The session that the browser had before is nobody's any more.
  const before = readCookie(headers, SESSION_COOKIE) ?? ''
  if (isLoginSession(before)) await sessions.remove(before)
  const cookies = [setCookie(SESSION_COOKIE, session)]
  return { location: `${originOf(context)}${pending.to}`, cookies }
}

async function authenticate(request: SessionRequest, context: Context): Promise<Authenticated> {
  const { sessions, settings } = context
  if (!isFromHere(request, originOf(context))) throw refuseLogin('foreign-origin')
  const session = readCookie(request.headers, SESSION_COOKIE) ?? ''
  const known = await findRecord(session, context)
  if (known === undefined) throw refuseLogin('session-unknown')
  const record = await context.freshen(session, known)
  const expiresAt = Math.min(Date.now() + settings.idle, record.end)
  await sessions.renew(session, expiresAt)
  const { subject, person } = record
  return {
    subject,
    person,
    session,
    via: 'session',
    credential: { kind: 'session', id: idOfSession(session) },
    expiresAt: new Date(expiresAt).toISOString(),
    standing: () => standingOf(session, { expiresAt, names: subject.names }, context),
  }
}

async function findRecord(
  session: string,
  { sessions }: Pick<Context, 'sessions'>,
): Promise<LoginRecord | undefined> {
  if (!isLoginSession(session)) return undefined
  const record = (await sessions.find(session)) as LoginRecord | undefined
  return record?.login === undefined || record.end <= Date.now() ? undefined : record
}

/** Who lost a group must come again: what was allowed by it may not be any more. */
async function standingOf(
  session: string,
  { expiresAt, names }: { expiresAt: number; names: readonly string[] },
  context: Context,
): Promise<Standing> {
  const known = await findRecord(session, context)
  if (known === undefined) return standingOfSession(session, expiresAt, context.sessions)
  try {
    const { subject } = await context.freshen(session, known)
    return names.every((name) => subject.names.includes(name)) ? 'alive' : 'revoked'
  } catch (error) {
    if (reasonOf(error) !== undefined) return 'revoked'
    throw error
  }
}

async function logout(request: SessionRequest, context: Context): Promise<string | undefined> {
  if (!isFromHere(request, originOf(context))) throw refuseLogin('foreign-origin')
  return end(readCookie(request.headers, SESSION_COOKIE) ?? '', request, context)
}

/** How the API ends sessions; the address of who asked is not known there. */
const DELETION = { method: 'DELETE', url: '/api/v1/session', ip: '' }

async function end(
  session: string,
  request: Login['request'],
  context: Context,
): Promise<string | undefined> {
  const { sessions, issuers, onLogin, log } = context
  const record = await findRecord(session, context)
  if (record === undefined) return undefined
  // A logout that cannot be recorded is one all the same.
  await sessions.remove(session)
  const { subject, login } = record
  await onLogin({ request, subject, verb: 'logout' }).catch((error: unknown) => {
    log.error(`recording a logout of ${subject.by}: ${toStepError(error).message}`)
  })
  try {
    const tokens = unsealTokens(login.tokens, session)
    const page = await issuers.get(login.issuer)?.issuer.end(tokens, `${originOf(context)}/`)
    return page?.href
  } catch (error) {
    log.debug(`the logout at ${login.issuer}: ${toStepError(error).message}`)
    return undefined
  }
}

function find(name: string, issuers: FreshnessOptions['issuers']) {
  const found = issuers.get(name)
  if (found) return found
  throw new StepError('NOT_FOUND', 'there is no such login', {
    hint: `There are: ${[...issuers.keys()].join(', ')}.`,
  })
}
