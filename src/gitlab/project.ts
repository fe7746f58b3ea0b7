import { StepError, toStepError } from '../core/errors.ts'
import type { GitlabClient } from './client.ts'
import type { Members } from './desired.ts'
import { createHandlers, type ResourceHandler } from './handlers.ts'
import type { ActualResource, Kind, Resource, Value } from './resources.ts'

/** Where crosscloud remembers what it made. */
export const OWN_VARIABLE = 'CROSSCLOUD_MANAGED'

export interface Project {
  actual(): Promise<{ resources: ActualResource[]; managed: Set<string>; notices: string[] }>
  create(resource: Resource): Promise<void>
  change(resource: Resource, actual: ActualResource): Promise<void>
  remove(actual: ActualResource): Promise<void>
  remember(managed: ReadonlySet<string>): Promise<void>
  members(logins: readonly string[], groups: readonly string[]): Promise<Members>
}

export function openProject(client: GitlabClient, project: string): Project {
  const { ask } = client
  const handlers = createHandlers(client, project)
  let rememberedBefore = false
  return {
    async actual() {
      const resources: ActualResource[] = []
      const notices: string[] = []
      for (const [kind, handler] of Object.entries(handlers) as [Kind, ResourceHandler][]) {
        try {
          resources.push(...(await ask(`reading each ${kind} of ${project}`, handler.list)))
        } catch (error) {
          // The licence has no protected environments; the project itself was found before.
          if (kind !== 'protected environment' || toStepError(error).code !== 'NOT_FOUND')
            throw error
          notices.push(NO_PROTECTION)
        }
      }
      const own = resources.find(({ kind, name }) => kind === 'variable' && name === OWN_VARIABLE)
      rememberedBefore = own !== undefined
      return {
        resources: resources.filter((resource) => resource !== own),
        managed: new Set(readManaged(own?.fields.value)),
        notices,
      }
    },
    async create(resource) {
      await ask(`creating ${resource.kind} ${resource.name}`, () =>
        handlers[resource.kind].create(resource),
      )
    },
    async change(resource, actual) {
      await ask(`changing ${resource.kind} ${resource.name}`, () =>
        handlers[resource.kind].change(resource, actual),
      )
    },
    async remove(actual) {
      const work = () => handlers[actual.kind].remove(actual)
      await ask(`deleting ${actual.kind} ${actual.name}`, work).catch((error: unknown) => {
        // Gone already: the response to a first try was lost.
        if (toStepError(error).code !== 'NOT_FOUND') throw error
      })
    },
    async remember(managed) {
      const value = JSON.stringify([...managed].sort())
      const { ProjectVariables } = client.api
      const more = {
        description: 'Written by crosscloud gitlab apply; do not change',
        raw: true,
        filter: { environment_scope: '*' },
      }
      await ask(`writing ${OWN_VARIABLE} in ${project}`, async () => {
        if (rememberedBefore)
          await ProjectVariables.edit(project, OWN_VARIABLE, value, more as never)
        else
          await ProjectVariables.create(project, OWN_VARIABLE, value, {
            ...more,
            filter: undefined,
          } as never)
      })
      rememberedBefore = true
    },
    members: (logins, groups) => findMembers(client, logins, groups),
  }
}

export const NO_PROTECTION =
  "this GitLab has no protected environments (they need Premium); crosscloud's own gate works without"

function readManaged(value: Value | undefined): string[] {
  try {
    const list: unknown = JSON.parse(typeof value === 'string' ? value : '[]')
    return Array.isArray(list) ? list.filter((name) => typeof name === 'string') : []
  } catch {
    return []
  }
}

async function findMembers(
  { api, ask }: GitlabClient,
  logins: readonly string[],
  groups: readonly string[],
): Promise<Members> {
  const users = new Map<string, number>()
  for (const login of logins) {
    const found = await ask(`looking up user ${login}`, () => api.Users.all({ username: login }))
    const [user] = found as unknown as { id: number }[]
    if (!user) throw new StepError('NOT_FOUND', `GitLab has no user ${login}`)
    users.set(login, user.id)
  }
  const ids = new Map<string, number>()
  for (const path of groups) {
    const group = await ask(`looking up group ${path}`, () => api.Groups.show(path))
    ids.set(path, (group as unknown as { id: number }).id)
  }
  return { user: (login) => users.get(login) ?? 0, group: (path) => ids.get(path) ?? 0 }
}
