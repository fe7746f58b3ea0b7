import { z } from 'zod'
import { toStepError } from '../../core/errors.ts'
import type { HttpClient } from '../../core/http/client.ts'
import type { Log } from '../../core/log.ts'
import { throttleWarnings } from '../monitoring/throttled-warnings.ts'
import type { Follows } from '../sources/gitea.ts'
import { commitSha } from '../sources/source.ts'
import { callGithub, type GithubAccess, repositoryPath } from './github.ts'

/** Gitea's API is like GitHub's, at its own address. */
export function giteaAccess(
  gitea: { url: string; token?: string | undefined },
  http: HttpClient,
): GithubAccess {
  const { url, token = '' } = gitea
  return { http, server: 'Gitea', url: `${url.replace(/\/+$/, '')}/api/v1`, token }
}

const gitCommit = z.object({ parents: z.array(z.object({ sha: commitSha })).nullish() })
/** The sender of the delivery waits, ten seconds at most. */
const TIMEOUT = 4000

/** Asks Gitea for the parents of the commits; without a response they do not follow. */
export function createFollows(access: GithubAccess, log: Log): Follows {
  const warn = throttleWarnings(log)
  return async (project, commits, before) => {
    const signal = AbortSignal.timeout(TIMEOUT)
    const parentsOf = async (sha: string) => {
      const what = `reading commit ${sha} of ${project}`
      const path = [...repositoryPath(project), 'git', 'commits', sha]
      const response = await callGithub(access, { what, path, signal })
      return response.read(gitCommit).parents ?? []
    }
    try {
      const parents = await Promise.all(commits.map(parentsOf))
      return parents.flat().some(({ sha }) => sha === before)
    } catch (error) {
      const { message } = toStepError(error)
      warn('gitea follows', `gitea: ${message}; every route's paths count as changed`)
      return false
    }
  }
}
