import { isDirty } from '../core/git/commit.ts'
import { isOfScan, SCANNER } from '../core/scanner.ts'
import { groupOf, isListed, maybeOne, oneOf, type Person, personIn, personOf } from './people.ts'
import type { GateSettings } from './settings.ts'

export interface ReleaseFact {
  app: string
  version: string
  digest: string
  /** Where it ends with a mark, files were built that are in no commit (core/commit.ts). */
  commit?: string | undefined
  /** Of the commit: a login, a mail address, or `Name <mail>`. */
  author: string | undefined
  bakedBy: string
  /** How it is known who baked it, and the id and mail that the signed token told. */
  bakedIdentity?: string | undefined
  bakedById?: string | undefined
  bakedByMail?: string | undefined
}

/** One person's word on a release in an environment; the ledger's approvals are such. */
export interface ApprovalFact {
  by: string
  /** The id and mail that the signed token told. */
  byId?: string | undefined
  byMail?: string | undefined
  /** Groups the person is in, as their signed token said. */
  groups?: readonly string[] | undefined
  digest: string
  /** The config that was looked at; undefined where none was. */
  configRevision?: string | undefined
  /** Why nothing proves any more that it was said; undefined: it is proven. */
  unproven?: string | undefined
  /** ISO 8601. */
  at: string
  /** How it is known who it was; `unverified` when it is not. */
  identity: string
  decision: 'approved' | 'rejected'
  reason?: string | undefined
}

/** The config revision of a word about the image alone, as a scanner's is. */
export const ANY_CONFIG = 'any'

interface Facts<A extends ApprovalFact> {
  release: ReleaseFact
  environment: string
  /** What is about to be deployed; undefined where the environment runs with it already. */
  configRevision: string | undefined
  approvals: readonly A[]
  deployer: string
}

/** Why an approval does not count; undefined when it does. */
type Fault = string | undefined

/**
 * Counts the approvals. Only words on exactly this digest count, and of each person the newest (of
 * two at the same time, the rejection). An approval counts for the config it was given for, unless
 * the gate follows the config. A rejection counts of whoever is on the list, the author and the
 * baker too; without a list, of anybody. Groups are believed of signed identities only.
 */
export function evaluateApprovals<A extends ApprovalFact>(
  gate: GateSettings,
  facts: Facts<A>,
  allowUnverified: boolean,
): { problems: string[]; counted: A[]; mayApprove: string; lacksApproval: boolean } {
  const { release, environment } = facts
  const words = facts.approvals.filter(
    ({ digest, identity, unproven }) =>
      digest === release.digest &&
      (allowUnverified || isSigned(identity)) &&
      unproven === undefined,
  )
  const counted = newestOfEach(words.filter((word) => isOfConfig(gate, facts, word))).filter(
    (word) =>
      word.decision === 'approved' &&
      mayStand(gate, word) &&
      barredAs(gate, release, whoSaid(word)) === undefined,
  )
  const rejections = newestOfEach(words).filter(
    (word) => word.decision === 'rejected' && mayStand(gate, word),
  )
  const missing = gate.approvals - counted.length
  return {
    counted,
    mayApprove: describeApprovers(gate, release),
    lacksApproval: missing > 0,
    problems: [
      ...rejections.map(
        ({ by, at, reason }) =>
          `${by} rejected ${nameOf(release)} for ${environment} at ${at} (${oneLine(reason)}): deploy another version, or let ${by} approve this one.`,
      ),
      ...unknownMakers(gate, release, allowUnverified),
      ...(missing > 0 ? [needed(gate, facts, counted, missing)] : []),
      ...(missing > 0 ? idle(gate, facts, counted, allowUnverified) : []),
    ],
  }
}

/** Whether a word is about the config as well; a rejection is, whatever that is. */
function isOfConfig(
  gate: GateSettings,
  { configRevision }: Pick<Facts<ApprovalFact>, 'configRevision'>,
  word: ApprovalFact,
): boolean {
  if (gate.config === 'follow' || configRevision === undefined) return true
  if (word.decision === 'rejected' || word.configRevision === ANY_CONFIG) return true
  return word.configRevision === configRevision
}

function isSigned(identity: string): boolean {
  return identity !== 'unverified' && identity !== ''
}

function mayStand({ approvers }: GateSettings, word: ApprovalFact) {
  const groups = isSigned(word.identity) ? (word.groups ?? []) : []
  return approvers === undefined || isListed(approvers, whoSaid(word), groups)
}

function whoSaid(word: ApprovalFact): Person {
  const { by, byId, byMail } = word
  return isOfScan(word) ? { login: by, service: true } : { login: by, id: byId, mail: byMail }
}

/** What four eyes say against a person: `wrote it`, `baked it`. */
function barredAs(gate: GateSettings, release: ReleaseFact, person: Person): Fault {
  if (!gate['four-eyes']) return undefined
  const { author = '', bakedBy, bakedById, bakedByMail } = release
  const deeds = [
    ...(maybeOne(person, { login: author }) ? ['wrote it'] : []),
    ...(maybeOne(person, { login: bakedBy, id: bakedById, mail: bakedByMail }) ? ['baked it'] : []),
  ]
  return deeds.length === 0 ? undefined : deeds.join(' and ')
}

function newestOfEach<A extends ApprovalFact>(words: readonly A[]): A[] {
  const newest = new Map<string, A>()
  const keyOf = keysOf(words)
  for (const word of words) {
    const known = newest.get(keyOf(word))
    if (known === undefined || isNewer(word, known)) newest.set(keyOf(word), word)
  }
  return [...newest.values()]
}

/**
 * One key a person: a new name gives no second vote. A word without an id is of whoever had that
 * name. A scan has a key that no person has: nobody's login begins with a blank.
 */
function keysOf(words: readonly ApprovalFact[]): (word: ApprovalFact) => string {
  const ids = new Map<string, string>()
  for (const { login, id } of words.map(whoSaid)) {
    if (id !== undefined) ids.set(personOf(login), id)
  }
  return (word) => {
    const { login, service, id = ids.get(personOf(login)) } = whoSaid(word)
    if (service) return ` ${personOf(login)}`
    return id === undefined ? personOf(login) : `#${id}`
  }
}

function isNewer(word: ApprovalFact, known: ApprovalFact): boolean {
  const [time, before] = [Date.parse(word.at), Date.parse(known.at)]
  if (time !== before) return time > before
  return word.decision === 'rejected' || known.decision === 'approved'
}

/** Without a name four eyes could be one person's. */
function unknownMakers(
  gate: GateSettings,
  release: ReleaseFact,
  allowUnverified: boolean,
): string[] {
  if (!gate['four-eyes'] || gate.approvals === 0) return []
  if (isDirty(release.commit)) {
    return [
      `${nameOf(release)} was built with files that are in no commit (${release.commit}), so four-eyes cannot tell who wrote them: commit them and build again, or set four-eyes to false.`,
    ]
  }
  const unknown = [
    ...(release.author?.trim() ? [] : ['wrote']),
    ...(release.bakedBy.trim() ? [] : ['baked']),
  ]
  if (unknown.length === 0) {
    if (allowUnverified || isSigned(release.bakedIdentity ?? '')) return []
    return [
      `no signed ID token says who baked ${nameOf(release)}, so four-eyes cannot be judged: let the job that pushes the image have one, and release again, or set four-eyes to false.`,
    ]
  }
  return [
    `nobody is recorded as the one who ${unknown.join(' and ')} ${nameOf(release)}, so four-eyes cannot be judged: bake it in a pipeline that knows, or set four-eyes to false.`,
  ]
}

function needed<A extends ApprovalFact>(
  gate: GateSettings,
  { release, environment, deployer }: Facts<A>,
  counted: readonly A[],
  missing: number,
): string {
  const more = `${missing} more ${missing === 1 ? 'approval' : 'approvals'}`
  const need = `${nameOf(release)} needs ${more} for ${environment}`
  const command = `\`crosscloud approve --release ${nameOf(release)} --env ${environment} --reason …\``
  if (gate.approvers === undefined) {
    return `${need}, by ${describeApprovers(gate, release, counted)}: ${command}`
  }
  const entries = new Map(gate.approvers.map((entry) => [personOf(entry), entry]))
  const left = [...entries.values()].filter((entry) => mayStillSpeak(gate, release, counted, entry))
  const people = left.filter((entry) => groupOf(entry) === undefined)
  if (people.length === left.length && people.length < missing) {
    const few = people.length === 0 ? 'nobody on the list' : `only ${oneOf(people)}`
    return `${need}, but ${few} may still give one: name more approvers in its gate, or ask for fewer.`
  }
  const names = left.map((entry) =>
    personOf(personIn(entry).login) === personOf(deployer) ? `${entry} (you)` : showApprover(entry),
  )
  return `${need}, by ${oneOf(names)}: ${command}`
}

/** Groups always may: who is in them is not known here. */
function mayStillSpeak(
  gate: GateSettings,
  release: ReleaseFact,
  counted: readonly ApprovalFact[],
  entry: string,
): boolean {
  if (groupOf(entry) !== undefined) return true
  const person = personIn(entry)
  const spoke = counted.some((word) => isListed([entry], whoSaid(word), []))
  return !spoke && barredAs(gate, release, person) === undefined
}

/** The approvals that somebody gave in vain, while there are too few. */
function idle<A extends ApprovalFact>(
  gate: GateSettings,
  facts: Facts<A>,
  counted: readonly A[],
  allowUnverified: boolean,
): string[] {
  const { release, approvals } = facts
  const keyOf = keysOf(approvals)
  const people = new Set<string>(counted.map(keyOf))
  const rejected = newestOfEach(approvals).filter(({ decision }) => decision === 'rejected')
  for (const word of rejected) people.add(keyOf(word))
  const given = approvals.filter(({ decision }) => decision === 'approved')
  return newestOfEach(given.filter((word) => !people.has(keyOf(word)))).map((word) => {
    const why = faultOf(gate, facts, word, allowUnverified)
    return `the approval of ${nameOf(release)} by ${word.by} does not count, ${why}.`
  })
}

function faultOf(
  gate: GateSettings,
  facts: Facts<ApprovalFact>,
  word: ApprovalFact,
  allowUnverified: boolean,
): string {
  const { release, environment } = facts
  if (word.digest !== release.digest) {
    return `it is for another image (${word.digest.slice(0, 19)}): look at this one, and approve it anew`
  }
  if (!allowUnverified && !isSigned(word.identity)) {
    return 'no signed ID token says who that was: approve in a job that has one'
  }
  if (word.unproven !== undefined) return word.unproven
  const barred = barredAs(gate, release, whoSaid(word))
  if (barred !== undefined) return `${word.by} ${barred}: let somebody else approve`
  if (mayStand(gate, word) && !isOfConfig(gate, facts, word)) {
    if (word.configRevision === undefined) return 'it says nothing of the config: approve anew'
    const look = `\`crosscloud config history --env ${environment}\``
    return `the config has changed since ${word.by} approved: look at what changed (${look}), and approve anew`
  }
  if (isNamedAsScanner(gate, word)) {
    return 'an account of that name is not the scanner: write its id into approvers, as `login#id`'
  }
  const groups = gate.approvers?.some((entry) => groupOf(entry) !== undefined) ?? false
  if (groups && !isSigned(word.identity)) {
    return `only a signed ID token says in which groups ${word.by} is: approve in a job that has one`
  }
  return `${word.by} is not among the approvers: ask ${oneOf((gate.approvers ?? []).map(showApprover))}`
}

function isNamedAsScanner({ approvers = [] }: GateSettings, word: ApprovalFact): boolean {
  if (isOfScan(word) || personOf(word.by) !== SCANNER) return false
  return approvers.some((entry) => personOf(entry) === SCANNER)
}

function showApprover(entry: string): string {
  const group = groupOf(entry)
  return group === undefined ? entry : `a member of ${group}`
}

/** Who may approve a release, without those who have. */
function describeApprovers(
  gate: GateSettings,
  release: ReleaseFact,
  counted: readonly ApprovalFact[] = [],
): string {
  const { approvers } = gate
  const isGroup = (entry: string) => groupOf(entry) !== undefined
  const able = approvers?.filter((one) => isGroup(one) || !barredAs(gate, release, personIn(one)))
  const who = able === undefined ? 'anybody' : oneOf(able.map(showApprover)) || 'nobody on the list'
  // With a list of logins alone, whoever may not is not on it.
  if (approvers !== undefined && !approvers.some(isGroup)) return who
  const makers = gate['four-eyes'] ? [release.author, release.bakedBy] : []
  const not = [...makers, ...counted.map(({ by }) => by)].filter((name) => name?.trim())
  return not.length === 0 ? who : `${who}, but not ${oneOf([...new Set(not.map(oneLine))])}`
}

export function nameOf({ app, version }: ReleaseFact): string {
  return `${app}@${version}`
}

/** Somebody's words within a sentence. */
export function oneLine(text: string | undefined): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: words must not steer a terminal
  return text?.replace(/[\s\x00-\x1f\x7f-\x9f]+/g, ' ').trim() || 'no reason given'
}
