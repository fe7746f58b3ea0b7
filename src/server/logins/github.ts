import type { Configuration } from 'openid-client'
import { StepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { fetchBy, TIMEOUT } from './fetch.ts'
import { clientAuthentication, isPlain, type Protocol } from './issuer.ts'
import { refuseLogin } from './refusal.ts'
import type { LoginIssuerSettings } from './settings.ts'

/** https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps */
export function githubProtocol(
  settings: LoginIssuerSettings,
  { http, owner, stop }: { http: HttpClient; owner: string; stop: AbortSignal },
): Protocol {
  const server = settings.issuer.replace(/\/+$/, '')
  const api = apiOf(new URL(server))
  const request = fetchBy(http, owner, stop)
  return {
    scopes: ['read:org'],
    hasIdToken: false,
    async configure(client): Promise<Configuration> {
      const secret = settings['client-secret']
      const config = new client.Configuration(
        {
          issuer: server,
          authorization_endpoint: `${server}/login/oauth/authorize`,
          token_endpoint: `${server}/login/oauth/access_token`,
          token_endpoint_auth_methods_supported: ['client_secret_post'],
        },
        settings['client-id'],
        undefined,
        clientAuthentication(client, secret),
      )
      config.timeout = TIMEOUT / 1000
      config[client.customFetch] = request
      if (isPlain(server)) client.allowInsecureRequests(config)
      return config
    },
    async read({ access, id }) {
      const get = (path: string) => getJson(request, `${api}${path}`, access)
      const user = (await get('/user')) as { id?: number; login?: string }
      const { login } = user
      if (typeof login !== 'string' || !Number.isSafeInteger(user.id)) {
        throw refuseLogin('login-name')
      }
      if (id !== undefined && String(user.id) !== id) throw refuseLogin('login-token')
      const groups = await teamsOf(get)
      return { account: { id: String(user.id), login, groups }, hasGroups: true }
    },
  }
}

/** github.com, a tenant of ghe.com, or an Enterprise Server. */
function apiOf({ origin, hostname }: URL): string {
  const isHosted = hostname === 'github.com' || hostname.endsWith('.ghe.com')
  return isHosted ? `https://api.${hostname}` : `${origin}/api/v3`
}

const PAGE = 100
const MOST_PAGES = 20

interface Team {
  slug?: string
  organization?: { login?: string }
}

/** `organization/team` */
async function teamsOf(get: (path: string) => Promise<unknown>): Promise<string[]> {
  const names: string[] = []
  for (let page = 1; page <= MOST_PAGES; page++) {
    const teams = await get(`/user/teams?per_page=${PAGE}&page=${page}`)
    if (!Array.isArray(teams)) break
    for (const { slug, organization } of teams as Team[]) {
      if (typeof slug === 'string' && typeof organization?.login === 'string') {
        names.push(`${organization.login}/${slug}`)
      }
    }
    if (teams.length < PAGE) break
  }
  return names
}

async function getJson(
  request: ReturnType<typeof fetchBy>,
  address: string,
  access: string,
): Promise<unknown> {
  const response = await request(address, {
    method: 'GET',
    headers: {
      accept: 'application/vnd.github+json',
      authorization: `Bearer ${access}`,
      'x-github-api-version': '2022-11-28',
    },
    body: null,
    redirect: 'manual',
  })
  const { status } = response
  if (status === 200) return response.json()
  if (status === 401) throw refuseLogin('login-over')
  // Without read:org GitHub answers 403, and 404 of what a token may not know of.
  const isLimit = response.headers.get('x-ratelimit-remaining') === '0'
  if ((status === 403 && !isLimit) || status === 404) throw refuseLogin('login-scope')
  throw new StepError('UNAVAILABLE', `asking ${address.split('?')[0]}: it answers ${status}`, {
    hint: 'Wait a minute; githubstatus.com says whether GitHub has trouble.',
  })
}
