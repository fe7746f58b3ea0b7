import { isStepError, StepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { type Call, type CallResponse, call } from './http.ts'

/** The API of GitHub (`https://api.github.com`) or of Gitea (`https://HOST/api/v1`). */
export interface GithubAccess {
  http: HttpClient
  /** Default GitHub. */
  server?: 'GitHub' | 'Gitea'
  url: string
  token: string
}

/** One request to GitHub; the path's parts are encoded here. Errors as of `call`. */
export async function callGithub(
  access: GithubAccess,
  request: Omit<Call, 'http' | 'server' | 'url' | 'headers'> & {
    path: readonly string[]
    query?: Record<string, string>
  },
): Promise<CallResponse> {
  const { path, query = {}, ...rest } = request
  const { http, server = 'GitHub', url, token } = access
  const target = new URL(`${url.replace(/\/+$/, '')}/${path.map(encodePart).join('/')}`)
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value)
  const headers = {
    authorization: `Bearer ${token}`,
    accept: 'application/vnd.github+json',
    'x-github-api-version': '2022-11-28',
  }
  const response = await call({ ...rest, http, server, url: target, headers }).catch(
    async (error) => {
      if (server === 'Gitea' && isStepError(error, 'NOT_FOUND')) await requireToken(access, request)
      throw error
    },
  )
  if (response.status < 300 || response.status >= 400) return response
  throw new StepError(
    'NOT_FOUND',
    `${request.what}: ${server} answers ${response.status}: it has moved`,
    {
      hint: 'Write the new name of the repository, or the address of the API as it is now.',
    },
  )
}

/** Gitea treats an unknown token as anonymous: to it, private repositories do not exist. */
async function requireToken(
  { http, url, token }: GithubAccess,
  { what, signal }: Pick<Call, 'what' | 'signal'>,
): Promise<void> {
  const headers = { authorization: `Bearer ${token}` }
  const target = `${url.replace(/\/+$/, '')}/user`
  // 403: the token is known and lacks this scope.
  const asked = { http, what, signal, headers, server: 'Gitea', url: target, allow: [401, 403] }
  if ((await call(asked)).status !== 401) return
  throw new StepError('UNAUTHORIZED', `${what}: Gitea does not know the token`, {
    hint: 'Renew gitea.token in crosscloud.server.yml, and start the server again.',
  })
}

/** `.` and `..` change the path even when they are encoded. */
function encodePart(part: string): string {
  if (!/^\.{0,2}$/.test(part)) return encodeURIComponent(part)
  throw new StepError('INPUT_INVALID', `"${part}" is not a name on GitHub`)
}

/** `owner/name` as the beginning of a path; INPUT_INVALID when it is none. */
export function repositoryPath(project: string): string[] {
  const [owner, name, ...more] = project.split('/')
  if (owner && name && more.length === 0) return ['repos', owner, name]
  throw new StepError('INPUT_INVALID', `${project} is not a repository on GitHub`, {
    hint: 'Repositories on GitHub are written owner/name.',
  })
}
