import type { ClaimValue } from './claims.ts'
import { type Verb, verbs } from './verbs.ts'

/** Who asks. `names` are what grants match: user:zhang, group:team/qa, token:jenkins. */
export interface Subject {
  kind: 'person' | 'job' | 'token'
  /** For people and logs: "zhang (team/qa)", "job 4711 of team/webapi", "token jenkins". */
  name: string
  /** login, for the ledger: zhang; token:jenkins. */
  by: string
  byId?: string | undefined
  /** The issuer of the signed token, or `token` for an API token: the ledger's `identity`. */
  identity: string
  names: readonly string[]
  /** Claims of a job's ID token, verified, of the types in claims.ts. */
  claims?: Readonly<Record<string, ClaimValue>> | undefined
  /** An API token's own limits: what it may at most, beside the policy's grants. */
  scope?: Scope | undefined
}

export interface Scope {
  verbs: readonly Verb[]
  apps: readonly string[]
  envs: readonly string[]
}

/** `user:zhang`, `user:zhang#42` with the id of the account, `group:team/qa`, `token:jenkins`. */
export const WHO = /^(?:user:[^\s:#*\p{C}]+(?:#\d+)?|group:[^\s:#*\p{C}]+|token:[^\s:#*\p{C}]+)$/u

/** A name of a grant, and the id that the account must have. */
export function splitId(who: string): { name: string; id: string | undefined } {
  const [name = who, id] = who.split('#')
  return { name, id }
}

const prefixes = {
  person: ['user:', 'group:'],
  token: ['token:'],
  job: [],
} as const satisfies Record<Subject['kind'], readonly string[]>

/** The names of a subject that are of its kind: a job acts for no person, whoever started it. */
export function namesOf({ kind, names }: Subject): readonly string[] {
  return names.filter((name) => prefixes[kind].some((prefix) => name.startsWith(prefix)))
}

/** Why these names cannot be those of one subject. */
export function namesProblem(names: readonly string[]): string | undefined {
  const of = (prefix: string) => names.filter((name) => name.startsWith(prefix)).length
  if (of('user:') > 1) return 'names two people; give one, and the groups of that one'
  if (of('token:') > 1) return 'names two tokens; give one'
  if (of('token:') === 1 && names.length > 1) return 'names a token and a person; give one of them'
  return undefined
}

/** Everything: what a token may is then up to the grants alone. */
const WHOLE: Scope = { verbs, apps: ['*'], envs: ['*'] }

/** Somebody of whom only the names are known, for examples and questions of operators. */
export function subjectNamed(names: readonly string[]): Subject {
  const rest = (prefix: string) =>
    names.flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []))
  const [token] = rest('token:')
  if (token !== undefined) {
    const by = `token:${token}`
    return { kind: 'token', name: `token ${token}`, by, identity: 'token', names, scope: WHOLE }
  }
  const [user] = rest('user:')
  const groups = rest('group:')
  const { name: by, id: byId } = splitId(user ?? 'somebody')
  const name = groups.length === 0 ? by : `${by} (${groups.join(', ')})`
  return { kind: 'person', name, by, byId, identity: '', names: names.map(withoutId) }
}

const withoutId = (name: string) => splitId(name).name

/** A job of which only these claims are known. */
export function jobWith(claims: Readonly<Record<string, ClaimValue>>): Subject {
  const { project, user, issuer } = claims
  const id = claims['project-id']
  const of = project ?? (id === undefined ? claims.subject : `project ${id}`)
  const name = of === undefined ? 'a job' : `a job of ${of}`
  const by = user === undefined ? 'job' : String(user)
  return { kind: 'job', name, by, identity: String(issuer ?? ''), names: [], claims }
}
