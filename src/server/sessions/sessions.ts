import { randomBytes } from 'node:crypto'
import { type StepError, toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { hashOfApiToken } from '../../ledger/api-token.ts'
import type { Scope, Subject } from '../../policy/subject.ts'
import { throttleWarnings } from '../monitoring/throttled-warnings.ts'
import type { Issuers } from './issuers.ts'
import { openToken, sealToken } from './kept-token.ts'
import { idOfSession } from './keys.ts'
import type { Login } from './logins.ts'
import { checkProof, PROOF_WINDOW, type Proof } from './proof.ts'
import {
  outside,
  type Reason,
  reasonOf,
  refuse,
  refuseOpenly,
  tooManyFailures,
  tooManySessions,
} from './refusal.ts'
import type { SessionSettings } from './settings.ts'
import { type Credential, type Standing, standingOfSession, standingOfToken } from './standing.ts'
import { LONGEST_SESSION, type SessionRecord, type SessionStore, tokenHash } from './store.ts'
import type { Person } from './subject.ts'

/** A request, as far as it says who sent it. */
export interface SessionRequest {
  method: string
  /** Path and query, as the server got them. */
  url: string
  headers: Readonly<Record<string, unknown>>
  /** As Node has them, to see what came twice: it keeps the first Authorization only. */
  rawHeaders?: readonly string[] | undefined
  ip: string
}

export interface Authenticated {
  subject: Subject
  via: 'session' | 'token'
  /** To end it. */
  session?: string | undefined
  /** The ID token that started it, where an agent may have to see it. */
  jobToken?: string | undefined
  /** Whether every use of the API token is proven with its key. */
  bound?: boolean | undefined
  /** ISO 8601; of an API token without an end undefined. */
  expiresAt?: string | undefined
  /** Whom a job's token names; good for acts in a person's own name, never for what a job may. */
  person?: Person | undefined
  /** By which it is found again, for a run that begins later. */
  credential: Credential
  /** Whether it still holds, without a new proof. */
  standing(): Promise<Standing>
}

export interface StartedSession {
  session: string
  expiresAt: string
  subject: Subject
}

/** An API token as the ledger has it, found by its hash. */
export interface ApiToken {
  name: string
  scope: Scope
  /** ISO 8601. */
  expiresAt?: string | undefined
  revokedAt?: string | undefined
  /** Thumbprint of the key that it is bound to. */
  key?: string | undefined
}

export interface Sessions {
  /** The subject of a request by its headers; throws UNAUTHORIZED. */
  authenticate(request: SessionRequest): Promise<Authenticated>
  /** A session for an ID token, bound to the key of the DPoP proof in the headers. */
  start(request: SessionRequest & { token: string }): Promise<StartedSession>
  /** Logout; false when there is no such session. */
  end(session: string): Promise<boolean>
}

export interface SessionsOptions {
  settings: SessionSettings
  issuers: Pick<Issuers, 'verify'>
  store: SessionStore
  /** By SHA-256 in hex; undefined when there is none. */
  findToken(hash: string): Promise<ApiToken | undefined>
  /** Whether there are agents, which check the ID tokens of jobs themselves. */
  keepTokens?: boolean | undefined
  /** Told of each login, before its session is given away, and of each refusal. */
  onLogin?: ((login: Login) => Promise<void>) | undefined
  log: Log
}

const SESSION = /^ccs_[\w-]{43}$/
/** A session or an API token, with its scheme. */
const LONGEST_AUTHORIZATION = 512

export function createSessions(options: SessionsOptions): Sessions {
  const { store, log, onLogin = async () => {} } = options
  const warn = throttleWarnings(log)
  const refused = async (
    thrown: unknown,
    request: SessionRequest,
    isLogin: boolean,
  ): Promise<StepError> => {
    const { ip } = request
    const error = toStepError(thrown)
    const reason = reasonOf(error)
    if (reason === undefined) return error
    warn(`${reason} ${ip}`, `${ip} was not let in: ${reason}`)
    if (isGuess(reason)) await store.addFailure(ip)
    if (isLogin || isGuess(reason)) await onLogin({ request, reason })
    return outside(error)
  }
  const guarded = async <T>(
    request: SessionRequest,
    work: () => Promise<T>,
    isLogin = false,
  ): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw await refused(error, request, isLogin)
    }
  }
  return {
    authenticate: (request) => guarded(request, () => authenticate(request, options)),
    start: (request) => guarded(request, () => login(request, options), true),
    end: (session) => store.remove(session),
  }
}

/** Whose session has ended, whose token is old, or whose clock is wrong, guesses nothing. */
function isGuess(reason: Reason): boolean {
  const honest: readonly Reason[] = [
    ...(['no-credentials', 'session-unknown', 'proof-time', 'expired'] as const),
    ...(['not-yet-valid', 'too-many-failures', 'token-replayed', 'ref'] as const),
    'too-many-sessions',
  ]
  return !honest.includes(reason)
}

/**
 * Only where a secret or a signature could be tried: who has a session goes on, whatever others behind
 * the same address do.
 */
export async function refuseTooMany(
  { ip }: Pick<SessionRequest, 'ip'>,
  { store, most }: { store: Pick<SessionStore, 'failures'>; most: number },
): Promise<void> {
  if ((await store.failures(ip)) < most) return
  throw tooManyFailures()
}

/** A session that nobody recorded is not given away. */
async function login(
  request: SessionRequest & { token: string },
  options: SessionsOptions,
): Promise<StartedSession> {
  const started = await start(request, options)
  try {
    await options.onLogin?.({ request, subject: started.subject })
  } catch (error) {
    await options.store.remove(started.session)
    throw error
  }
  return started
}

async function start(
  request: SessionRequest & { token: string },
  { settings, issuers, store, keepTokens }: SessionsOptions,
): Promise<StartedSession> {
  const { token, headers } = request
  await refuseTooMany(request, { store, most: settings['failed-logins'] })
  refuseDuplicates(request)
  const proof = await checkProof(headers.dpop, provenBy(request, undefined, settings), (reason) =>
    refuse('login', reason),
  )
  const { tokenId, tokenEnd, ...job } = await issuers.verify(token)
  await useProof(proof, store, 'login')
  const { lifetime } = settings
  const now = Date.now()
  const used = tokenHash(job.subject.identity, tokenId)
  const until = tokenEnd + 2 * PROOF_WINDOW * 1000
  if (!(await store.claimToken(used, proof.thumbprint, until))) {
    throw refuseOpenly(
      'token-replayed',
      'the ID token is not accepted: it has started a session before',
      'Steps of one job share its session, in the folder of CROSSCLOUD_STATE; run the job again.',
    )
  }
  const end = Math.min(tokenEnd + lifetime, now + LONGEST_SESSION)
  const session = `ccs_${randomBytes(32).toString('base64url')}`
  const expiresAt = Math.min(now + lifetime, end)
  const { thumbprint } = proof
  const jobToken = keepTokens ? sealToken(token, session) : undefined
  const record = { ...job, thumbprint, startedAt: now, end, token: used, jobToken }
  const most = settings['job-sessions']
  if (!(await store.create(session, record, { expiresAt, most }))) throw tooManySessions(most)
  return { session, expiresAt: new Date(expiresAt).toISOString(), subject: job.subject }
}

async function authenticate(
  request: SessionRequest,
  options: SessionsOptions,
): Promise<Authenticated> {
  refuseDuplicates(request)
  const { authorization } = request.headers
  if (authorization === undefined || authorization === '') {
    throw refuse('session', 'no-credentials')
  }
  if (typeof authorization !== 'string' || authorization.length > LONGEST_AUTHORIZATION) {
    throw refuse('session', 'credentials')
  }
  const [, scheme = '', secret = ''] = /^(DPoP|Bearer) ([\w-]+)$/i.exec(authorization) ?? []
  const isSession = SESSION.test(secret)
  if (scheme.toLowerCase() === 'dpop' && isSession) return bySession(secret, request, options)
  if (isSession) throw refuse('session', 'session-as-bearer')
  const hash = hashOfApiToken(secret)
  if (hash !== undefined) return byToken({ hash, secret, scheme }, request, options)
  throw refuse('session', 'credentials')
}

async function bySession(
  session: string,
  request: SessionRequest,
  { settings, store }: SessionsOptions,
): Promise<Authenticated> {
  const record = await store.find(session)
  const no = (reason: Parameters<typeof refuse>[1]) => refuse('session', reason)
  if (record === undefined || record.end <= Date.now()) throw no('session-unknown')
  const proof = await checkProof(request.headers.dpop, provenBy(request, session, settings), no)
  if (proof.thumbprint !== record.thumbprint) throw no('proof-of-another-key')
  await useProof(proof, store, 'session')
  const expiresAt = Math.min(Date.now() + settings.lifetime, record.end)
  await store.renew(session, expiresAt)
  const standing = () => standingOfSession(session, expiresAt, store)
  const credential = { kind: 'session', id: idOfSession(session) } as const
  return { ...authenticated(record, session, expiresAt), credential, standing }
}

function authenticated(
  { subject, person, jobToken }: SessionRecord,
  session: string,
  expiresAt: number,
): Omit<Authenticated, 'standing' | 'credential'> {
  return {
    subject,
    person,
    session,
    jobToken: jobToken && openToken(jobToken, session),
    via: 'session',
    expiresAt: new Date(expiresAt).toISOString(),
  }
}

interface Presented {
  hash: string
  secret: string
  scheme: string
}

async function byToken(
  { hash, secret, scheme }: Presented,
  request: SessionRequest,
  options: SessionsOptions,
): Promise<Authenticated> {
  const { findToken, store, settings } = options
  await refuseTooMany(request, { store, most: settings['failed-logins'] })
  const found = await findToken(hash)
  if (found === undefined) throw refuse('session', 'api-token-unknown')
  const { name, scope, expiresAt, revokedAt, key } = found
  if (revokedAt !== undefined) throw refuse('session', 'api-token-revoked')
  if (expiresAt !== undefined && !(Date.parse(expiresAt) > Date.now())) {
    throw refuse('session', 'api-token-expired')
  }
  if ((scheme.toLowerCase() === 'dpop') !== (key !== undefined))
    throw refuse('session', 'api-token-key')
  if (key !== undefined) await requireKey(key, secret, request, options)
  const by = `token:${name}`
  const subject: Subject = {
    kind: 'token',
    name: `token ${name}`,
    by,
    identity: 'token',
    names: [by],
    scope,
  }
  const standing = () => standingOfToken(hash, findToken)
  const credential = { kind: 'token', id: hash } as const
  return { subject, via: 'token', bound: key !== undefined, expiresAt, credential, standing }
}

async function requireKey(
  key: string,
  secret: string,
  request: SessionRequest,
  { settings, store }: Pick<SessionsOptions, 'settings' | 'store'>,
): Promise<void> {
  const no = (reason: Parameters<typeof refuse>[1]) => refuse('session', reason)
  const proof = await checkProof(request.headers.dpop, provenBy(request, secret, settings), no)
  if (proof.thumbprint !== key) throw no('proof-of-another-key')
  await useProof(proof, store, 'session')
}

/** A proof counts once for its key, for as long as its time is accepted. */
async function useProof(
  { thumbprint, id }: Proof,
  store: SessionStore,
  kind: 'login' | 'session',
): Promise<void> {
  const until = Date.now() + 2 * PROOF_WINDOW * 1000 + 10_000
  if (!(await store.useProof(thumbprint, id, until))) throw refuse(kind, 'proof-replayed')
}

function provenBy(
  { method, url }: SessionRequest,
  session: string | undefined,
  { url: server }: SessionSettings,
) {
  const [path = '/'] = url.split(/[?#]/, 1)
  return { method, session, address: `${server}${path}` }
}

/** A proxy and this server may each take another one of two. */
function refuseDuplicates({ rawHeaders = [] }: SessionRequest): void {
  const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
  for (const name of ['authorization', 'dpop']) {
    if (names.filter((each) => each === name).length > 1)
      throw refuse('session', 'duplicate-header')
  }
}
