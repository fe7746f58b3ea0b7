import { isDirty } from '../core/git/commit.ts'
import { isOfScan, SCANNER } from '../core/scanner.ts'
import {
  type ApprovalFact,
  type ApprovalFacts,
  nameOf,
  oneLine,
  type ReleaseFact,
} from './facts.ts'
import { groupOf, isListed, oneOf, personIn, personOf } from './people.ts'
import type { GateSettings } from './settings.ts'
import {
  exclusionOf,
  isByApprover,
  isOfConfig,
  isSigned,
  keysOf,
  newestOfEach,
  voterOf,
} from './votes.ts'

/**
 * Counts the votes. Only votes on exactly this digest count, and of each person the newest (of two
 * at the same time, the rejection). An approval counts for the config it was given for, unless
 * the gate follows the config. A rejection counts from everybody on the list, the author and
 * the baker too; without a list, from anybody. Groups count for signed identities only.
 */
export function evaluateApprovals<A extends ApprovalFact>(
  gate: GateSettings,
  facts: ApprovalFacts<A>,
  allowUnverified: boolean,
): {
  problems: string[]
  counted: A[]
  rejections: A[]
  mayApprove: string
  lacksApproval: boolean
} {
  const { release, environment } = facts
  const votes = facts.approvals.filter(
    ({ digest, identity, unproven }) =>
      digest === release.digest &&
      (allowUnverified || isSigned(identity)) &&
      unproven === undefined,
  )
  const counted = newestOfEach(votes.filter((vote) => isOfConfig(gate, facts, vote))).filter(
    (vote) =>
      vote.decision === 'approved' &&
      isByApprover(gate, vote) &&
      exclusionOf(gate, release, voterOf(vote)) === undefined,
  )
  const rejections = newestOfEach(votes).filter(
    (vote) => vote.decision === 'rejected' && isByApprover(gate, vote),
  )
  const missing = gate.approvals - counted.length
  return {
    counted,
    rejections,
    mayApprove: describeApprovers(gate, release),
    lacksApproval: missing > 0,
    problems: [
      ...rejections.map(
        ({ by, at, reason }) =>
          `${by} rejected ${nameOf(release)} for ${environment} at ${at} (${oneLine(reason)}): deploy another version, or let ${by} approve this one.`,
      ),
      ...unknownMakers(gate, release, allowUnverified),
      ...(missing > 0 ? [missingApprovals(gate, facts, counted, missing)] : []),
      ...(missing > 0 ? uncountedApprovals(gate, facts, counted, allowUnverified) : []),
    ],
  }
}

/** Without the author's or the baker's name four eyes could be one person's. */
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

function missingApprovals<A extends ApprovalFact>(
  gate: GateSettings,
  { release, environment, deployer }: ApprovalFacts<A>,
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
  const left = [...entries.values()].filter((entry) =>
    mayStillApprove(gate, release, counted, entry),
  )
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
function mayStillApprove(
  gate: GateSettings,
  release: ReleaseFact,
  counted: readonly ApprovalFact[],
  entry: string,
): boolean {
  if (groupOf(entry) !== undefined) return true
  const person = personIn(entry)
  const voted = counted.some((vote) => isListed([entry], voterOf(vote), []))
  return !voted && exclusionOf(gate, release, person) === undefined
}

/** The approvals that do not count, while there are too few. */
function uncountedApprovals<A extends ApprovalFact>(
  gate: GateSettings,
  facts: ApprovalFacts<A>,
  counted: readonly A[],
  allowUnverified: boolean,
): string[] {
  const { release, approvals } = facts
  const keyOf = keysOf(approvals)
  const people = new Set<string>(counted.map(keyOf))
  const rejected = newestOfEach(approvals).filter(({ decision }) => decision === 'rejected')
  for (const vote of rejected) people.add(keyOf(vote))
  const given = approvals.filter(({ decision }) => decision === 'approved')
  return newestOfEach(given.filter((vote) => !people.has(keyOf(vote)))).map((vote) => {
    const why = reasonNotCounted(gate, facts, vote, allowUnverified)
    return `the approval of ${nameOf(release)} by ${vote.by} does not count, ${why}.`
  })
}

function reasonNotCounted(
  gate: GateSettings,
  facts: ApprovalFacts<ApprovalFact>,
  vote: ApprovalFact,
  allowUnverified: boolean,
): string {
  const { release, environment } = facts
  if (vote.digest !== release.digest) {
    return `it is for another image (${vote.digest.slice(0, 19)}): look at this one, and approve it anew`
  }
  if (!allowUnverified && !isSigned(vote.identity)) {
    return 'no signed ID token says who that was: approve in a job that has one'
  }
  if (vote.unproven !== undefined) return vote.unproven
  const exclusion = exclusionOf(gate, release, voterOf(vote))
  if (exclusion !== undefined) return `${vote.by} ${exclusion}: let somebody else approve`
  if (isByApprover(gate, vote) && !isOfConfig(gate, facts, vote)) {
    if (vote.configRevision === undefined) return 'it says nothing of the config: approve anew'
    const look = `\`crosscloud config history --env ${environment}\``
    return `the config has changed since ${vote.by} approved: look at what changed (${look}), and approve anew`
  }
  if (isNamedAsScanner(gate, vote)) {
    return 'an account of that name is not the scanner: write its id into approvers, as `login#id`'
  }
  const groups = gate.approvers?.some((entry) => groupOf(entry) !== undefined) ?? false
  if (groups && !isSigned(vote.identity)) {
    return `only a signed ID token says in which groups ${vote.by} is: approve in a job that has one`
  }
  return `${vote.by} is not among the approvers: ask ${oneOf((gate.approvers ?? []).map(showApprover))}`
}

function isNamedAsScanner({ approvers = [] }: GateSettings, vote: ApprovalFact): boolean {
  if (isOfScan(vote) || personOf(vote.by) !== SCANNER) return false
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
  const able = approvers?.filter(
    (entry) => isGroup(entry) || !exclusionOf(gate, release, personIn(entry)),
  )
  const who = able === undefined ? 'anybody' : oneOf(able.map(showApprover)) || 'nobody on the list'
  // With a list of logins alone, whoever may not is not on it.
  if (approvers !== undefined && !approvers.some(isGroup)) return who
  const makers = gate['four-eyes'] ? [release.author, release.bakedBy] : []
  const not = [...makers, ...counted.map(({ by }) => by)].filter((name) => name?.trim())
  return not.length === 0 ? who : `${who}, but not ${oneOf([...new Set(not.map(oneLine))])}`
}
