import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { JSONWebKeySet, JWTPayload, ProtectedHeaderParameters } from 'jose'
import { explain, isStepError, StepError } from '../../core/errors.ts'
import { readPemFile } from '../../core/files/tls-files.ts'
import { createHttpClient, type HttpClient } from '../../core/http/client.ts'
import { proxiesOf } from '../../core/http/proxy.ts'
import { fetchKeys, quoted } from '../../identity/issuer.ts'
import { checkSignature, TOLERANCE } from '../../identity/verify.ts'
import { type Reason, reasonOf, refuse, refuseOpenly } from './refusal.ts'
import type { SessionIssuer, SessionSettings } from './settings.ts'
import { jobOf, type KnownSubject } from './subject.ts'

/** A job whose token is genuine and allowed to speak. */
export interface VerifiedJob extends KnownSubject {
  /** Of the token, which counts once. */
  tokenId: string
  /** Milliseconds since 1970. */
  tokenEnd: number
}

export interface IssuersOptions {
  settings: Pick<SessionSettings, 'url' | 'issuers'>
  folder: string
  /** The usual client, with the authority of the whole server. */
  http: HttpClient
  variables: Readonly<Record<string, string | undefined>>
  signal: AbortSignal
}

export interface Issuers {
  verify(token: string): Promise<VerifiedJob>
  close(): void
}

interface OpenIssuer {
  settings: SessionIssuer
  keys: KeyCache
}

export async function openIssuers(options: IssuersOptions): Promise<Issuers> {
  const { settings, folder, variables } = options
  const clients: HttpClient[] = []
  const open = async ([name, issuer]: [string, SessionIssuer]): Promise<OpenIssuer> => {
    const owner = `sessions.issuers.${name}`
    const { ca, 'jwks-file': file } = issuer
    if (file !== undefined) await readKeyFile(file, folder, owner)
    let { http } = options
    if (ca !== undefined) {
      const authority = await readPemFile(ca, { folder, owner })
      http = createHttpClient({ proxies: proxiesOf(variables), ca: () => authority })
      clients.push(http)
    }
    const read = () =>
      file === undefined
        ? fetchKeys(issuer, { http, signal: options.signal })
        : readKeyFile(file, folder, owner)
    return { settings: issuer, keys: cacheKeys(read) }
  }
  const issuers = await Promise.all(Object.entries(settings.issuers).map(open))
  return {
    verify: (token) => verifyToken(token, issuers, settings.url),
    close() {
      for (const client of clients) client.close()
    },
  }
}

/** Headers by which a token brings its own key along, or says where it is: none is ever followed. */
const FOREIGN_KEYS = ['jwk', 'jku', 'x5c', 'x5u'] as const
const SECOND = 1000
/** Seconds: a token for longer proves who somebody was, not who somebody is. */
const LONGEST_TOKEN_LIFE = 31 * 24 * 3600

async function verifyToken(
  token: string,
  issuers: readonly OpenIssuer[],
  audience: string,
): Promise<VerifiedJob> {
  const jose = await import('jose')
  let header: ProtectedHeaderParameters
  let claims: JWTPayload
  try {
    header = jose.decodeProtectedHeader(token)
    claims = jose.decodeJwt(token)
  } catch {
    throw refuse('login', 'malformed')
  }
  if (FOREIGN_KEYS.some((name) => Object.hasOwn(header, name)))
    throw refuse('login', 'token-header')
  const asked = issuers.filter(({ settings }) => settings.issuer === claims.iss)
  let failure: StepError = refuse('login', 'issuer')
  for (const { settings, keys } of asked) {
    try {
      const payload = await checkByKeys(token, { issuer: settings.issuer, audience }, keys)
      return admit(payload, settings)
    } catch (error) {
      if (!isStepError(error, 'UNAUTHORIZED')) throw error
      failure = error
    }
  }
  throw failure
}

/** A key that is not known yet may be a new one of the issuer. */
async function checkByKeys(
  token: string,
  rules: { issuer: string; audience: string },
  keys: KeyCache,
): Promise<JWTPayload> {
  const check = (read: () => Promise<JSONWebKeySet>) =>
    checkSignature(token, rules, { keys: read, at: new Date(), tolerance: TOLERANCE })
  try {
    return (await check(keys.known)).payload
  } catch (error) {
    if (reasonOf(error) !== 'key' || !keys.mayRenew()) throw error
    return (await check(keys.renewed)).payload
  }
}

/** What is asked of a genuine token; only here may its bearer learn what is wrong. */
function admit(payload: JWTPayload, settings: SessionIssuer): VerifiedJob {
  const { jti, exp = 0, iat } = payload
  const open = (reason: Reason, why: string, hint: string) =>
    refuseOpenly(reason, `the ID token is not accepted: ${why}`, hint)
  const now = Date.now() / SECOND
  if (iat !== undefined && iat > now + TOLERANCE) {
    throw open('not-yet-valid', 'it is of the future', 'Check the clocks of issuer and server.')
  }
  if (exp - now > LONGEST_TOKEN_LIFE) {
    throw open('token-lifetime', 'it is valid for longer than a month', 'Ask for a shorter one.')
  }
  if (typeof jti !== 'string' || jti === '') {
    throw open('token-id', 'it has no jti', 'This issuer cannot be used for sessions.')
  }
  const known = jobOf(payload, settings.pipelines)
  requireProject(known, payload, settings, open)
  const { 'ref-protected': isProtected } = known.subject.claims ?? {}
  if (settings['protected-ref'] && isProtected !== true) {
    throw open(
      'ref',
      `${quoted(payload.ref ?? 'its branch')} is not protected in ${quoted(known.project)}`,
      'Run the job on a protected branch or tag, or protect this one.',
    )
  }
  return { ...known, tokenId: jti, tokenEnd: exp * SECOND }
}

function requireProject(
  { project, subject }: KnownSubject,
  { sub = '' }: JWTPayload,
  settings: SessionIssuer,
  open: (reason: Reason, why: string, hint: string) => StepError,
): void {
  const isListed =
    subject.claims?.project === undefined
      ? settings.subject?.includes(sub)
      : settings.project?.includes(project)
  if (isListed) return
  throw open(
    'project',
    `it is of ${quoted(project)}, which is not among those that may speak`,
    'Ask for the project under sessions.issuers in crosscloud.server.yml.',
  )
}

interface KeyCache {
  known(): Promise<JSONWebKeySet>
  renewed(): Promise<JSONWebKeySet>
  /** Strangers may name keys that there are not: they must not make this server ask each time. */
  mayRenew(): boolean
}

const KEYS_LAST = 10 * 60_000
const PAUSE = 30_000

function cacheKeys(read: () => Promise<JSONWebKeySet>): KeyCache {
  let cached: { keys: Promise<JSONWebKeySet>; at: number } | undefined
  const renew = () => {
    const before = cached
    const keys = read()
    cached = { keys, at: Date.now() }
    // An issuer that does not respond for a while has the same keys as before.
    keys.catch(() => {
      cached = before && { keys: before.keys, at: Date.now() - KEYS_LAST + PAUSE }
    })
    return before === undefined ? keys : keys.catch(() => before.keys)
  }
  return {
    known: () => (cached && Date.now() - cached.at < KEYS_LAST ? cached.keys : renew()),
    renewed: renew,
    mayRenew: () => cached === undefined || Date.now() - cached.at >= PAUSE,
  }
}

async function readKeyFile(path: string, folder: string, owner: string): Promise<JSONWebKeySet> {
  const text = await readFile(resolve(folder, path), 'utf8').catch((error: unknown) => {
    throw explain(`reading ${path} of ${owner}`, error)
  })
  try {
    const { keys } = JSON.parse(text) as JSONWebKeySet
    if (Array.isArray(keys)) return { keys: keys.filter(({ kty }) => kty !== 'oct') }
  } catch {
    // reported below
  }
  throw new StepError('INPUT_INVALID', `${path} of ${owner} is not a JSON Web Key Set`, {
    hint: 'Save what is at the jwks_uri of the issuer: {"keys": […]}.',
  })
}
