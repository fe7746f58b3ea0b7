import { type ClaimName, type ClaimValue, claimText, owning } from './claims.ts'
import type { Grant, Holder } from './compile.ts'
import { namesOf, type Subject } from './subject.ts'

/** Whether a grant is for this subject: its name, whole, or every claim of it, of the same type. */
export function isFor({ holder }: Grant, subject: Subject): boolean {
  if (holder.kind === 'who') return hasName(holder, subject)
  return subject.kind === 'job' && holder.claims.length > 0 && unmet(holder, subject).length === 0
}

/**
 * Whether the subject may hear of a grant that refuses: it carries the subject's name, or is for jobs of
 * the same issuer and project. Of others' grants nobody is told.
 */
export function isOwn({ holder }: Grant, subject: Subject): boolean {
  if (holder.kind === 'who') return hasName(holder, subject)
  if (subject.kind !== 'job') return false
  const whose = holder.claims.filter(([name]) => name === 'issuer' || owning.includes(name))
  return whose.length > 0 && whose.every(([name, value]) => claimOf(subject, name) === value)
}

function hasName({ name, id }: Extract<Holder, { kind: 'who' }>, subject: Subject): boolean {
  return namesOf(subject).includes(name) && (id === undefined || subject.byId === id)
}

/** What a job's token lacks of a grant, as the grant's needs: "ref-protected true, the token says false". */
export function unmet(holder: Extract<Holder, { kind: 'job' }>, subject: Subject): string[] {
  return holder.claims.flatMap(([name, value]) => {
    const said = claimOf(subject, name)
    if (said === value) return []
    const answer = said === undefined ? 'nothing' : claimText(said)
    return [`${name} ${claimText(value)}, the token says ${answer}`]
  })
}

/** A claim of the token's own; the issuer is who was asked for the keys, not what the token says. */
export function claimOf(subject: Subject, name: ClaimName): ClaimValue | undefined {
  if (name === 'issuer') return subject.identity === '' ? undefined : subject.identity
  const { claims } = subject
  return claims !== undefined && Object.hasOwn(claims, name) ? claims[name] : undefined
}
