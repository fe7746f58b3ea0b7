import { isOfScan } from '../core/scanner.ts'
import { ANY_CONFIG, type ApprovalFact, type ApprovalFacts, type ReleaseFact } from './facts.ts'
import { isListed, mayBeSamePerson, type Person, personOf } from './people.ts'
import type { GateSettings } from './settings.ts'

/** Whether a vote counts for this config; a rejection counts for any. */
export function isOfConfig(
  gate: GateSettings,
  { configRevision }: Pick<ApprovalFacts<ApprovalFact>, 'configRevision'>,
  vote: ApprovalFact,
): boolean {
  if (gate.config === 'follow' || configRevision === undefined) return true
  if (vote.decision === 'rejected' || vote.configRevision === ANY_CONFIG) return true
  return vote.configRevision === configRevision
}

export function isSigned(identity: string): boolean {
  return identity !== 'unverified' && identity !== ''
}

export function isByApprover({ approvers }: GateSettings, vote: ApprovalFact) {
  const groups = isSigned(vote.identity) ? (vote.groups ?? []) : []
  return approvers === undefined || isListed(approvers, voterOf(vote), groups)
}

export function voterOf(vote: ApprovalFact): Person {
  const { by, byId, byMail } = vote
  return isOfScan(vote) ? { login: by, service: true } : { login: by, id: byId, mail: byMail }
}

/** What keeps a person from approving where four eyes are asked for: `wrote it`, `baked it`. */
export function exclusionOf(
  gate: GateSettings,
  release: ReleaseFact,
  person: Person,
): string | undefined {
  if (!gate['four-eyes']) return undefined
  const { author = '', bakedBy, bakedById, bakedByMail } = release
  const deeds = [
    ...(mayBeSamePerson(person, { login: author }) ? ['wrote it'] : []),
    ...(mayBeSamePerson(person, { login: bakedBy, id: bakedById, mail: bakedByMail })
      ? ['baked it']
      : []),
  ]
  return deeds.length === 0 ? undefined : deeds.join(' and ')
}

export function newestOfEach<A extends ApprovalFact>(votes: readonly A[]): A[] {
  const newest = new Map<string, A>()
  const keyOf = keysOf(votes)
  for (const vote of votes) {
    const known = newest.get(keyOf(vote))
    if (known === undefined || isNewer(vote, known)) newest.set(keyOf(vote), vote)
  }
  return [...newest.values()]
}

/**
 * One key a person: a new name gives no second vote. A vote without an id belongs to the account
 * that has that name. A scan has a key that no person has: nobody's login begins with a blank.
 */
export function keysOf(votes: readonly ApprovalFact[]): (vote: ApprovalFact) => string {
  const ids = new Map<string, string>()
  for (const { login, id } of votes.map(voterOf)) {
    if (id !== undefined) ids.set(personOf(login), id)
  }
  return (vote) => {
    const { login, service, id = ids.get(personOf(login)) } = voterOf(vote)
    if (service) return ` ${personOf(login)}`
    return id === undefined ? personOf(login) : `#${id}`
  }
}

function isNewer(vote: ApprovalFact, known: ApprovalFact): boolean {
  const [time, before] = [Date.parse(vote.at), Date.parse(known.at)]
  if (time !== before) return time > before
  return vote.decision === 'rejected' || known.decision === 'approved'
}
