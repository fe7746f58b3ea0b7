import type { Policy } from './compile.ts'
import { decideAnySource, type Question, refusalText } from './decide.ts'
import { questionText } from './question.ts'
import type { PolicySettings } from './schema.ts'
import { jobWith, type Subject, subjectNamed } from './subject.ts'

type Example = PolicySettings['tests'][number]

/** What is wrong with an example of `policy.tests`; undefined: the policy decides as it says. */
export function exampleProblem(policy: Policy, example: Example): string | undefined {
  const { can, cannot, app, env: environment, source } = example
  const verb = can ?? cannot
  if (verb === undefined) return undefined
  const question: Question = { verb, app, environment, source }
  const subject = subjectOf(example)
  const decision = decideAnySource(policy, subject, question)
  if (decision.allowed === (can !== undefined)) return undefined
  if (!decision.allowed) return `fails: ${refusalText(subject, question, decision)}`
  return `fails: ${subject.name} may ${questionText(question)} by ${decision.rule}`
}

function subjectOf({ as, job }: Example): Subject {
  if (as !== undefined) return subjectNamed(as)
  const claims = Object.entries(job ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  )
  return jobWith(Object.fromEntries(claims))
}
