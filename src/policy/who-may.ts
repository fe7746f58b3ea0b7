import { covers, type Grant, type Holder, holderText, type Policy } from './compile.ts'
import { allows, type Question } from './question.ts'

/** Somebody whom grants allow it, and which. */
export interface Allowed {
  /** `group:team/ops`; for a promotion also `group:team/qa with group:team/dev`, who is in both. */
  who: string
  rules: readonly string[]
  roles: readonly string[]
}

/** Everybody whom the policy allows it. The scope of an API token may be narrower. */
export function whoMay(policy: Policy, question: Question): string[] {
  return [...new Set(grantsFor(policy, question).map(({ who }) => who))]
}

/** The same with the grants. A promotion without a source may come from any environment. */
export function grantsFor(policy: Policy, question: Question): Allowed[] {
  const { verb } = question
  const allowing = policy.grants.filter((grant) => allows(grant, question))
  if (verb !== 'promote') return allowing.map((grant) => allowed([grant]))
  const viewing = policy.grants.filter((grant) => viewsSource(grant, question))
  return allowing.flatMap((grant) => {
    const own = viewing.find((view) => samePerson(grant.holder, view.holder))
    if (own) return [allowed(own === grant ? [grant] : [grant, own])]
    return viewing
      .filter((view) => mayBeOne(grant.holder, view.holder))
      .map((view) => ({
        ...allowed([grant, view]),
        who: `${holderText(grant.holder)} with ${holderText(view.holder)}`,
      }))
  })
}

const MOST_HELPERS = 5

/**
 * Some people who can be asked, each by grants of their own. Jobs and tokens cannot be asked, and nobody
 * is told of their grants.
 */
export function helpers(policy: Policy, question: Question): string[] {
  const viewing = policy.grants.filter((grant) => viewsSource(grant, question))
  const names = policy.grants.flatMap((grant) => {
    const { holder } = grant
    if (holder.kind === 'job' || holder.name.startsWith('token:')) return []
    if (!allows(grant, question)) return []
    const alone =
      question.verb !== 'promote' || viewing.some((view) => samePerson(holder, view.holder))
    return alone ? [holder.name.replace(/^\w+:/, '')] : []
  })
  return [...new Set(names)].slice(0, MOST_HELPERS)
}

function allowed(grants: readonly [Grant, ...Grant[]]): Allowed {
  return {
    who: holderText(grants[0].holder),
    rules: grants.map(({ rule }) => rule),
    roles: grants.map(({ role }) => role),
  }
}

function viewsSource(
  { verbs, apps, envs }: Grant,
  { app, environment, source }: Question,
): boolean {
  if (!verbs.has('view') || !covers(apps, app)) return false
  if (source !== undefined) return covers(envs, source)
  return [...envs].some((name) => name === '*' || name !== environment)
}

/** Whoever the first is for, the second is for as well. */
function samePerson(first: Holder, second: Holder): boolean {
  if (first.kind === 'who' && second.kind === 'who') {
    return first.name === second.name && (second.id === undefined || first.id === second.id)
  }
  if (first.kind === 'who' || second.kind === 'who') return false
  return second.claims.every(([name, value]) =>
    first.claims.some(([other, its]) => other === name && its === value),
  )
}

/** Whether one subject can be both: a person in a group, in two groups, a job with both's claims. */
function mayBeOne(first: Holder, second: Holder): boolean {
  if (first.kind === 'who' && second.kind === 'who') {
    const [one, other] = [first, second].map(({ name }) => name.split(':')[0])
    if (one === 'token' || other === 'token') return false
    if (one === 'group' || other === 'group') return true
    return first.name === second.name && (first.id === undefined || second.id === undefined)
  }
  if (first.kind === 'who' || second.kind === 'who') return false
  return first.claims.every(([name, value]) =>
    second.claims.every(([other, its]) => other !== name || its === value),
  )
}
