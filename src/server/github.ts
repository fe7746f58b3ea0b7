import { StepError } from '../core/errors.ts'
import { type Call, type CallAnswer, call } from './http.ts'

/** The API of GitHub (`https://api.github.com`) or of Gitea (`https://HOST/api/v1`). */
export interface GithubAccess {
  url: string
  token: string
}

/** One request to GitHub; the path's parts are encoded here. Errors as of `call`. */
export async function callGithub(
  { url, token }: GithubAccess,
  request: Omit<Call, 'server' | 'url' | 'headers'> & {
    path: readonly string[]
    query?: Record<string, string>
  },
): Promise<CallAnswer> {
  const { path, query = {}, ...rest } = request
  const target = new URL(`${url.replace(/\/+$/, '')}/${path.map(encodePart).join('/')}`)
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value)
  const answer = await call({
    ...rest,
    ...{ server: 'GitHub', url: target },
    headers: {
      authorization: `Bearer ${token}`,
      accept: 'application/vnd.github+json',
      'x-github-api-version': '2022-11-28',
    },
  })
  if (answer.status < 300 || answer.status >= 400) return answer
  throw new StepError(
    'NOT_FOUND',
    `${request.what}: GitHub answers ${answer.status}: it has moved`,
    {
      hint: 'Write the new name of the repository, or the address of the API as it is now.',
    },
  )
}

/** `.` and `..` would be steps on the way, even when encoded. */
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
