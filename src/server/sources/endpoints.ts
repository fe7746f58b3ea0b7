import type { HttpClient } from '../../core/http/client.ts'
import type { Log } from '../../core/log.ts'
import { createFollows, giteaAccess } from '../platforms/gitea.ts'
import { compilePatterns } from '../settings/patterns.ts'
import type { ServerSettings } from '../settings/settings.ts'
import { createGenericSource } from './generic.ts'
import { createGiteaSource, type Follows } from './gitea.ts'
import { createGithubSource } from './github.ts'
import { createGitlabSource } from './gitlab.ts'
import { createHarborSource } from './harbor.ts'
import type { Source } from './source.ts'

/** The webhook address of a source, and the projects it may report about. */
export interface Endpoint {
  name: string
  /** `/webhooks/gitlab` */
  path: string
  source: Source
  allows(project: string): boolean
}

const fixed = new Set(['gitlab', 'github', 'gitea', 'harbor'])
const pathOf = (name: string) => `/webhooks/${fixed.has(name) ? name : `generic/${name}`}`

/** The paths of all sources in the settings. */
export function endpointPaths(settings: ServerSettings): string[] {
  const named = [...fixed].filter((name) => settings[name as 'gitlab'] !== undefined)
  return [...named, ...Object.keys(settings.generic)].map(pathOf)
}

/** The endpoints of all sources in the settings; each has a secret. */
export function createEndpoints(settings: ServerSettings, http: HttpClient, log: Log): Endpoint[] {
  const { gitlab, github, gitea, harbor, generic } = settings
  const endpoint = (name: string, source: Source, projects: readonly string[]): Endpoint => {
    const allows = compilePatterns(projects) ?? (() => false)
    return { name, path: pathOf(name), source, allows }
  }
  const follows = followsOf(settings, http, log)
  return [
    ...(gitlab ? [endpoint('gitlab', createGitlabSource(gitlab), gitlab.projects)] : []),
    ...(github ? [endpoint('github', createGithubSource(github), github.projects)] : []),
    ...(gitea ? [endpoint('gitea', createGiteaSource({ ...gitea, follows }), gitea.projects)] : []),
    ...(harbor ? [endpoint('harbor', createHarborSource(harbor), harbor.projects)] : []),
    ...Object.entries(generic).map(([via, { secrets, projects, ...how }]) =>
      endpoint(via, createGenericSource({ via, secrets, how }), projects),
    ),
  ]
}

/** Gitea is only asked when a route has paths. */
function followsOf(
  { gitea, routes }: ServerSettings,
  http: HttpClient,
  log: Log,
): Follows | undefined {
  const asked = routes.some(({ source, paths }) => source === 'gitea' && paths !== undefined)
  if (gitea?.token === undefined || !asked) return undefined
  return createFollows(giteaAccess(gitea, http), log)
}
