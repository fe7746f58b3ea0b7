import { githubServer } from '../../identity/claims.ts'
import type { KnownSubject } from '../sessions/subject.ts'
import { refuseLogin } from './refusal.ts'
import { kindOf, type LoginIssuerSettings, type LoginSettings } from './settings.ts'

/** Somebody as their issuer describes them now. */
export interface Account {
  /** Never changes, and is nobody else's there. */
  id: string
  login: string
  groups: readonly string[]
}

/** How people of one issuer are called here. */
export interface Naming {
  /** The issuer, as the ledger has it. */
  identity: string
  /** `@gitlab` in the policy, where several issuers are configured. */
  inPolicy: string
  /** The same for ledger and gates: empty for the issuer of the jobs, whose names they know. */
  inLedger: string
  /** Whether the ids are those in the ID tokens of jobs. */
  sameIds: boolean
}

/**
 * `user:li` of one issuer must not be `user:li` of another: with several, the policy writes
 * `user:li@gitlab`. Gates and four eyes compare people with those whom the tokens of jobs name: people
 * of that issuer are called the same there.
 */
export function namingOf(
  name: string,
  { issuers }: Pick<LoginSettings, 'issuers'>,
  jobIssuers: readonly string[],
): Naming {
  const settings = issuers[name] as LoginIssuerSettings
  const identity = withoutSlash(settings.issuer)
  const sameIds = jobIssuers.some((issuer) => serverOf(issuer, settings) === identity)
  const mark = Object.keys(issuers).length > 1 ? `@${name}` : ''
  return { identity, inPolicy: mark, inLedger: sameIds ? '' : mark, sameIds }
}

/** The issuer of GitHub's ID tokens is not where its people log in. */
function serverOf(jobIssuer: string, settings: LoginIssuerSettings): string {
  const url = withoutSlash(jobIssuer)
  return kindOf(settings) === 'github' ? (githubServer(url) ?? url) : url
}

const withoutSlash = (url: string) => url.replace(/\/+$/, '')

/** What a grant can name (WHO of src/policy/subject.ts). */
const NAMEABLE = /^[^\s:#*\p{C}]{1,255}$/u

/** The subject of the policy, and the person of ledger and gates. */
export function subjectOf({ id, login, groups }: Account, naming: Naming): KnownSubject {
  const { identity, inPolicy, inLedger, sameIds } = naming
  if (!NAMEABLE.test(login)) throw refuseLogin('login-name')
  const known = groups.filter((group) => NAMEABLE.test(group))
  const by = `${login}${inLedger}`
  const ledgerId = sameIds ? id : undefined
  return {
    project: id,
    subject: {
      kind: 'person',
      name: by,
      by,
      byId: id,
      identity,
      names: [`user:${login}${inPolicy}`, ...known.map((group) => `group:${group}${inPolicy}`)],
    },
    person: {
      login: by,
      id: ledgerId,
      mail: undefined,
      groups: known.map((group) => `${group}${inLedger}`),
      identity,
      project: id,
      actsInPerson: true,
      job: undefined,
    },
  }
}

/** Whether somebody is in one of the groups that may log in. */
export function mayLogIn({ groups }: Account, { groups: wanted }: LoginIssuerSettings): boolean {
  return wanted === undefined || wanted.some((group) => groups.includes(group))
}
