import { callGithub, type GithubAccess, repositoryPath } from '../platforms/github.ts'

export interface GithubStatus {
  project: string
  commit: string
  /** A status replaces an earlier status of the same name. */
  name: string
  state: 'pending' | 'success' | 'failure'
  text: string
  url: string
}

const LONGEST_DESCRIPTION = 140

/** https://docs.github.com/en/rest/commits/statuses#create-a-commit-status */
export async function setGithubStatus(
  access: GithubAccess,
  { project, commit, name, state, text, url }: GithubStatus,
  signal: AbortSignal,
): Promise<void> {
  await callGithub(access, {
    what: `setting the status ${name} of ${commit.slice(0, 8)} in ${project}`,
    path: [...repositoryPath(project), 'statuses', commit],
    method: 'POST',
    json: {
      state,
      context: name,
      description: shorten(text),
      ...(url !== '' && { target_url: url }),
    },
    signal,
  })
}

/** Cuts before half a surrogate pair, which is not valid UTF-8. */
function shorten(text: string): string {
  if (text.length <= LONGEST_DESCRIPTION) return text
  return `${text.slice(0, LONGEST_DESCRIPTION - 1).replace(/[\uD800-\uDBFF]$/, '')}…`
}

interface IssueComment {
  id: number
  body?: string | null
}

const PAGE = 100
const MOST_PAGES = 20

/**
 * Comments on an issue or a pull request. The hidden marker finds the comment of an earlier attempt,
 * which is then updated.
 */
export async function commentOnGithub(
  access: GithubAccess,
  to: { project: string; number: number; marker: string; text: string },
  signal: AbortSignal,
): Promise<void> {
  const { project, number, marker, text } = to
  const what = `commenting on ${project}#${number}`
  const sign = `<!-- crosscloud:${marker} -->`
  const body = `${sign}\n${text}`
  const issues = [...repositoryPath(project), 'issues']
  const path = [...issues, String(number), 'comments']
  const known = await findComment(access, { what, path, signal }, sign)
  if (known?.body === body) return
  const where = known ? [...issues, 'comments', String(known.id)] : path
  await callGithub(access, {
    what,
    path: where,
    signal,
    json: { body },
    method: known ? 'PATCH' : 'POST',
  })
}

/** Only a comment that begins with the marker is ours: other comments may quote it. */
async function findComment(
  access: GithubAccess,
  request: { what: string; path: string[]; signal: AbortSignal },
  sign: string,
): Promise<IssueComment | undefined> {
  let first: number | undefined
  for (let page = 1; page <= MOST_PAGES; page++) {
    const query = { per_page: String(PAGE), page: String(page) }
    const response = (await callGithub(access, { ...request, query })).json()
    const comments = Array.isArray(response) ? (response as IssueComment[]) : []
    const found = comments.find(({ body }) => body?.startsWith(sign))
    // Gitea sends all comments on every page.
    if (found || comments.length === 0 || comments[0]?.id === first) return found
    if (comments.length !== PAGE) return undefined
    first ??= comments[0]?.id
  }
  return undefined
}
