import type { Entrance } from '../receive.ts'
import { compilePatterns } from '../routes.ts'
import type { ServerSettings } from '../settings.ts'
import { createGenericSource } from './generic.ts'
import { createGithubSource } from './github.ts'
import { createGitlabSource } from './gitlab.ts'
import { createHarborSource } from './harbor.ts'
import type { Source } from './source.ts'

/** Every source that the settings name; none is open that has no secret. */
export function createEntrances(settings: ServerSettings): Entrance[] {
  const { gitlab, github, harbor, generic } = settings
  const entrance = (name: string, source: Source, projects: readonly string[]): Entrance => {
    return { name, source, allows: compilePatterns(projects) ?? (() => false) }
  }
  return [
    ...(gitlab ? [entrance('gitlab', createGitlabSource(gitlab), gitlab.projects)] : []),
    ...(github ? [entrance('github', createGithubSource(github), github.projects)] : []),
    ...(harbor ? [entrance('harbor', createHarborSource(harbor), harbor.projects)] : []),
    ...Object.entries(generic).map(([via, { secrets, projects, ...how }]) =>
      entrance(via, createGenericSource({ via, secrets, how }), projects),
    ),
  ]
}
