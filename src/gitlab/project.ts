import { StepError, toStepError } from '../core/errors.ts'
import type { GitlabClient } from './client.ts'
import { type Members, sorted } from './desired.ts'
import { type ActualThing, type Kind, type Thing, type Value, variableName } from './things.ts'

/** How one kind of thing is read, made, changed and removed. */
interface Keeper {
  list(): Promise<ActualThing[]>
  create(thing: Thing): Promise<unknown>
  change(thing: Thing, actual: ActualThing): Promise<unknown>
  remove(actual: ActualThing): Promise<unknown>
}

type Fields = Record<string, unknown>
type Access = { access_level?: number | null; user_id?: number | null; group_id?: number | null }

/** Where crosscloud remembers what it made. */
export const OWN_VARIABLE = 'CROSSCLOUD_MANAGED'

export interface Project {
  actual(): Promise<{ things: ActualThing[]; managed: Set<string>; notices: string[] }>
  create(thing: Thing): Promise<void>
  change(thing: Thing, actual: ActualThing): Promise<void>
  remove(actual: ActualThing): Promise<void>
  remember(managed: ReadonlySet<string>): Promise<void>
  members(logins: readonly string[], groups: readonly string[]): Promise<Members>
}

export function openProject(client: GitlabClient, project: string): Project {
  const { ask } = client
  const keepers = makeKeepers(client, project)
  let rememberedBefore = false
  return {
    async actual() {
      const things: ActualThing[] = []
      const notices: string[] = []
      for (const [kind, keeper] of Object.entries(keepers) as [Kind, Keeper][]) {
        try {
          things.push(...(await ask(`reading each ${kind} of ${project}`, keeper.list)))
        } catch (error) {
          // The licence has no protected environments; the project itself was found before.
          if (kind !== 'protected environment' || toStepError(error).code !== 'NOT_FOUND')
            throw error
          notices.push(NO_PROTECTION)
        }
      }
      const own = things.find(({ kind, name }) => kind === 'variable' && name === OWN_VARIABLE)
      rememberedBefore = own !== undefined
      return {
        things: things.filter((thing) => thing !== own),
        managed: new Set(readManaged(own?.fields.value)),
        notices,
      }
    },
    async create(thing) {
      await ask(`creating ${thing.kind} ${thing.name}`, () => keepers[thing.kind].create(thing))
    },
    async change(thing, actual) {
      await ask(`changing ${thing.kind} ${thing.name}`, () =>
        keepers[thing.kind].change(thing, actual),
      )
    },
    async remove(actual) {
      const work = () => keepers[actual.kind].remove(actual)
      await ask(`deleting ${actual.kind} ${actual.name}`, work).catch((error: unknown) => {
        // Gone already: the answer to a first try was lost.
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
    return Array.isArray(list) ? list.filter((one) => typeof one === 'string') : []
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

function makeKeepers({ api }: GitlabClient, project: string): Record<Kind, Keeper> {
  const rows = async (request: Promise<unknown>) => (await request) as Fields[]
  // The library would put these into the query, where GitLab's description has no place for them.
  const protect = (what: string, body: Fields) =>
    api.ProtectedBranches.requester.post(`projects/${encodeURIComponent(project)}/${what}`, {
      body,
    } as never)
  return {
    environment: {
      list: async () =>
        (await rows(api.Environments.all(project))).map((row) => ({
          kind: 'environment',
          name: String(row.name),
          id: Number(row.id),
          fields: { tier: String(row.tier ?? 'other'), url: (row.external_url as string) || null },
        })),
      create: ({ name, fields }) => api.Environments.create(project, name, environmentBody(fields)),
      change: ({ fields }, { id }) =>
        api.Environments.edit(project, Number(id), environmentBody(fields)),
      async remove({ id }) {
        await api.Environments.stop(project, Number(id))
        await api.Environments.remove(project, Number(id))
      },
    },
    // These calls do not encode what they put into the path.
    'protected environment': {
      list: async () => {
        const all = api.ProjectProtectedEnvironments.all(encodeURIComponent(project))
        return (await rows(all)).map(protectedFrom)
      },
      create: ({ name, fields }) =>
        api.ProjectProtectedEnvironments.create(
          encodeURIComponent(project),
          name,
          accessBody(fields.deployers) as never,
          { approvalRules: approvalBody(fields.approvals) } as never,
        ),
      async change({ name, fields }, actual) {
        const keep = (list: Value | undefined, ids: Value | undefined) => [
          ...(ids as number[]).map((id) => ({ id, _destroy: true })),
          ...(list as Fields[]),
        ]
        const { deployerIds, approvalIds } = actual.hiddenIds ?? {}
        await api.ProjectProtectedEnvironments.edit(
          encodeURIComponent(project),
          encodeURIComponent(name),
          {
            deployAccessLevels: keep(accessBody(fields.deployers) as Value, deployerIds),
            approvalRules: keep(approvalBody(fields.approvals) as Value, approvalIds),
          } as never,
        )
      },
      remove: ({ name }) =>
        api.ProjectProtectedEnvironments.remove(
          encodeURIComponent(project),
          encodeURIComponent(name),
        ),
    },
    variable: {
      list: async () =>
        (await rows(api.ProjectVariables.all(project))).map((row) => ({
          kind: 'variable',
          name: variableName(String(row.key), String(row.environment_scope ?? '*')),
          id: JSON.stringify([row.key, row.environment_scope ?? '*']),
          fields: {
            value: String(row.value ?? ''),
            masked: row.masked === true,
            protected: row.protected === true,
            raw: row.raw === true,
          },
        })),
      create: ({ name, fields }) => {
        const [key, scope] = splitVariable(name)
        const { value, ...rest } = fields
        const body = { ...rest, environmentScope: scope }
        return api.ProjectVariables.create(project, key, String(value), body as never)
      },
      change: ({ name, fields }) => {
        const [key, scope] = splitVariable(name)
        const { value, ...rest } = fields
        const body = { ...rest, filter: { environment_scope: scope }, environmentScope: scope }
        return api.ProjectVariables.edit(project, key, String(value), body as never)
      },
      remove: ({ name }) => {
        const [key, scope] = splitVariable(name)
        const body = { filter: { environment_scope: scope } }
        return api.ProjectVariables.remove(project, key, body as never)
      },
    },
    'protected branch': {
      list: async () =>
        (await rows(api.ProtectedBranches.all(project))).map((row) => ({
          kind: 'protected branch',
          name: String(row.name),
          id: String(row.name),
          fields: { push: level(row.push_access_levels), merge: level(row.merge_access_levels) },
        })),
      create: (thing) => protect('protected_branches', branchBody(thing)),
      // Roles cannot be changed without a licence: for a moment the branch is not protected.
      async change(thing) {
        await api.ProtectedBranches.unprotect(project, thing.name)
        await protect('protected_branches', branchBody(thing))
      },
      remove: ({ name }) => api.ProtectedBranches.unprotect(project, name),
    },
    'protected tag': {
      list: async () =>
        (await rows(api.ProtectedTags.all(project))).map((row) => ({
          kind: 'protected tag',
          name: String(row.name),
          id: String(row.name),
          fields: { create: level(row.create_access_levels) },
        })),
      create: (thing) => protect('protected_tags', tagBody(thing)),
      async change(thing) {
        await api.ProtectedTags.unprotect(project, thing.name)
        await protect('protected_tags', tagBody(thing))
      },
      remove: ({ name }) => api.ProtectedTags.unprotect(project, name),
    },
    webhook: {
      list: async () => (await rows(api.ProjectHooks.all(project))).map(hookFrom),
      create: (thing) => api.ProjectHooks.add(project, thing.name, hookBody(thing) as never),
      change: (thing, { id }) =>
        api.ProjectHooks.edit(project, Number(id), thing.name, hookBody(thing) as never),
      remove: ({ id }) => api.ProjectHooks.remove(project, Number(id)),
    },
    'resource group': {
      list: async () =>
        (await rows(api.ResourceGroups.all(project))).map((row) => ({
          kind: 'resource group',
          name: String(row.key),
          id: String(row.key),
          fields: { mode: String(row.process_mode) },
        })),
      // GitLab makes them itself, when the first job asks for one.
      create: async () => {},
      change: ({ name, fields }) =>
        api.ResourceGroups.edit(project, name, { processMode: fields.mode } as never),
      remove: async () => {},
    },
  }
}

const environmentBody = ({ tier, url }: Thing['fields']) =>
  ({ tier, ...(url !== null && { externalUrl: url }) }) as never

const branchBody = ({ name, fields: { push, merge } }: Thing): Fields => ({
  ...{ name, push_access_level: push, merge_access_level: merge },
})

const tagBody = ({ name, fields: { create } }: Thing): Fields => ({
  ...{ name, create_access_level: create },
})

function splitVariable(name: string): [key: string, scope: string] {
  const [key = '', scope = '*'] = name.split(' for ')
  return [key, scope]
}

/** The role of a list that names one; a list of people is none of ours. */
function level(list: unknown): Value {
  const levels = (list as { access_level?: number }[] | undefined) ?? []
  return levels.length === 1
    ? (levels[0]?.access_level ?? null)
    : levels.map((one) => one.access_level ?? null)
}

function accessFrom({ access_level, user_id, group_id }: Access): Record<string, Value> {
  if (user_id) return { user: user_id }
  if (group_id) return { group: group_id }
  return { role: access_level ?? 0 }
}

function accessBody(list: Value | undefined): Fields[] {
  return (list as Record<string, Value>[]).map(({ user, group, role }) => ({
    ...(user !== undefined && { user_id: user }),
    ...(group !== undefined && { group_id: group }),
    ...(role !== undefined && { access_level: role }),
  }))
}

function approvalBody(list: Value | undefined): Fields[] {
  const rules = list as Record<string, Value>[]
  return accessBody(list).map((one, index) => ({
    ...one,
    required_approvals: rules[index]?.required,
  }))
}

function protectedFrom(row: Fields): ActualThing {
  const deployers = (row.deploy_access_levels as (Access & { id: number })[] | undefined) ?? []
  const approvals =
    (row.approval_rules as (Access & { id: number; required_approvals: number })[] | undefined) ??
    []
  return {
    kind: 'protected environment',
    name: String(row.name),
    id: String(row.name),
    fields: {
      deployers: sorted(deployers.map(accessFrom)),
      approvals: sorted(
        approvals.map((one) => ({ ...accessFrom(one), required: one.required_approvals })),
      ),
    },
    hiddenIds: {
      deployerIds: deployers.map(({ id }) => id),
      approvalIds: approvals.map(({ id }) => id),
    },
  }
}

/** Our name of an event, and GitLab's switch for it. */
const switches: Record<string, string> = {
  push: 'push_events',
  tag: 'tag_push_events',
  'merge-request': 'merge_requests_events',
  pipeline: 'pipeline_events',
  job: 'job_events',
  deployment: 'deployment_events',
}

function hookFrom(row: Fields): ActualThing {
  const events = Object.entries(switches).filter(([, name]) => row[name] === true)
  return {
    kind: 'webhook',
    name: String(row.url),
    id: Number(row.id),
    fields: {
      events: events.map(([event]) => event).sort(),
      'ssl verification': row.enable_ssl_verification !== false,
    },
  }
}

function hookBody({ fields, hidden }: Thing): Fields {
  const asked = new Set(fields.events as string[])
  const body = Object.entries(switches).map(([event, name]) => [name, asked.has(event)])
  return { ...Object.fromEntries(body), enable_ssl_verification: true, ...hidden }
}
