import { StepError } from '../../core/errors.ts'
import type { ServerSettings } from '../settings.ts'
import type { PostmanOptions } from './feedback.ts'
import { setGithubStatus } from './github.ts'
import { setGitlabStatus } from './gitlab.ts'

/** Commit statuses, set where the commit is. */
export function createStatusSetter({
  gitlab,
  github,
}: Pick<ServerSettings, 'gitlab' | 'github'>): PostmanOptions['setStatus'] {
  return async (source, status, signal) => {
    const server = source === 'gitlab' ? gitlab : github
    if (server?.token === undefined) {
      throw new StepError('INPUT_INVALID', `${source}.token is not set: there is no status`)
    }
    const access = { url: server.url, token: server.token }
    if (source === 'gitlab') return setGitlabStatus(access, status, signal)
    // GitHub knows no state for what runs.
    const state = status.state === 'running' ? 'pending' : status.state
    return setGithubStatus(access, { ...status, state }, signal)
  }
}
