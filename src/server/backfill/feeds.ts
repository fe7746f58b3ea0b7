import type { ServerSettings } from '../settings/settings.ts'
import type { PushFeed } from './feed.ts'
import { createGithubFeed } from './github.ts'
import { createGitlabFeed } from './gitlab.ts'

/** The feeds of the servers with `catch-up`. */
export function createFeeds({
  gitlab,
  github,
}: Pick<ServerSettings, 'gitlab' | 'github'>): PushFeed[] {
  return [
    ...(gitlab?.['catch-up'] && gitlab.token !== undefined
      ? [createGitlabFeed({ url: gitlab.url, token: gitlab.token }, gitlab.projects)]
      : []),
    ...(github?.['catch-up'] && github.token !== undefined
      ? [createGithubFeed({ url: github.url, token: github.token }, github.projects)]
      : []),
  ]
}
