import { onOneLine } from '../core/plain-text.ts'
import { claimText, owning } from './claims.ts'
import { covers, type Grant } from './compile.ts'
import { claimOf, isOwn, unmet } from './match.ts'
import { allows, appsText, environmentsText, type Question } from './question.ts'
import { namesOf, type Subject } from './subject.ts'

/**
 * Why the subject's own grants do not allow it, those with the verb if there are any. Nothing is said of
 * the grants of others.
 */
export function ownReasons(
  grants: readonly Grant[],
  subject: Subject,
  question: Question,
): string[] {
  const own = grants.filter((grant) => isOwn(grant, subject))
  const able = own.filter(({ verbs }) => verbs.has(question.verb))
  const reasons = (able.length > 0 ? able : own).flatMap((grant) => {
    const { rule, holder } = grant
    if (holder.kind === 'who' || !allows(grant, question)) return [placeReason(grant, question)]
    return unmet(holder, subject).map((need) => `${rule} needs ${need}`)
  })
  return reasons.length > 0 ? reasons : [noGrantReason(subject)]
}

function placeReason(grant: Grant, { verb, app, environment }: Question): string {
  const { rule, role, verbs, apps, envs } = grant
  if (!verbs.has(verb)) return `${rule} as ${role} has no ${verb}`
  const forApps = covers(apps, app) ? '' : ` for ${appsText(apps)}`
  const onEnvironments = covers(envs, environment) ? '' : ` on ${environmentsText(envs)}`
  return `${rule} allows it${forApps}${onEnvironments}`
}

/** Where no grant is the subject's own. */
function noGrantReason(subject: Subject): string {
  if (subject.kind !== 'job') {
    const names = onOneLine(namesOf(subject).join(', '))
    return names === '' ? `no grant can name ${onOneLine(subject.name)}` : `no grant names ${names}`
  }
  const said = owning.flatMap((name) => {
    const value = claimOf(subject, name)
    return value === undefined ? [] : [`${name} ${claimText(value)}`]
  })
  return said.length === 0
    ? `the token names no project: it has none of ${owning.join(', ')}`
    : `no grant is for a job of ${said.join(', ')}`
}
