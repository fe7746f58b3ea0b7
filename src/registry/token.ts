import { StepError } from '../core/errors.ts'
import type { HttpResponse } from '../core/http/client.ts'
import { isLoopback } from '../core/http/loopback.ts'
import { retry } from '../core/retry.ts'
import type { Secrets } from '../core/secrets.ts'
import type { Challenge } from './challenge.ts'
import type { Credential } from './credentials.ts'
import { failure, readJson } from './response.ts'
import { formatScope, type Scope } from './scopes.ts'

export interface TokenOptions {
  secrets: Secrets
  signal: AbortSignal
  originOf: (registry: string) => URL
  /** One request as it is: no authorization of its own, no redirects. */
  exchange: (what: string, url: URL, request: ExchangeRequest) => Promise<HttpResponse>
}

export interface ExchangeRequest {
  method: 'GET' | 'POST'
  headers: Record<string, string>
  body?: Buffer
}

export interface Token {
  header: string
  scopes: readonly Scope[]
  /** milliseconds since 1970 */
  usableUntil: number
}

/** https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/ */
export async function fetchToken(
  options: TokenOptions,
  registry: string,
  { parameters }: Challenge,
  scopes: readonly Scope[],
  credential: Credential | undefined,
): Promise<Token> {
  const what = `logging in to ${registry}`
  const url = checkRealm(what, options.originOf(registry), parameters.realm ?? '')
  const request = tokenRequest(url, parameters.service, scopes, credential)
  const requestedAt = Date.now()
  const response = await retry(() => options.exchange(what, url, request), {
    signal: options.signal,
  })
  if (response.status !== 200) throw await tokenFailure(what, registry, response, credential)
  const body = await readJson(what, response)
  const { token, access_token, expires_in } = body as Record<string, unknown>
  const value = token || access_token
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new StepError('COMMAND_FAILED', `${what}: ${url.host} gave no token`)
  }
  options.secrets.add(value)
  // 60 s without expires_in (token spec); a tenth is kept back for the way to the registry.
  const seconds = typeof expires_in === 'number' && expires_in > 0 ? expires_in : 60
  return { header: `Bearer ${value}`, scopes, usableUntil: requestedAt + seconds * 900 }
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
  response: HttpResponse,
  credential: Credential | undefined,
): Promise<StepError> {
  const error = await failure(what, response)
  return new StepError('UNAUTHORIZED', `${error.message} (${describeCredential(credential)})`, {
    hint: `Run: docker login ${registry}, or set DOCKER_AUTH_CONFIG.`,
    cause: error,
  })
}

function describeCredential(credential: Credential | undefined): string {
  if (!credential) return 'without a password'
  return 'identityToken' in credential ? 'with the stored token' : `as ${credential.username}`
}

/** The header of a login by name and password; UNAUTHORIZED where only a token is stored. */
export function basicHeader(registry: string, credential: Credential): string {
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
