import type { HttpClient } from '../../core/http/client.ts'
import type { ServerSettings } from '../settings/settings.ts'
import type { PushFeed } from './feed.ts'
import { createGithubFeed } from './github.ts'
import { createGitlabFeed } from './gitlab.ts'

/** The feeds of the servers with `catch-up`. */
export function createFeeds(
  { gitlab, github }: Pick<ServerSettings, 'gitlab' | 'github'>,
  http: HttpClient,
): PushFeed[] {
  return [
    ...(gitlab?.['catch-up'] && gitlab.token !== undefined
      ? [createGitlabFeed({ http, url: gitlab.url, token: gitlab.token }, gitlab.projects)]
      : []),
    ...(github?.['catch-up'] && github.token !== undefined
      ? [createGithubFeed({ http, url: github.url, token: github.token }, github.projects)]
      : []),
  ]
}
