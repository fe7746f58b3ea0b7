import { z } from 'zod'
import { header } from '../../core/http/body.ts'
import { callGithub, type GithubAccess, repositoryPath } from '../platforms/github.ts'
import {
  commitMessage,
  commitOrNone,
  commitSha,
  pageUrl,
  payloadText,
  refName,
} from '../sources/source.ts'
import { type PushFeed, type PushRecord, projectsOf } from './feed.ts'

/**
 * The activity of a repository: branches, no tags.
 * https://docs.github.com/en/rest/repos/repos#list-repository-activities
 */
export function createGithubFeed(access: GithubAccess, patterns: readonly string[]): PushFeed {
  return {
    source: 'github',
    ...projectsOf(patterns),
    read: (project, signal) => readActivity(access, project, signal),
    async describe(project, sha, signal) {
      const what = `reading commit ${sha} of ${project}`
      const path = [...repositoryPath(project), 'commits', sha]
      const response = await callGithub(access, { what, path, signal })
      const { sha: id, commit, html_url: url } = response.read(commitResponse)
      return { commit: id, ...commit.message, url }
    },
  }
}

const commitResponse = z.object({
  sha: commitSha,
  commit: z.object({ message: commitMessage }),
  html_url: pageUrl,
})

const activity = z.object({
  id: z.int().min(1),
  before: commitSha,
  after: commitSha,
  ref: z.string(),
  timestamp: z.iso.datetime({ offset: true }),
  actor: z.object({ login: payloadText(255) }).nullish(),
})
const MOST_PAGES = 50

async function* readActivity(
  access: GithubAccess,
  project: string,
  signal: AbortSignal,
): AsyncIterable<PushRecord> {
  const what = `reading the pushes of ${project}`
  const path = [...repositoryPath(project), 'activity']
  let next: string | undefined
  for (let page = 1; page <= MOST_PAGES; page++) {
    const query = { time_period: 'week', per_page: '100', ...(next && { after: next }) }
    const response = await callGithub(access, { what, path, query, signal })
    for (const { id, before, after, ref, timestamp, actor } of response.read(z.array(activity))) {
      const branch = refName.safeParse(/^refs\/heads\/(.+)$/s.exec(ref)?.[1])
      if (!branch.success) continue
      yield {
        id,
        at: Date.parse(timestamp),
        kind: 'push',
        ref: branch.data,
        before: commitOrNone(before),
        after: commitOrNone(after),
        by: actor?.login ?? '',
      }
    }
    next = nextPage(header(response.headers, 'link'))
    if (next === undefined) return
  }
}

/** Pages have no numbers: each names the next page in its header Link. */
function nextPage(link: string | undefined): string | undefined {
  const address = /<([^>]+)>;\s*rel="next"/.exec(link ?? '')?.[1]
  return address === undefined
    ? undefined
    : (new URL(address).searchParams.get('after') ?? undefined)
}
