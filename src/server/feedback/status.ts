import { StepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import { giteaAccess } from '../platforms/gitea.ts'
import type { ServerSettings } from '../settings/settings.ts'
import { setGithubStatus } from './github.ts'
import { setGitlabStatus } from './gitlab.ts'
import type { SetStatus } from './notification-worker.ts'

/** Sets commit statuses on the server that has the commit. */
export function createStatusSetter(
  settings: Pick<ServerSettings, 'gitlab' | 'github' | 'gitea'>,
  http: HttpClient,
): SetStatus {
  return async (source, status, signal) => {
    const server = settings[source]
    if (server?.token === undefined) {
      throw new StepError('INPUT_INVALID', `${source}.token is not set: there is no status`)
    }
    const { url, token } = server
    const access = source === 'gitea' ? giteaAccess(server, http) : { http, url, token }
    if (source === 'gitlab') return setGitlabStatus(access, status, signal)
    // GitHub has no state for a running build.
    const state = status.state === 'running' ? 'pending' : status.state
    return setGithubStatus(access, { ...status, state }, signal)
  }
}
