import { StepError } from '../core/errors.ts'
import { type Resource, type Value, variableName } from './resources.ts'
import { accessLevels, type GitlabSettings } from './settings.ts'

/** An environment of crosscloud.yml. */
export interface EnvironmentFacts {
  name: string
  url: string | undefined
}

/** Ids of the people and groups that the settings name. */
export interface Members {
  user(login: string): number
  group(path: string): number
}

/** Everything the settings ask for; INPUT_INVALID names all that GitLab would refuse. */
export function desiredResources(
  settings: GitlabSettings,
  environments: readonly EnvironmentFacts[],
  members: Members,
): Resource[] {
  const problems = [...unknownEnvironments(settings, environments), ...unmaskable(settings)]
  if (problems.length > 0) throw new StepError('INPUT_INVALID', problems.join('\n'))
  return [
    ...environments.map((environment) => environmentResource(environment, settings)),
    ...environments.flatMap(({ name }) => protectedEnvironment(name, settings, members)),
    ...Object.entries(settings.variables).map(([key, variable]): Resource => {
      const { value, environment, masked } = variable
      const fields = { value, masked, protected: variable.protected, raw: true }
      return { kind: 'variable', name: variableName(key, environment), fields }
    }),
    ...settings.branches.map(({ name, push, merge }): Resource => {
      const fields = { push: accessLevels[push], merge: accessLevels[merge] }
      return { kind: 'protected branch', name, fields }
    }),
    ...settings.tags.map(({ name, create }): Resource => {
      return { kind: 'protected tag', name, fields: { create: accessLevels[create] } }
    }),
    ...webhook(settings),
    ...environments.map(({ name }): Resource => {
      return { kind: 'resource group', name, fields: { mode: settings['resource-groups'] } }
    }),
  ]
}

function unknownEnvironments(
  { environments: more, variables }: GitlabSettings,
  known: readonly EnvironmentFacts[],
): string[] {
  const names = new Set(known.map(({ name }) => name))
  const scopes = Object.values(variables).map(({ environment }) => environment)
  const asked = new Set([...Object.keys(more), ...scopes.filter((scope) => !scope.includes('*'))])
  return [...asked]
    .filter((name) => !names.has(name))
    .map((name) => `gitlab: there is no environment "${name}"; known: ${[...names].join(', ')}`)
}

/** https://docs.gitlab.com/ci/variables/#mask-a-cicd-variable */
function unmaskable({ variables }: GitlabSettings): string[] {
  return Object.entries(variables).flatMap(([key, { value, masked }]) => {
    if (!masked || (value.length >= 8 && !/\s/.test(value))) return []
    return [
      `gitlab.variables.${key}: GitLab masks only values of 8 or more characters without blanks; change it, or write masked: false`,
    ]
  })
}

const tiers: readonly [RegExp, string][] = [
  [/^(prod|live)/, 'production'],
  [/^(stag|pre|uat|model)/, 'staging'],
  [/^(test|qa|check)/, 'testing'],
  [/^(dev|review|trunk)/, 'development'],
]

function environmentResource({ name, url }: EnvironmentFacts, settings: GitlabSettings): Resource {
  const tier =
    settings.environments[name]?.tier ??
    tiers.find(([pattern]) => pattern.test(name))?.[1] ??
    'other'
  // Where none is asked for, the URL that a job reported to GitLab stays.
  return { kind: 'environment', name, fields: { tier, ...(url !== undefined && { url }) } }
}

function protectedEnvironment(
  name: string,
  { environments }: GitlabSettings,
  members: Members,
): Resource[] {
  const { deployers, approvals = [] } = environments[name] ?? {}
  if (deployers === undefined && approvals.length === 0) return []
  const fields = {
    deployers: sorted((deployers ?? ['maintainer']).map((who) => access(who, members))),
    approvals: sorted(approvals.map(({ by, required }) => ({ ...access(by, members), required }))),
  }
  return [{ kind: 'protected environment', name, fields }]
}

/** As GitLab has it: one of three. */
function access(who: string, members: Members): Record<string, Value> {
  const [kind = '', name = ''] = who.split(/:(.*)/)
  if (kind === 'user') return { user: members.user(name) }
  if (kind === 'group') return { group: members.group(name) }
  return { role: accessLevels[kind as keyof typeof accessLevels] }
}

/** In an order of their own: GitLab's has no meaning. */
export function sorted<T>(values: readonly T[]): T[] {
  return values.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
}

function webhook({ webhook: asked }: GitlabSettings): Resource[] {
  if (!asked) return []
  const fields = { events: [...asked.events].sort(), 'ssl verification': true }
  return [{ kind: 'webhook', name: asked.url, fields, hidden: { token: asked.secret } }]
}
