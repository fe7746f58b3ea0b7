import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { formatScope, type Scope } from '../registry/scopes.ts'
import { Refusal } from './refusal.ts'

/** Who may use the embedded registry: one account, by Basic or through its own token service. */
export interface RegistryAuth {
  kind: 'basic' | 'token'
  username: string
  password: string
  /** Life of a token; 300 when absent. */
  tokenSeconds?: number
}

export interface AccessControl {
  /** The challenge to respond 401 with, or undefined when the request may go on. */
  challenge(request: IncomingMessage, needed: readonly Scope[]): string | undefined
  /** The token service's response to a request at /token. */
  issue(request: IncomingMessage, query: URLSearchParams, form: URLSearchParams): object
  expireTokens(): void
}

const SERVICE = 'crosscloud-registry'

/** https://distribution.github.io/distribution/spec/auth/token/, with opaque tokens kept in memory. */
export function createAccessControl(auth: RegistryAuth, realm: () => string): AccessControl {
  const tokens = new Map<string, { scopes: Scope[]; until: number }>()
  const seconds = auth.tokenSeconds ?? 300

  const isUser = (request: IncomingMessage) => {
    const [scheme, value = ''] = (request.headers.authorization ?? '').split(' ')
    if (scheme?.toLowerCase() !== 'basic') return false
    const pair = Buffer.from(value, 'base64').toString()
    return same(pair, `${auth.username}:${auth.password}`)
  }
  const holds = (request: IncomingMessage, needed: readonly Scope[]) => {
    const [scheme, value = ''] = (request.headers.authorization ?? '').split(' ')
    const token = scheme?.toLowerCase() === 'bearer' ? tokens.get(value) : undefined
    if (!token || token.until < Date.now()) return false
    return needed.every(({ repository, actions }) =>
      token.scopes.some(
        (held) =>
          held.repository === repository &&
          actions.split(',').every((action) => held.actions.includes(action)),
      ),
    )
  }

  return {
    challenge(request, needed) {
      if (auth.kind === 'basic') {
        return isUser(request) ? undefined : 'Basic realm="crosscloud registry"'
      }
      if (holds(request, needed)) return undefined
      const scope = needed.map(formatScope).join(' ')
      return `Bearer realm="${realm()}",service="${SERVICE}"${scope ? `,scope="${scope}"` : ''}`
    },
    issue(request, query, form) {
      const refresh = form.get('refresh_token') ?? form.get('password') ?? ''
      if (!isUser(request) && !same(refresh, auth.password)) {
        throw new Refusal(401, 'UNAUTHORIZED', 'wrong user or password')
      }
      for (const [token, { until }] of tokens) if (until < Date.now()) tokens.delete(token)
      const requested = [...query.getAll('scope'), ...form.getAll('scope')].join(' ')
      const token = randomBytes(24).toString('base64url')
      tokens.set(token, { scopes: readScopes(requested), until: Date.now() + seconds * 1000 })
      return {
        token,
        access_token: token,
        expires_in: seconds,
        issued_at: new Date().toISOString(),
      }
    },
    expireTokens() {
      tokens.clear()
    },
  }
}

function readScopes(text: string): Scope[] {
  return text.split(' ').flatMap((scope) => {
    const [, repository, actions = ''] = /^repository:(.+):([a-z,*]+)$/.exec(scope) ?? []
    if (repository === undefined) return []
    return [{ repository, actions: /push|\*/.test(actions) ? 'pull,push' : 'pull' } as const]
  })
}

function same(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}
