import type { Gitlab } from '@gitbeaker/rest'
import { explain } from '../core/errors.ts'
import { retry } from '../core/retry.ts'
import type { GitlabAccess } from './access.ts'

export type Api = InstanceType<typeof Gitlab>

export interface GitlabClient {
  api: Api
  /** One request: tried again while the server is away; `what` is before the message of an error. */
  ask<T>(what: string, request: () => Promise<T>): Promise<T>
}

/** Opens nothing yet; the library is loaded only now. */
export async function openGitlab(access: GitlabAccess): Promise<GitlabClient> {
  const { Gitlab } = await import('@gitbeaker/rest')
  const { createRequesterFn } = await import('@gitbeaker/requester-utils')
  const { createSender } = await import('./requester.ts')
  const requesterFn = createRequesterFn(async (_service, options) => options, createSender(access))
  const { url: host, token, signal, attempts = 5, firstPause = 500 } = access
  // The time limit is the sender's.
  const api = new Gitlab({ host, token, queryTimeout: 0, requesterFn })
  const named = async <T>(what: string, request: () => Promise<T>) => {
    try {
      return await request()
    } catch (error) {
      throw explain(what, error)
    }
  }
  return {
    api,
    ask: (what, request) => retry(() => named(what, request), { signal, attempts, firstPause }),
  }
}
