import { createHash, randomUUID } from 'node:crypto'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'

/** A claim that is undefined is not there. */
export type Claims = Record<string, unknown>

export interface TestIssuer {
  /** Its own name. */
  url: string
  keys: JWK[]
  /** In place of what an issuer answers, by path. */
  answers: Map<string, RequestListener>
  /** Paths that were asked for, in order. */
  asked: string[]
  sign(claims: Claims, header?: { alg?: string; kid?: string | undefined }): Promise<string>
  close(): Promise<void>
}

/**
 * A real issuer on 127.0.0.1, with an RS256 and an ES256 key. It keeps no process running, so nobody
 * has to close it.
 */
export async function startIssuer({
  path = '',
  tls,
}: {
  path?: string
  tls?: { key: string; cert: string }
} = {}): Promise<TestIssuer> {
  const pairs = new Map([
    ['RS256', await generateKeyPair('RS256')],
    ['ES256', await generateKeyPair('ES256')],
  ])
  const keys: JWK[] = []
  for (const [alg, { publicKey }] of pairs) {
    keys.push({ ...(await exportJWK(publicKey)), alg, use: 'sig', kid: `key-${alg}` })
  }
  const answers = new Map<string, RequestListener>()
  const asked: string[] = []
  const listener: RequestListener = (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://issuer')
    asked.push(pathname)
    const answer = answers.get(pathname)
    if (answer) return answer(request, response)
    response.setHeader('content-type', 'application/json')
    if (pathname === `${path}/.well-known/openid-configuration`) {
      return response.end(JSON.stringify({ issuer: url, jwks_uri: `${url}/oauth/keys` }))
    }
    if (pathname === `${path}/oauth/keys`) return response.end(JSON.stringify({ keys }))
    response.writeHead(404).end('{}')
  }
  const server: Server = tls ? createSecureServer(tls, listener) : createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  server.on('connection', (socket) => socket.unref())
  const { port } = server.address() as AddressInfo
  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}${path}`
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  return {
    url,
    keys,
    answers,
    asked,
    close,
    async sign(claims, header = {}) {
      const { alg = 'RS256' } = header
      const kid = 'kid' in header ? header.kid : `key-${alg}`
      const key = pairs.get(alg)?.privateKey
      if (!key) throw new Error(`no key for ${alg}`)
      return new SignJWT(claims as JWTPayload)
        .setProtectedHeader({ alg, typ: 'JWT', ...(kid === undefined ? {} : { kid }) })
        .sign(key)
    },
  }
}

const seconds = () => Math.floor(Date.now() / 1000)

/** What tokens of GitLab say of an account; each name has an id and a mail of its own. */
export function accountOf(login: string): Claims {
  return { user_login: login, user_id: `${idOf(login)}`, user_email: `${login}@example.com` }
}

/** The same for GitHub. */
export function actorOf(login: string): Claims {
  return { actor: login, actor_id: `${idOf(login)}` }
}

const idOf = (login: string) => createHash('sha256').update(login).digest().readUInt32BE()

/** The payload of https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload */
export function gitlabClaims(issuer: string, changes: Claims = {}): Claims {
  return {
    namespace_id: '72',
    namespace_path: 'team',
    project_id: '20',
    project_path: 'team/webapi',
    user_id: '1',
    user_login: 'ops-li',
    user_email: 'li@example.com',
    user_access_level: 'developer',
    groups_direct: ['team/ops', 'team'],
    pipeline_id: '574',
    pipeline_source: 'push',
    job_id: '302',
    ref: 'main',
    ref_type: 'branch',
    ref_path: 'refs/heads/main',
    ref_protected: 'true',
    environment: 'production',
    environment_protected: 'true',
    deployment_tier: 'production',
    runner_id: 1,
    runner_environment: 'self-hosted',
    sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
    jti: randomUUID(),
    iss: issuer,
    iat: seconds(),
    nbf: seconds() - 5,
    exp: seconds() + 300,
    sub: 'project_path:team/webapi:ref_type:branch:ref:main',
    aud: 'crosscloud',
    ...changes,
  }
}

/** The payload of https://docs.github.com/en/actions/reference/security/oidc */
export function githubClaims(issuer: string, changes: Claims = {}): Claims {
  return {
    jti: randomUUID(),
    sub: 'repo:octo-org/webapi:environment:production',
    environment: 'production',
    aud: 'crosscloud',
    ref: 'refs/heads/main',
    sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
    repository: 'octo-org/webapi',
    repository_owner: 'octo-org',
    actor_id: '12',
    repository_visibility: 'private',
    repository_id: '74',
    repository_owner_id: '65',
    run_id: '1234',
    run_number: '10',
    run_attempt: '1',
    runner_environment: 'github-hosted',
    actor: 'octocat',
    workflow: 'deploy',
    head_ref: '',
    base_ref: '',
    event_name: 'workflow_dispatch',
    ref_protected: 'true',
    ref_type: 'branch',
    job_workflow_ref: 'octo-org/webapi/.github/workflows/deploy.yml@refs/heads/main',
    iss: issuer,
    nbf: seconds() - 600,
    exp: seconds() + 300,
    iat: seconds(),
    ...changes,
  }
}

/** The token with its signature's last character changed in the bits that say nothing, and padded. */
export function variantsOf(token: string): string[] {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = letters.indexOf(token.slice(-1))
  return [`${token.slice(0, -1)}${letters[last ^ 1]}`, `${token}==`]
}
