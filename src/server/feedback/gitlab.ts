import { isStepError, StepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { openGitlab } from '../../gitlab/client.ts'

export interface GitlabAccess {
  http: HttpClient
  url: string
  token: string
}

/** The names of GitHub, and `running`. */
export type StatusState = 'running' | 'success' | 'failure'

export interface CommitStatus {
  project: string
  commit: string
  /** A status replaces an earlier status of the same name. */
  name: string
  state: StatusState
  text: string
  url: string
}

const gitlabStates = { running: 'running', success: 'success', failure: 'failed' } as const

/** https://docs.gitlab.com/api/commits/#set-commit-pipeline-status */
export async function setGitlabStatus(
  access: GitlabAccess,
  { project, commit, name, state, text, url }: CommitStatus,
  signal: AbortSignal,
): Promise<void> {
  const { api, ask } = await openGitlab({ ...access, signal, attempts: 1, place: 'server' })
  const more = { name, description: text.slice(0, 255), ...(url && { targetUrl: url }) }
  try {
    await ask(`setting the status ${name} of ${commit.slice(0, 8)} in ${project}`, () =>
      api.Commits.editStatus(project, commit, gitlabStates[state], more),
    )
  } catch (error) {
    // GitLab rejects a status that is set already only by this message.
    if (isStepError(error, 'INPUT_INVALID') && /cannot transition status/i.test(error.message))
      return
    throw error
  }
}

const MOST_PAGES = 5

/** Comments on a merge request, once: the hidden marker finds an earlier comment. */
export async function commentOnGitlab(
  access: GitlabAccess,
  to: { project: string; number: number; marker: string; text: string },
  signal: AbortSignal,
): Promise<void> {
  const { api, ask } = await openGitlab({ ...access, signal, attempts: 1, place: 'server' })
  const { project, number, marker, text } = to
  const what = `commenting on !${number} of ${project}`
  const sign = `<!-- crosscloud:${marker} -->`
  const query = { sort: 'desc', orderBy: 'created_at', perPage: 100, maxPages: MOST_PAGES } as const
  const notes = await ask(what, () => api.MergeRequestNotes.all(project, number, query as never))
  const known = (notes as unknown as { body?: string }[]).some(({ body }) => body?.includes(sign))
  if (known) return
  const made = await ask(what, () =>
    api.MergeRequestNotes.create(project, number, `${sign}\n${text}`),
  )
  if (!made) throw new StepError('UNAVAILABLE', `${what}: GitLab answers nothing`)
}
