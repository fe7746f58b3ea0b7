import { statusOf } from '../core/http/errors.ts'
import type { GitlabClient } from './client.ts'
import { sorted } from './desired.ts'
import {
  type ActualResource,
  type Kind,
  type Resource,
  type Value,
  variableName,
} from './resources.ts'

/** How one kind of resource is read, made, changed and removed. */
export interface ResourceHandler {
  list(): Promise<ActualResource[]>
  create(resource: Resource): Promise<unknown>
  change(resource: Resource, actual: ActualResource): Promise<unknown>
  remove(actual: ActualResource): Promise<unknown>
}

type Fields = Record<string, unknown>
type Access = { access_level?: number | null; user_id?: number | null; group_id?: number | null }

/** A handler for each kind; each request is GitLab's own, through gitbeaker. */
export function createHandlers(
  { api }: GitlabClient,
  project: string,
): Record<Kind, ResourceHandler> {
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
        // By force: its stop job would stop what runs there.
        await api.Environments.stop(project, Number(id), { force: true } as never)
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
            // Masked and hidden: GitLab gives it to nobody.
            ...(row.value !== null && { value: String(row.value ?? '') }),
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
      create: (resource) => protect('protected_branches', branchBody(resource)),
      // Roles cannot be changed without a licence: for a moment the branch is not protected.
      async change(resource) {
        await unlessGone(api.ProtectedBranches.unprotect(project, resource.name))
        await protect('protected_branches', branchBody(resource))
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
      create: (resource) => protect('protected_tags', tagBody(resource)),
      async change(resource) {
        await unlessGone(api.ProtectedTags.unprotect(project, resource.name))
        await protect('protected_tags', tagBody(resource))
      },
      remove: ({ name }) => api.ProtectedTags.unprotect(project, name),
    },
    webhook: {
      list: async () => (await rows(api.ProjectHooks.all(project))).map(hookFrom),
      create: (resource) =>
        api.ProjectHooks.add(project, resource.name, hookBody(resource) as never),
      change: (resource, { id }) =>
        api.ProjectHooks.edit(project, Number(id), resource.name, hookBody(resource) as never),
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

/** A first try may have done it, and failed after. */
async function unlessGone(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (statusOf(error) !== 404) throw error
  }
}

const environmentBody = ({ tier, url }: Resource['fields']) =>
  ({ tier, ...(url !== undefined && { externalUrl: url }) }) as never

const branchBody = ({ name, fields: { push, merge } }: Resource): Fields => ({
  name,
  push_access_level: push,
  merge_access_level: merge,
})

const tagBody = ({ name, fields: { create } }: Resource): Fields => ({
  name,
  create_access_level: create,
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
    : levels.map((level) => level.access_level ?? null)
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
  return accessBody(list).map((level, index) => ({
    ...level,
    required_approvals: rules[index]?.required,
  }))
}

function protectedFrom(row: Fields): ActualResource {
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
        approvals.map((rule) => ({ ...accessFrom(rule), required: rule.required_approvals })),
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
  comment: 'note_events',
  pipeline: 'pipeline_events',
  job: 'job_events',
  deployment: 'deployment_events',
}

function hookFrom(row: Fields): ActualResource {
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

function hookBody({ fields, hidden }: Resource): Fields {
  const asked = new Set(fields.events as string[])
  const body = Object.entries(switches).map(([event, name]) => [name, asked.has(event)])
  return { ...Object.fromEntries(body), enable_ssl_verification: true, ...hidden }
}
