import { type ClaimName, type ClaimValue, claimText, isClaim } from './claims.ts'
import type { GrantSettings, PolicySettings } from './schema.ts'
import { splitId } from './subject.ts'
import { isVerb, type Verb } from './verbs.ts'

/** Who a grant is for: a name, or claims that must all be equal. */
export type Holder =
  | { kind: 'who'; name: string; id: string | undefined; text: string }
  | { kind: 'job'; claims: readonly (readonly [ClaimName, ClaimValue])[] }

export interface Grant {
  /** `grants[2]` */
  rule: string
  holder: Holder
  role: string
  verbs: ReadonlySet<Verb>
  apps: ReadonlySet<string>
  envs: ReadonlySet<string>
}

/** A policy that questions are put to. Its sets know no prototype, and look-ups take no text apart. */
export interface Policy {
  grants: readonly Grant[]
}

/** Without a policy there is no grant, and nobody may anything. */
export function compilePolicy(settings: PolicySettings | undefined): Policy {
  if (settings === undefined) return { grants: [] }
  const { roles } = settings
  const grants = settings.grants.map((grant, index): Grant => {
    const { role, apps, envs } = grant
    const allowed = Object.hasOwn(roles, role) ? (roles[role] ?? []) : []
    return {
      rule: `grants[${index}]`,
      holder: holderOf(grant),
      role,
      verbs: new Set(allowed.filter(isVerb)),
      apps: new Set(apps),
      envs: new Set(envs),
    }
  })
  return { grants }
}

function holderOf({ who, job }: GrantSettings): Holder {
  if (who !== undefined) return { kind: 'who', ...splitId(who), text: who }
  const claims = Object.entries(job ?? {}).flatMap(([name, value]) =>
    isClaim(name) && value !== undefined ? [[name, value] as const] : [],
  )
  return { kind: 'job', claims }
}

/** `group:team/qa`, `job project-id 42, ref main` */
export function holderText(holder: Holder): string {
  if (holder.kind === 'who') return holder.text
  return `job ${holder.claims.map(([name, value]) => `${name} ${claimText(value)}`).join(', ')}`
}

/**
 * Whether a grant's names have this one in them. Who asks of all (`*`) needs a grant of all: a sum of
 * names is not everything.
 */
export function covers(names: ReadonlySet<string>, name: string): boolean {
  return names.has('*') || names.has(name)
}
