import type { GitlabAccess } from './access.ts'
import { openGitlab } from './client.ts'
import { desiredResources, type EnvironmentFacts } from './desired.ts'
import { type Action, type Plan, planActions } from './plan.ts'
import { openProject, type Project } from './project.ts'
import { keyOf } from './resources.ts'
import type { GitlabSettings } from './settings.ts'

export interface SetUpOptions {
  settings: GitlabSettings
  environments: readonly EnvironmentFacts[]
  access: Omit<GitlabAccess, 'url'>
  prune: boolean
  secrets: boolean
}

/** A plan, and the way to carry it out. */
export interface SetUp extends Plan {
  /** Does all of it; `done` is called after each action. */
  apply(done: (action: Action) => void): Promise<void>
}

/** Reads the project and compares it with the settings. Changes nothing yet. */
export async function planSetUp(options: SetUpOptions): Promise<SetUp> {
  const { settings, environments, access, prune, secrets } = options
  const client = await openGitlab({ ...access, url: settings.url })
  await client.ask(`opening ${settings.project}`, () => client.api.Projects.show(settings.project))
  const project = openProject(client, settings.project)
  const { logins, groups } = named(settings)
  const members = await project.members(logins, groups)
  const { resources, managed, notices } = await project.actual()
  const canProtect = notices.length === 0
  const desired = desiredResources(settings, environments, members)
    .filter(({ kind }) => canProtect || kind !== 'protected environment')
    .filter((resource) => {
      // GitLab makes these itself, for the first job that asks for one.
      if (resource.kind !== 'resource group') return true
      return resources.some((there) => keyOf(there) === keyOf(resource))
    })
  const plan = planActions(desired, resources, { managed, prune, secrets })
  const asked = canProtect || !asksForProtection(settings)
  return {
    actions: plan.actions,
    notices: [...(asked ? [] : notices), ...plan.notices],
    apply: (done) => carryOut(plan.actions, project, managed, done),
  }
}

function asksForProtection({ environments }: GitlabSettings): boolean {
  return Object.values(environments).some(
    ({ deployers, approvals }) => deployers !== undefined || approvals !== undefined,
  )
}

/** The people and groups that the settings name. */
function named({ environments }: GitlabSettings): { logins: string[]; groups: string[] } {
  const all = Object.values(environments).flatMap(({ deployers = [], approvals = [] }) => [
    ...deployers,
    ...approvals.map(({ by }) => by),
  ])
  const of = (kind: string) => [
    ...new Set(all.filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length))),
  ]
  return { logins: of('user:'), groups: of('group:') }
}

/**
 * What is about to be made is remembered first: were this cut off, a later run knows it is ours. What
 * was deleted is forgotten last.
 */
async function carryOut(
  actions: readonly Action[],
  project: Project,
  managed: Set<string>,
  done: (action: Action) => void,
): Promise<void> {
  const made = actions.flatMap((action) => (action.do === 'create' ? [keyOf(action.resource)] : []))
  const ours = new Set([...managed, ...made])
  if (made.length > 0) await project.remember(ours)
  for (const action of actions) {
    if (action.do === 'create') await project.create(action.resource)
    if (action.do === 'change') await project.change(action.resource, action.actual)
    if (action.do === 'delete') await project.remove(action.actual)
    done(action)
  }
  const gone = actions.flatMap((action) => (action.do === 'delete' ? [keyOf(action.actual)] : []))
  if (gone.length === 0) return
  for (const key of gone) ours.delete(key)
  await project.remember(ours)
}
