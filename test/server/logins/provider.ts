import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'
import type { Test } from 'tap'

export interface Person {
  preferred_username: string
  groups?: readonly string[]
  groups_direct?: readonly string[]
  [claim: string]: unknown
}

export const CLIENT = { id: 'crosscloud', secret: 'a-client-secret-of-the-test-1' }

export type LoginProvider = Awaited<ReturnType<typeof startProvider>>

interface ProviderOptions {
  /** Beside openid: whose claims. */
  claims?: Readonly<Record<string, readonly string[]>>
  /** GitHub's paths and its API, in place of OpenID Connect. */
  github?: boolean
  /** Seconds. */
  accessLasts?: number
  settings?: object
}

const GITHUB_ROUTES = {
  authorization: '/login/oauth/authorize',
  token: '/login/oauth/access_token',
}

/**
 * A real issuer for people (oidc-provider, certified) on 127.0.0.1. Whoever `at` names is at the
 * browser: the pages that ask for a password and for consent answer themselves.
 */
export async function startProvider(t: Pick<Test, 'teardown'>, options: ProviderOptions = {}) {
  const { github = false, accessLasts = 3600 } = options
  const people = new Map<string, Person>()
  const callbacks: string[] = []
  const state = {
    at: '42',
    deny: false,
    /** Whether it answers at all. */
    isUp: true,
    /** Changes what the token endpoint answers. */
    tamper: undefined as ((body: Record<string, unknown>) => Promise<void> | void) | undefined,
    asked: [] as string[],
  }
  let answer: (request: IncomingMessage, response: ServerResponse) => void = () => {}
  const server = createServer((request, response) => {
    state.asked.push(request.url?.split('?')[0] ?? '')
    if (state.isUp) answer(request, response)
    else response.writeHead(503).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const open = (callback: string) => {
    callbacks.push(callback)
    const provider = new Provider(url, {
      clients: [
        {
          client_id: CLIENT.id,
          client_secret: CLIENT.secret,
          redirect_uris: callbacks,
          post_logout_redirect_uris: [new URL('/', callback).href],
          grant_types: ['authorization_code', 'refresh_token'],
          token_endpoint_auth_method: github ? 'client_secret_post' : 'client_secret_basic',
        },
      ],
      claims: options.claims ?? {
        openid: ['sub', 'groups_direct'],
        profile: ['preferred_username', 'nickname', 'groups'],
        email: ['email'],
      },
      ...(github && { routes: GITHUB_ROUTES, scopes: ['read:org'] }),
      cookies: { keys: ['k'] },
      features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
      findAccount: (_context: unknown, id: string) =>
        people.has(id)
          ? { accountId: id, claims: async () => ({ ...people.get(id), sub: id }) }
          : undefined,
      interactions: { url: (_context: unknown, { uid }: { uid: string }) => `/asks/${uid}` },
      issueRefreshToken: async () => true,
      pkce: { required: () => true },
      ttl: {
        AccessToken: accessLasts,
        IdToken: 3600,
        Grant: 3600,
        Session: 3600,
        RefreshToken: 3600,
      },
      ...options.settings,
    })
    provider.use(async (context, next) => {
      await next()
      if (context.path.endsWith('/token')) {
        await state.tamper?.(context.body as Record<string, unknown>)
      }
    })
    const usual = provider.callback()
    answer = (request, response) => {
      const path = request.url ?? '/'
      if (path.startsWith('/asks/')) void ask(provider, request, response, state)
      else if (path.startsWith('/api/v3/')) void githubApi(provider, people, request, response)
      else usual(request, response)
    }
  }
  return Object.assign(state, { url, people, open })
}

async function ask(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
  { at: accountId, deny }: { at: string; deny: boolean },
): Promise<void> {
  const { prompt, params } = await provider.interactionDetails(request, response)
  const finish = (result: object) =>
    provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true })
  if (deny) return finish({ error: 'access_denied' })
  if (prompt.name === 'login') return finish({ login: { accountId } })
  const grant = new provider.Grant({ accountId, clientId: params.client_id })
  grant.addOIDCScope(params.scope ?? '')
  return finish({ consent: { grantId: await grant.save() } })
}

/** https://docs.github.com/en/rest/users/users and /rest/teams/teams#list-teams-for-the-authenticated-user */
async function githubApi(
  provider: Provider,
  people: ReadonlyMap<string, Person>,
  { headers, url }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { pathname, searchParams } = new URL(url ?? '/', 'http://api')
  const found = await provider.AccessToken.find(
    headers.authorization?.slice('Bearer '.length) ?? '',
  )
  const person = people.get(found?.accountId ?? '')
  response.setHeader('content-type', 'application/json')
  if (!found || !person) return void response.writeHead(401).end('{"message":"Bad credentials"}')
  const size = Number(searchParams.get('per_page') ?? 30)
  const start = (Number(searchParams.get('page') ?? 1) - 1) * size
  const answers: Record<string, unknown> = {
    '/api/v3/user': { id: Number(found.accountId), login: person.preferred_username },
    '/api/v3/user/teams': (person.groups ?? []).slice(start, start + size).map((group) => {
      const [login, slug] = group.split('/')
      return { slug, organization: { login } }
    }),
  }
  const answer = answers[pathname]
  response.writeHead(answer === undefined ? 404 : 200).end(JSON.stringify(answer ?? {}))
}
