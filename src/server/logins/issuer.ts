import type { ClientAuth, Configuration } from 'openid-client'
import { isLoopback } from '../../core/http/loopback.ts'
import { isOver, loginError } from './errors.ts'
import type { Account } from './person.ts'
import { refuseLogin } from './refusal.ts'
import type { Tokens } from './sealed.ts'
import type { LoginIssuerSettings } from './settings.ts'

type Client = typeof import('openid-client')

/** What a login is checked against when the browser comes back. */
export interface Checks {
  state: string
  nonce: string
  /** PKCE (RFC 7636). */
  verifier: string
}

export interface Found {
  account: Account
  tokens: Tokens
}

export interface LoginIssuer {
  settings: LoginIssuerSettings
  /** Where the browser is sent to. */
  begin(checks: Checks, callback: string): Promise<URL>
  /** The account behind the code in the address that the browser came back to. */
  finish(address: URL, checks: Checks): Promise<Found>
  /** The account as it is now; UNAUTHORIZED when the issuer no longer stands for it. */
  again(tokens: Tokens, id: string): Promise<Found>
  /** Gives the tokens back; the issuer's own page for logouts, where it has one. */
  end(tokens: Tokens, back: string): Promise<URL | undefined>
}

/** What differs between OpenID Connect and GitHub. */
export interface Protocol {
  scopes: readonly string[]
  hasIdToken: boolean
  configure(client: Client): Promise<Configuration>
  /** `claims`: of an ID token that came just now. Undefined: the groups are in no answer. */
  read(options: {
    client: Client
    config: Configuration
    access: string
    /** Undefined at the login, where the ID token says it. */
    id: string | undefined
    claims: Readonly<Record<string, unknown>> | undefined
  }): Promise<{ account: Account; hasGroups: boolean }>
}

/** An issuer may change its addresses; its keys are looked up by themselves. */
const METADATA_LASTS = 3_600_000
/** Milliseconds before its end that an access token is not used any more. */
const MARGIN = 10_000

export function createLoginIssuer(
  name: string,
  settings: LoginIssuerSettings,
  protocol: Protocol,
): LoginIssuer {
  const { scopes = protocol.scopes } = settings
  const open = cached(async () => {
    const client = await import('openid-client')
    return { client, config: await protocol.configure(client) }
  })
  const guarded = async <T>(work: (opened: Opened) => Promise<T>): Promise<T> => {
    try {
      return await work(await open())
    } catch (error) {
      throw loginError(error, `logins.issuers.${name}`)
    }
  }
  return {
    settings,
    begin: ({ state, nonce, verifier }, callback) =>
      guarded(async ({ client, config }) =>
        client.buildAuthorizationUrl(config, {
          redirect_uri: callback,
          scope: scopes.join(' '),
          state,
          ...(protocol.hasIdToken && { nonce }),
          code_challenge: await client.calculatePKCECodeChallenge(verifier),
          code_challenge_method: 'S256',
        }),
      ),
    finish: (address, { state, nonce, verifier }) =>
      guarded(async ({ client, config }) => {
        const answer = await client.authorizationCodeGrant(config, address, {
          pkceCodeVerifier: verifier,
          expectedState: state,
          ...(protocol.hasIdToken && { expectedNonce: nonce, idTokenExpected: true }),
        })
        const tokens = tokensOf(answer)
        const claims = answer.claims()
        const { access } = tokens
        const read = { client, config, access, claims, id: claims?.sub }
        return { account: (await protocol.read(read)).account, tokens }
      }),
    again: (tokens, id) =>
      guarded(async (opened) => {
        try {
          return await readAgain(opened, tokens, id, protocol)
        } catch (error) {
          throw isOver(error) ? refuseLogin('login-over') : error
        }
      }),
    end: (tokens, back) => guarded((opened) => endAt(opened, tokens, back)),
  }
}

interface Opened {
  client: Client
  config: Configuration
}

async function readAgain(
  { client, config }: Opened,
  tokens: Tokens,
  id: string,
  protocol: Protocol,
): Promise<Found> {
  const read = (access: string, claims?: Record<string, unknown>) =>
    protocol.read({ client, config, access, id, claims })
  const { refresh, accessEnd = Number.POSITIVE_INFINITY } = tokens
  if (accessEnd > Date.now() + MARGIN) {
    try {
      const { account, hasGroups } = await read(tokens.access)
      if (hasGroups || refresh === undefined) return { account, tokens }
    } catch (error) {
      if (!isOver(error) || refresh === undefined) throw error
    }
  }
  if (refresh === undefined) throw refuseLogin('login-over')
  const answer = await client.refreshTokenGrant(config, refresh)
  const claims = answer.claims()
  if (claims !== undefined && claims.sub !== id) throw refuseLogin('login-token')
  const renewed = { ...tokens, ...tokensOf(answer) }
  const { account } = await read(renewed.access, claims && { ...claims })
  return { account, tokens: renewed }
}

async function endAt(
  { client, config }: Opened,
  { access, refresh, id }: Tokens,
  back: string,
): Promise<URL | undefined> {
  const { revocation_endpoint: revocation, end_session_endpoint: page } = config.serverMetadata()
  // Whoever logs out does not wait for it.
  if (revocation !== undefined) client.tokenRevocation(config, refresh ?? access).catch(() => {})
  if (page === undefined) return undefined
  const hint = id === undefined ? {} : { id_token_hint: id }
  return client.buildEndSessionUrl(config, { post_logout_redirect_uri: back, ...hint })
}

function tokensOf(
  answer: Pick<
    Awaited<ReturnType<Client['refreshTokenGrant']>>,
    'access_token' | 'refresh_token' | 'id_token' | 'expiresIn'
  >,
): Tokens & { access: string } {
  const { access_token: access, refresh_token: refresh, id_token: id } = answer
  const seconds = answer.expiresIn()
  return {
    access,
    ...(refresh !== undefined && { refresh }),
    ...(id !== undefined && { id }),
    accessEnd: seconds === undefined ? undefined : Date.now() + seconds * 1000,
  }
}

/** As the issuer says it can; RFC 6749 knows HTTP Basic where it says nothing. */
export function clientAuthentication(client: Client, secret: string): ClientAuth {
  const post = client.ClientSecretPost(secret)
  const basic = client.ClientSecretBasic(secret)
  return (server, ...rest) => {
    const { token_endpoint_auth_methods_supported: methods = ['client_secret_basic'] } = server
    const use = methods.includes('client_secret_basic') ? basic : post
    return use(server, ...rest)
  }
}

export const isPlain = (issuer: string) => {
  const { protocol, hostname } = new URL(issuer)
  return protocol === 'http:' && isLoopback(hostname)
}

function cached<T>(read: () => Promise<T>): () => Promise<T> {
  let known: { value: Promise<T>; at: number } | undefined
  return () => {
    if (known && Date.now() - known.at < METADATA_LASTS) return known.value
    const before = known?.value
    const value = before === undefined ? read() : read().catch(() => before)
    const mine = { value, at: Date.now() }
    known = mine
    value.catch(() => {
      if (known === mine) known = undefined
    })
    return value
  }
}
