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
            throw translate(what, error, access.url)
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

function translate(what: string, error: unknown, url: string): StepError {
  const status = statusOf(error)
  const { cause } = (error ?? {}) as GitbeakerError
  const told = typeof cause?.description === 'string' ? cause.description : ''
  const fault = (code: StepError['code'], message: string, hint: string) =>
    new StepError(code, `${what}: ${message}`, { hint, cause: error })
  if (status === undefined) {
    return fault(
      'UNAVAILABLE',
      `${url} does not answer: ${describeCause(error)}`,
      'Check the server.',
    )
  }
  if (status === 429 || status >= 500) {
    return fault('UNAVAILABLE', `GitLab answers ${status}`, 'Run it again in a while.')
  }
  if (status === 401) {
    return fault(
      'UNAUTHORIZED',
      'GitLab does not know the token',
      'Give one with scope api, of a maintainer of the project, in GITLAB_TOKEN.',
    )
  }
  if (status === 403) {
    return fault(
      'UNAUTHORIZED',
      'the token may not do that',
      'It must have scope api, and be of a maintainer of the project.',
    )
  }
  if (status === 404) return fault('NOT_FOUND', 'GitLab has no such thing', 'Check the name.')
  return fault(
    'INPUT_INVALID',
    `GitLab refuses it (${status}): ${told}`,
    'Change it in crosscloud.yml.',
  )
}
