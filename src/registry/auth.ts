import { retry } from '../core/retry.ts'
import { type Challenge, chooseChallenge } from './challenge.ts'
import type { Credential, CredentialSource } from './credentials.ts'
import { covers, formatScope, type Scope } from './scopes.ts'
import { basicHeader, fetchToken, type Token, type TokenOptions } from './token.ts'

/** Works out the Authorization header of each request to a registry, and of no other host. */
export interface Authorizer {
  /** What to send now; undefined while the registry asks for nothing. */
  authorization(registry: string, scopes: readonly Scope[]): Promise<string | undefined>
  /** After a 401 from the registry itself: a better header than `refused`, or undefined. */
  renew(
    registry: string,
    scopes: readonly Scope[],
    challenge: string | string[] | undefined,
    refused: string | undefined,
  ): Promise<string | undefined>
}

export interface AuthorizerOptions extends TokenOptions {
  credentials: CredentialSource
}

interface Login {
  credential: Promise<Credential | undefined>
  challenge: Challenge | undefined
  ping: Promise<void> | undefined
  tokens: Token[]
  requests: Map<string, Promise<Token>>
}

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const logins = new Map<string, Login>()

  const loginOf = (registry: string): Login => {
    const known = logins.get(registry)
    if (known) return known
    const credential = options.credentials.find(registry)
    credential.catch(() => logins.delete(registry))
    const login: Login = {
      credential,
      challenge: undefined,
      ping: undefined,
      tokens: [],
      requests: new Map(),
    }
    logins.set(registry, login)
    return login
  }

  /** distribution-spec, "Determining support": /v2/ responds 401 with the registry's challenge. */
  const ping = (registry: string, login: Login): Promise<void> => {
    login.ping ??= (async () => {
      const url = new URL('/v2/', options.originOf(registry))
      const { signal, exchange } = options
      const response = await retry(() => exchange(registry, url, { method: 'GET', headers: {} }), {
        signal,
      })
      await response.discard()
      const { status, headers } = response
      if (status === 401) login.challenge ??= chooseChallenge(headers['www-authenticate'])
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
      // A registry may hide from the anonymous what it shows to this account, so with a password the
      // challenge is asked for first. Without a password the first 401 brings it.
      if (!login.challenge && (await login.credential)) await ping(registry, login)
      return offer(registry, login, scopes)
    },
    async renew(registry, scopes, challenge, refused) {
      const login = loginOf(registry)
      const offered = chooseChallenge(challenge)
      // Harbor responds to a bad token with a Basic challenge; its first, Bearer one still holds.
      if (offered && (!login.challenge || offered.scheme === 'bearer')) login.challenge = offered
      if (!login.challenge) await ping(registry, login)
      login.tokens = login.tokens.filter((token) => token.header !== refused)
      const header = await offer(registry, login, scopes)
      return header === refused ? undefined : header
    },
  }
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
  const running = login.requests.get(key)
  if (running) return running
  const request = fetchToken(options, registry, challenge, scopes, credential)
    .then((token) => {
      login.tokens.push(token)
      return token
    })
    .finally(() => login.requests.delete(key))
  login.requests.set(key, request)
  return request
}
