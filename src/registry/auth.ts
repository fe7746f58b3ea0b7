import { StepError } from '../core/errors.ts'
import { retry } from '../core/retry.ts'
import type { Secrets } from '../core/secrets.ts'
import { type Answer, failure, readJson } from './answer.ts'
import type { Credential, CredentialSource } from './credentials.ts'
import { isLoopback } from './origin.ts'
import type { Repository } from './reference.ts'

/** The right to pull from, or to pull from and push to, one repository. */
export interface Scope {
  repository: string
  actions: 'pull' | 'pull,push' | 'delete'
}

export function pullScopes({ name }: Repository): Scope[] {
  return [{ repository: name, actions: 'pull' }]
}

export function deleteScopes({ name }: Repository): Scope[] {
  return [{ repository: name, actions: 'delete' }]
}

/** The right to push to `target` and to mount from `sources` in the same registry. */
export function pushScopes(target: Repository, sources: readonly Repository[] = []): Scope[] {
  const others = new Set(
    sources.filter(({ registry }) => registry === target.registry).map(({ name }) => name),
  )
  others.delete(target.name)
  return [
    { repository: target.name, actions: 'pull,push' },
    ...[...others].map((repository) => ({ repository, actions: 'pull' as const })),
  ]
}

export interface Challenge {
  /** lower case */
  scheme: string
  /** Names in lower case. */
  parameters: Record<string, string>
}

/** Works out the Authorization header of each request to a registry, and of no other host. */
export interface Authorizer {
  /** What to send now; undefined while the registry has not asked for anything. */
  authorization(registry: string, scopes: readonly Scope[]): Promise<string | undefined>
  /** After a 401 from the registry itself: a better header than `refused`, or undefined. */
  renew(
    registry: string,
    scopes: readonly Scope[],
    challenge: string | string[] | undefined,
    refused: string | undefined,
  ): Promise<string | undefined>
}

export interface AuthorizerOptions {
  credentials: CredentialSource
  secrets: Secrets
  signal: AbortSignal
  originOf: (registry: string) => URL
  /** One request as it is: no authorization of its own, no redirects. */
  exchange: (what: string, url: URL, request: ExchangeRequest) => Promise<Answer>
}

export interface ExchangeRequest {
  method: 'GET' | 'POST'
  headers: Record<string, string>
  body?: Buffer
}

interface Token {
  header: string
  scopes: readonly Scope[]
  /** milliseconds since 1970 */
  usableUntil: number
}

interface Login {
  credential: Promise<Credential | undefined>
  challenge: Challenge | undefined
  ping: Promise<void> | undefined
  tokens: Token[]
  flights: Map<string, Promise<Token>>
}

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const logins = new Map<string, Login>()

  const loginOf = (registry: string): Login => {
    const known = logins.get(registry)
    if (known) return known
    const credential = options.credentials.find(registry)
    credential.catch(() => logins.delete(registry))
    const login = {
      credential,
      challenge: undefined,
      ping: undefined,
      tokens: [],
      flights: new Map(),
    }
    logins.set(registry, login)
    return login
  }

  /** distribution-spec, "Determining support": /v2/ answers 401 with the registry's challenge. */
  const ping = (registry: string, login: Login): Promise<void> => {
    login.ping ??= (async () => {
      const url = new URL('/v2/', options.originOf(registry))
      const answer = await retry(
        () => options.exchange(registry, url, { method: 'GET', headers: {} }),
        {
          signal: options.signal,
        },
      )
      await answer.discard()
      if (answer.status === 401) login.challenge ??= choose(answer.headers['www-authenticate'])
    })()
    login.ping.catch(() => {
      login.ping = undefined
    })
    return login.ping
  }

  const offer = async (registry: string, login: Login, scopes: readonly Scope[]) => {
    if (!login.challenge) return undefined
    const credential = await login.credential
    if (login.challenge.scheme === 'basic') return credential && basicHeader(registry, credential)
    return (await tokenFor(options, registry, login, login.challenge, scopes, credential)).header
  }

  return {
    async authorization(registry, scopes) {
      const login = loginOf(registry)
      // A registry may hide from the anonymous what it shows to us, so whoever has a password asks
      // first how to use it. Without one, the first 401 tells.
      if (!login.challenge && (await login.credential)) await ping(registry, login)
      return offer(registry, login, scopes)
    },
    async renew(registry, scopes, challenge, refused) {
      const login = loginOf(registry)
      const asked = choose(challenge)
      // Harbor answers a bad token with a Basic challenge; its first, Bearer one still holds.
      if (asked && (!login.challenge || asked.scheme === 'bearer')) login.challenge = asked
      if (!login.challenge) await ping(registry, login)
      login.tokens = login.tokens.filter((token) => token.header !== refused)
      const header = await offer(registry, login, scopes)
      return header === refused ? undefined : header
    },
  }
}

/** The strongest challenge that we can meet. */
function choose(header: string | string[] | undefined): Challenge | undefined {
  const challenges = parseChallenges(header)
  return (
    challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.realm) ??
    challenges.find(({ scheme }) => scheme === 'basic')
  )
}

/** RFC 9110, section 11.6.1: one header may hold several challenges, and so may several headers. */
export function parseChallenges(header: string | string[] | undefined): Challenge[] {
  const text = Array.isArray(header) ? header.join(', ') : (header ?? '')
  const name = /[\s,]*([!#$%&'*+.^_`|~\w-]+)/y
  const value = /\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/y
  const challenges: Challenge[] = []
  for (let found = name.exec(text); found; found = name.exec(text)) {
    value.lastIndex = name.lastIndex
    const given = value.exec(text)
    const word = (found[1] ?? '').toLowerCase()
    const last = challenges.at(-1)
    if (!given) {
      challenges.push({ scheme: word, parameters: {} })
      continue
    }
    name.lastIndex = value.lastIndex
    if (last) last.parameters[word] = given[1]?.replace(/\\(.)/g, '$1') ?? given[2] ?? ''
  }
  return challenges
}

function basicHeader(registry: string, credential: Credential): string {
  if ('identityToken' in credential) {
    throw new StepError(
      'UNAUTHORIZED',
      `${registry} wants a password, and only a token is stored`,
      {
        hint: `Run: docker login ${registry}`,
      },
    )
  }
  const pair = `${credential.username}:${credential.password}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

/** A cached token that covers all scopes, or a new one; one request at a time for the same scopes. */
async function tokenFor(
  options: AuthorizerOptions,
  registry: string,
  login: Login,
  challenge: Challenge,
  scopes: readonly Scope[],
  credential: Credential | undefined,
): Promise<Token> {
  const now = Date.now()
  login.tokens = login.tokens.filter((token) => token.usableUntil > now)
  const cached = login.tokens.find((token) => covers(token.scopes, scopes))
  if (cached) return cached
  const key = scopes.map(formatScope).sort().join(' ')
  const running = login.flights.get(key)
  if (running) return running
  const flight = fetchToken(options, registry, challenge, scopes, credential)
    .then((token) => {
      login.tokens.push(token)
      return token
    })
    .finally(() => login.flights.delete(key))
  login.flights.set(key, flight)
  return flight
}

function covers(held: readonly Scope[], asked: readonly Scope[]): boolean {
  return asked.every((scope) =>
    held.some(
      ({ repository, actions }) =>
        repository === scope.repository &&
        (actions === scope.actions || (actions === 'pull,push' && scope.actions === 'pull')),
    ),
  )
}

function formatScope({ repository, actions }: Scope): string {
  return `repository:${repository}:${actions}`
}

/** https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/ */
async function fetchToken(
  options: AuthorizerOptions,
  registry: string,
  { parameters }: Challenge,
  scopes: readonly Scope[],
  credential: Credential | undefined,
): Promise<Token> {
  const what = `logging in to ${registry}`
  const url = checkRealm(what, options.originOf(registry), parameters.realm ?? '')
  const request = tokenRequest(url, parameters.service, scopes, credential)
  const asked = Date.now()
  const answer = await retry(() => options.exchange(what, url, request), { signal: options.signal })
  if (answer.status !== 200) throw await tokenFailure(what, registry, answer, credential)
  const body = await readJson(what, answer)
  const { token, access_token, expires_in } = body as Record<string, unknown>
  const value = token || access_token
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new StepError('COMMAND_FAILED', `${what}: ${url.host} gave no token`)
  }
  options.secrets.add(value)
  // 60 s when nothing is said (token spec); a tenth is kept back for the way to the registry.
  const seconds = typeof expires_in === 'number' && expires_in > 0 ? expires_in : 60
  return { header: `Bearer ${value}`, scopes, usableUntil: asked + seconds * 900 }
}

/** Adds the query to `url`, or makes the form, that asks for a token. */
function tokenRequest(
  url: URL,
  service: string | undefined,
  scopes: readonly Scope[],
  credential: Credential | undefined,
): ExchangeRequest {
  if (credential && 'identityToken' in credential) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: credential.identityToken,
      client_id: 'crosscloud',
      ...(service === undefined ? {} : { service }),
      ...(scopes.length === 0 ? {} : { scope: scopes.map(formatScope).join(' ') }),
    })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return { method: 'POST', headers, body: Buffer.from(form.toString()) }
  }
  if (service !== undefined) url.searchParams.set('service', service)
  for (const scope of scopes) url.searchParams.append('scope', formatScope(scope))
  if (!credential) return { method: 'GET', headers: {} }
  const authorization = basicHeader(url.host, credential)
  return { method: 'GET', headers: { authorization } }
}

/**
 * A token service may live elsewhere, but what goes there is a password: https only, or the
 * registry's own host, or loopback when the registry is on loopback too.
 */
function checkRealm(what: string, origin: URL, realm: string): URL {
  const refuse = (why: string) =>
    new StepError('UNAUTHORIZED', `${what}: the token service "${realm}" ${why}`, {
      hint: 'No password was sent. Check the address of the registry and its external URL.',
    })
  if (!URL.canParse(realm)) throw refuse('is not a URL')
  const url = new URL(realm)
  if (url.username || url.password) throw refuse('carries a password')
  if (url.protocol === 'https:') return url
  if (url.protocol !== 'http:') throw refuse('is neither https nor http')
  if (url.hostname === origin.hostname) {
    if (origin.protocol === 'https:') url.protocol = 'https:'
    return url
  }
  if (isLoopback(url.hostname) && isLoopback(origin.hostname)) return url
  throw refuse('is on another host and not on https')
}

async function tokenFailure(
  what: string,
  registry: string,
  answer: Answer,
  credential: Credential | undefined,
): Promise<StepError> {
  const told = await failure(what, answer)
  const who = !credential
    ? 'without a password'
    : 'identityToken' in credential
      ? 'with the stored token'
      : `as ${credential.username}`
  return new StepError('UNAUTHORIZED', `${told.message} (${who})`, {
    hint: `Run: docker login ${registry}, or set DOCKER_AUTH_CONFIG.`,
    cause: told,
  })
}
