import { didYouMean } from '../core/settings/suggest.ts'
import type { PolicySettings } from './schema.ts'

/**
 * Names of applications and environments in grants and tests that do not exist: a misspelt name grants
 * nothing, and a test that nobody can something there proves nothing. `applications`: the environments
 * of each.
 */
export function unknownNames(
  { grants, tests }: PolicySettings,
  applications: ReadonlyMap<string, readonly string[]>,
): { path: (string | number)[]; message: string }[] {
  const apps = [...applications.keys()]
  const environments = [...new Set([...applications.values()].flat())]
  const unknown = (
    name: string,
    known: readonly string[],
    path: (string | number)[],
    what: string,
  ) =>
    name === '*' || known.includes(name)
      ? []
      : [{ path, message: `"${name}" is no ${what} here${didYouMean(name, known)}` }]
  return [
    ...grants.flatMap(({ apps: named, envs }, index) => [
      ...named.flatMap((name) => unknown(name, apps, ['grants', index, 'apps'], 'application')),
      ...envs.flatMap((name) =>
        unknown(name, environments, ['grants', index, 'envs'], 'environment'),
      ),
    ]),
    ...tests.flatMap(({ app, env }, index) => [
      ...unknown(app, apps, ['tests', index, 'app'], 'application'),
      ...unknown(env, environments, ['tests', index, 'env'], 'environment'),
    ]),
  ]
}
