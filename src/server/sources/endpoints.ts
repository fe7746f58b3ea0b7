import type { HttpClient } from '../../core/http/client.ts'
import type { Log } from '../../core/log.ts'
import { createFollows, giteaAccess } from '../platforms/gitea.ts'
import type { Entrance } from '../routes/receive.ts'
import { compilePatterns } from '../routes/routes.ts'
import type { ServerSettings } from '../settings/settings.ts'
import { createGenericSource } from './generic.ts'
import { createGiteaSource, type Follows } from './gitea.ts'
import { createGithubSource } from './github.ts'
import { createGitlabSource } from './gitlab.ts'
import { createHarborSource } from './harbor.ts'
import type { Source } from './source.ts'

const fixed = new Set(['gitlab', 'github', 'gitea', 'harbor'])
const pathOf = (name: string) => `/webhooks/${fixed.has(name) ? name : `generic/${name}`}`

/** The addresses of all sources that the settings name. */
export function entrancePaths(settings: ServerSettings): string[] {
  const named = [...fixed].filter((name) => settings[name as 'gitlab'] !== undefined)
  return [...named, ...Object.keys(settings.generic)].map(pathOf)
}

/** Every source that the settings name; none is open that has no secret. */
export function createEntrances(settings: ServerSettings, http: HttpClient, log: Log): Entrance[] {
  const { gitlab, github, gitea, harbor, generic } = settings
  const entrance = (name: string, source: Source, projects: readonly string[]): Entrance => {
    const allows = compilePatterns(projects) ?? (() => false)
    return { name, path: pathOf(name), source, allows }
  }
  const follows = followsOf(settings, http, log)
  return [
    ...(gitlab ? [entrance('gitlab', createGitlabSource(gitlab), gitlab.projects)] : []),
    ...(github ? [entrance('github', createGithubSource(github), github.projects)] : []),
    ...(gitea ? [entrance('gitea', createGiteaSource({ ...gitea, follows }), gitea.projects)] : []),
    ...(harbor ? [entrance('harbor', createHarborSource(harbor), harbor.projects)] : []),
    ...Object.entries(generic).map(([via, { secrets, projects, ...how }]) =>
      entrance(via, createGenericSource({ via, secrets, how }), projects),
    ),
  ]
}

/** Gitea is only asked where a route looks at files. */
function followsOf(
  { gitea, routes }: ServerSettings,
  http: HttpClient,
  log: Log,
): Follows | undefined {
  const asked = routes.some(({ source, paths }) => source === 'gitea' && paths !== undefined)
  if (gitea?.token === undefined || !asked) return undefined
  return createFollows(giteaAccess(gitea, http), log)
}
