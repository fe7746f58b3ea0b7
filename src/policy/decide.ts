import { onOneLine } from '../core/plain-text.ts'
import type { Grant, Policy } from './compile.ts'
import { isFor } from './match.ts'
import { allows, type Question, questionProblem, questionText } from './question.ts'
import { ownReasons } from './reasons.ts'
import { scopeProblem } from './scope.ts'
import type { Subject } from './subject.ts'
import { helpers } from './who-may.ts'

export type { Question } from './question.ts'
export { whoMay } from './who-may.ts'

export interface Decision {
  allowed: boolean
  /** Without `view` there: the answer is 404, not 403. */
  visible: boolean
  /** `grants[2]` */
  rule: string | undefined
  /** Why not, one line each: only the asker's own grants are named. */
  reasons: readonly string[]
  /** "team/ops": who may. */
  help: readonly string[]
}

/**
 * The one function that decides. Allowed is what one grant allows for this subject, verb, application
 * and environment; a promotion takes `view` at its source as well. All else is refused.
 */
export function decide(policy: Policy, subject: Subject, question: Question): Decision {
  const { source } = question
  return decideFrom(policy, subject, question, source === undefined ? [] : [source])
}

/** The same, where a promotion without a source may come from any: for examples and for operators. */
export function decideAnySource(policy: Policy, subject: Subject, question: Question): Decision {
  const { verb, environment, source } = question
  if (verb !== 'promote' || source !== undefined) return decide(policy, subject, question)
  return decideFrom(policy, subject, question, otherEnvironments(policy, environment))
}

/**
 * Whether there may be an environment of an application that the subject may view: known before it is
 * looked up which there are.
 */
export function mayViewAny(policy: Policy, subject: Subject, app: string): boolean {
  const named = [...environmentsOf(policy), ...(subject.scope?.envs ?? []), UNNAMED]
  return named
    .filter((environment) => environment !== '*')
    .some((environment) => decide(policy, subject, { verb: 'view', app, environment }).allowed)
}

/** Every environment that a grant names. */
export function environmentsOf({ grants }: Policy): string[] {
  const names = new Set(grants.flatMap(({ envs }) => [...envs]))
  return [...names].filter((name) => name !== '*')
}

/** Stands for all environments that only grants of `*` cover. */
const UNNAMED = 'another-environment'

function otherEnvironments(policy: Policy, environment: string): string[] {
  return [...environmentsOf(policy), UNNAMED].filter((name) => name !== environment)
}

function decideFrom(
  policy: Policy,
  subject: Subject,
  question: Question,
  sources: readonly string[],
): Decision {
  const wrong = questionProblem(question, sources)
  if (wrong !== undefined) return refused(false, [wrong])
  const held = policy.grants.filter((grant) => isFor(grant, subject))
  const { app, environment, verb } = question
  const viewAt = (place: string) => ({ verb: 'view' as const, app, environment: place })
  const sees = (place: string) =>
    held.some((grant) => allows(grant, viewAt(place))) &&
    scopeProblem(subject, viewAt(place)) === undefined
  const visible = sees(environment)
  const rule = held.find((grant) => allows(grant, question))?.rule
  const limit = scopeProblem(subject, question)
  const blind = verb === 'promote' && !sources.some(sees)
  if (rule !== undefined && limit === undefined && !blind) {
    return { allowed: true, visible, rule, reasons: [], help: [] }
  }
  const reasons = whyNot(policy.grants, subject, question, { rule, limit })
  return refused(visible, reasons, visible ? helpers(policy, question) : [])
}

const refused = (visible: boolean, reasons: string[], help: string[] = []): Decision => ({
  allowed: false,
  visible,
  rule: undefined,
  reasons,
  help,
})

/** `rule`: of a grant that allows it all the same; `limit`: what the scope of a token says. */
function whyNot(
  grants: readonly Grant[],
  subject: Subject,
  question: Question,
  { rule, limit }: { rule: string | undefined; limit: string | undefined },
): string[] {
  if (rule === undefined) return ownReasons(grants, subject, question)
  if (limit !== undefined) return [`${rule} allows it, but ${limit}`]
  const { app, source } = question
  if (source === undefined) {
    return [
      `${rule} allows it, but promote takes view where a release comes from, and there is none`,
    ]
  }
  const unseen = scopeProblem(subject, { verb: 'view', app, environment: source })
  const why = unseen === undefined ? '' : `, and ${unseen}`
  return [`${rule} allows it, but promote takes view on ${source}, where it comes from${why}`]
}

const MOST_REASONS = 4

/** `zhang (team/qa) may not promote webapi to production; grants[0] … Who may: team/ops.` */
export function refusalText(
  { name }: Subject,
  question: Question,
  { reasons, help }: Pick<Decision, 'reasons' | 'help'>,
): string {
  const shown = reasons.slice(0, MOST_REASONS)
  const more = reasons.length - shown.length
  const all = more > 0 ? [...shown, `and ${more} more`] : shown
  const who = help.length > 0 ? ` Who may: ${help.join(', ')}.` : ''
  return onOneLine(`${name} may not ${questionText(question)}; ${all.join('; ')}.${who}`)
}
