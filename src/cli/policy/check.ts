import { StepError } from '../../core/errors.ts'
import { didYouMean } from '../../core/settings/suggest.ts'
import { holderText, type Policy } from '../../policy/compile.ts'
import {
  type Decision,
  decide,
  decideAnySource,
  environmentsOf,
  type Question,
  refusalText,
  whoMay,
} from '../../policy/decide.ts'
import { appsText, environmentsText, questionText } from '../../policy/question.ts'
import { namesOf, type Subject } from '../../policy/subject.ts'
import { grantsFor } from '../../policy/who-may.ts'
import type { CommandResult } from '../command.ts'
import { table } from '../output.ts'

/** `policy check`: the answer that the server gives, and for the operator what is beside it. */
export function checkPolicy(policy: Policy, subject: Subject, question: Question): CommandResult {
  const decision = decideAnySource(policy, subject, question)
  const may = whoMay(policy, question)
  const { kind, name } = subject
  const json = {
    subject: { kind, name },
    question,
    ...decision,
    rule: decision.rule ?? null,
    whoMay: may,
  }
  if (decision.allowed) return { json, text: allowedText(policy, subject, question, decision) }
  const failure = new StepError(
    'FORBIDDEN',
    refusalText(subject, question, { ...decision, help: [] }),
    {
      hint: may.length > 0 ? `Who may: ${may.join('; ')}.` : 'Nobody may, by this policy.',
    },
  )
  const beside = [
    decision.visible ? '' : `Without view there, the answer over HTTP is 404.`,
    meant(policy, subject),
  ].filter(Boolean)
  return { json, text: ['refused', ...beside].join('\n'), failure }
}

function allowedText(
  policy: Policy,
  subject: Subject,
  question: Question,
  { rule }: Decision,
): string {
  const grant = policy.grants.find((each) => each.rule === rule)
  const by = grant
    ? `${rule}: ${holderText(grant.holder)} is ${grant.role} for ${appsText(grant.apps)} on ${environmentsText(grant.envs)}`
    : rule
  const lines = [`${subject.name} may ${questionText(question)} by ${by}`]
  if (question.verb === 'promote' && question.source === undefined) {
    const sources = environmentsOf(policy).filter(
      (source) =>
        source !== question.environment && decide(policy, subject, { ...question, source }).allowed,
    )
    lines.push(`From: ${sources.join(', ') || 'any other environment'}`)
  }
  return lines.join('\n')
}

/** Names are compared whole: one that is nearly that of a grant is probably misspelt. */
function meant(policy: Policy, subject: Subject): string {
  const known = policy.grants.flatMap(({ holder }) => (holder.kind === 'who' ? [holder.name] : []))
  return namesOf(subject)
    .filter((name) => !known.includes(name))
    .map((name) => {
      const hint = didYouMean(name, known)
      return hint && `No grant names ${name}${hint}`
    })
    .filter(Boolean)
    .join('\n')
}

/** `policy who-may`: for whoever has to tell an auditor. */
export function listWhoMay(policy: Policy, question: Question): CommandResult {
  const found = grantsFor(policy, question)
  const json = { question, who: found }
  if (found.length === 0) return { json, text: `Nobody may ${questionText(question)}.` }
  const rows = found.map(({ who, roles, rules }) => [who, roles.join(', '), rules.join(', ')])
  return { json, text: table(['who', 'role', 'by'], rows) }
}
