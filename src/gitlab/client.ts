import type { Gitlab } from '@gitbeaker/rest'
import { describeCause, StepError } from '../core/errors.ts'
import { retry } from '../core/retry.ts'

export interface GitlabAccess {
  url: string
  token: string
  signal: AbortSignal
  /** Pauses between tries, in milliseconds. */
  firstPause?: number
  /** Tries in all; default 5. */
  attempts?: number
  /** Whose settings name it; default crosscloud.yml. */
  place?: keyof typeof places
}

export type Api = InstanceType<typeof Gitlab>

export interface GitlabClient {
  api: Api
  /** One request: tried again while the server is away, and its faults told with `what`. */
  ask<T>(what: string, request: () => Promise<T>): Promise<T>
}

/** Opens nothing yet; the library is loaded only now. */
export async function openGitlab(access: GitlabAccess): Promise<GitlabClient> {
  const { Gitlab } = await import('@gitbeaker/rest')
  const { createRequesterFn } = await import('@gitbeaker/requester-utils')
  const { sendOnce } = await import('./request.ts')
  const requesterFn = createRequesterFn(async (_service, options) => options, sendOnce)
  const { url: host, token } = access
  const api = new Gitlab({ host, token, queryTimeout: 30_000, requesterFn })
  return {
    api,
    ask: (what, request) =>
      retry(
        async () => {
          try {
            return await request()
          } catch (error) {
            throw translate(what, error, access)
          }
        },
        {
          signal: access.signal,
          attempts: access.attempts ?? 5,
          firstPause: access.firstPause ?? 500,
        },
      ),
  }
}

interface GitbeakerError {
  cause?: { response?: { status?: number }; description?: unknown }
}

export function statusOf(error: unknown): number | undefined {
  const { cause } = (error ?? {}) as GitbeakerError
  if (cause instanceof StepError) return statusOf(cause)
  return cause?.response?.status ?? statusOfCause(cause)
}

function statusOfCause(cause: unknown): number | undefined {
  return cause instanceof Error ? statusOf(cause) : undefined
}

/** What to do next depends on where the address, the names and the token are written. */
const places = {
  application: {
    token: 'Give one with scope api, of a maintainer of the project, in GITLAB_TOKEN.',
    names: 'Check the name in crosscloud.yml.',
    change: 'Change it in crosscloud.yml.',
  },
  server: {
    token: 'Renew gitlab.token in crosscloud.server.yml, and start the server again.',
    names: 'Check the names in crosscloud.server.yml, and whether gitlab.token may see them.',
    change: 'Change it in crosscloud.server.yml, start the server again, and retry the event.',
  },
}

function translate(what: string, error: unknown, { url, place = 'application' }: GitlabAccess) {
  const status = statusOf(error)
  const { cause } = (error ?? {}) as GitbeakerError
  const told = typeof cause?.description === 'string' ? cause.description : ''
  const { token, names, change } = places[place]
  const fault = (code: StepError['code'], message: string, hint: string) =>
    new StepError(code, `${what}: ${message}`, { hint, cause: error })
  if (status === undefined) {
    const why = describeCause(error)
    return fault('UNAVAILABLE', `${url} does not answer: ${why}`, 'Check the server.')
  }
  if (status === 429 || status >= 500) {
    return fault('UNAVAILABLE', `GitLab answers ${status}`, 'Run it again in a while.')
  }
  if (status === 401) return fault('UNAUTHORIZED', 'GitLab does not know the token', token)
  if (status === 403) {
    const hint = 'It must have scope api, and be of a maintainer of the project.'
    return fault('UNAUTHORIZED', 'the token may not do that', hint)
  }
  if (status === 404) return fault('NOT_FOUND', 'GitLab has no such resource', names)
  if (status < 400) {
    const hint = 'Write the address that GitLab itself has, with https where it has that.'
    return fault('INPUT_INVALID', `${url} sends elsewhere (${status})`, hint)
  }
  return fault('INPUT_INVALID', `GitLab refuses it (${status}): ${told}`, change)
}
