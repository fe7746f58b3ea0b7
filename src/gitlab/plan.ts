import { type ActualResource, keyOf, type Resource, secretFields, type Value } from './resources.ts'

export type Action =
  | { do: 'create'; resource: Resource }
  | { do: 'change'; resource: Resource; actual: ActualResource; changes: string[] }
  | { do: 'delete'; actual: ActualResource }

export interface Plan {
  actions: Action[]
  /** What a person should know: what is left alone, and what cannot be done there. */
  notices: string[]
}

export interface PlanOptions {
  /** Keys of the resources that crosscloud made. */
  managed: ReadonlySet<string>
  /** Deletes what crosscloud made and nobody asks for any more. */
  prune: boolean
  /** Sets secrets again, which GitLab does not give back. */
  secrets: boolean
}

/** What must be done for the project to be as the settings want it. The same again gives no action. */
export function planActions(
  desired: readonly Resource[],
  actual: readonly ActualResource[],
  { managed, prune, secrets }: PlanOptions,
): Plan {
  const found = new Map(actual.map((resource) => [keyOf(resource), resource]))
  const wanted = new Set(desired.map(keyOf))
  const actions: Action[] = []
  const notices: string[] = []
  for (const resource of desired) {
    const there = found.get(keyOf(resource))
    if (!there) {
      actions.push({ do: 'create', resource })
      continue
    }
    const changes = changesOf(resource, there)
    const again = secrets ? Object.keys(resource.hidden ?? {}) : []
    const all = [...changes, ...again.map((name) => `${name}: set again`)]
    if (all.length > 0) actions.push({ do: 'change', resource, actual: there, changes: all })
  }
  for (const resource of actual) {
    const key = keyOf(resource)
    if (wanted.has(key) || !managed.has(key)) continue
    if (prune) actions.push({ do: 'delete', actual: resource })
    else
      notices.push(
        `${key} is not asked for any more; \`crosscloud gitlab apply --prune\` deletes it`,
      )
  }
  return { actions, notices }
}

function changesOf(resource: Resource, there: ActualResource): string[] {
  return Object.entries(resource.fields).flatMap(([name, value]) => {
    // A hidden value cannot be compared.
    if (secretFields.has(name) && !(name in there.fields)) return []
    const before = there.fields[name] ?? null
    if (JSON.stringify(before) === JSON.stringify(value)) return []
    if (secretFields.has(name)) return [`${name}: another one`]
    return [`${name}: ${show(before)} → ${show(value)}`]
  })
}

function show(value: Value): string {
  return value === null || value === ''
    ? 'none'
    : typeof value === 'string'
      ? value
      : JSON.stringify(value)
}

/** `+ variable LEDGER_PASSWORD`, `~ environment test: url: none → https://…`, `- webhook …` */
export function actionLines(action: Action): string[] {
  if (action.do === 'create') return [`+ ${keyOf(action.resource)}`]
  if (action.do === 'delete') return [`- ${keyOf(action.actual)}`]
  return action.changes.map((change) => `~ ${keyOf(action.resource)}: ${change}`)
}
