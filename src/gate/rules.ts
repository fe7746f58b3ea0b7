import { evaluateApprovals } from './approvals.ts'
import { type UnsignedFact, unsignedProblems } from './break-glass.ts'
import { showDuration } from './calendar.ts'
import { type ApprovalFact, nameOf, type ReleaseFact } from './facts.ts'
import { describeFreeze, freezesAt } from './freeze.ts'
import type { GateSettings } from './settings.ts'

/** All that a gate is evaluated by. Times are ISO 8601. */
export interface GateFacts<A extends ApprovalFact = ApprovalFact> {
  release: ReleaseFact
  environment: string
  /** The config that is about to be deployed; undefined where the environment runs with it already. */
  configRevision: string | undefined
  /** The votes on this release in this environment, in any order. */
  approvals: readonly A[]
  /** The environment before this one; undefined when this one is the first. */
  before?: BeforeFact | undefined
  /** Deployments there that broke the glass, and that no second person has signed off. */
  unsigned?: readonly UnsignedFact[] | undefined
  now: Date
  /** Login of who wants to deploy. */
  deployer: string
}

/** How a release did in the environment before. */
export interface BeforeFact {
  environment: string
  /** Where releases come to it from; undefined for the first one. */
  from?: string | undefined
  /** When the last deployment of this digest that succeeded there ended; undefined: none did. */
  finishedAt?: string | undefined
  verified?: boolean | undefined
  /** When another release took its place there. */
  replacedAt?: string | undefined
}

export interface GateOptions {
  /** Whether a vote without a signed identity counts; default no. */
  allowUnverified?: boolean | undefined
}

export interface Evaluation<A extends ApprovalFact = ApprovalFact> {
  open: boolean
  /** Whether one more approval would help. */
  lacksApproval: boolean
  /** All that keeps the gate closed: one plain sentence each, with what to do next. */
  problems: string[]
  /** The approvals that count, one a person. */
  counted: A[]
  /** The rejections that count, one a person. */
  rejections: A[]
  /** `ops-li or a member of team/ops, but not dev-zhang, who wrote it`. */
  mayApprove: string
}

/** Whether a release may be deployed to an environment now. */
export function evaluateGate<A extends ApprovalFact>(
  gate: GateSettings,
  facts: GateFacts<A>,
  { allowUnverified = false }: GateOptions = {},
): Evaluation<A> {
  const evaluated = evaluateApprovals(gate, facts, allowUnverified)
  const { problems, ...votes } = evaluated
  const all = [
    ...unsignedProblems(facts),
    ...freezeProblems(gate, facts),
    ...beforeProblems(gate, facts),
    ...problems,
  ]
  return { ...votes, open: all.length === 0, problems: all }
}

function freezeProblems({ freeze }: GateSettings, { environment, now }: GateFacts): string[] {
  return freezesAt(freeze, now).map((active) => {
    const next = active.until === undefined ? 'change freeze in its gate' : 'deploy after that'
    return `${describeFreeze(environment, active)}: ${next}.`
  })
}

/** How a release gets to an environment: from the one before it, or, of the first one, by itself. */
export function bringCommand(release: string, environment: string, from: string | undefined) {
  return from === undefined
    ? `crosscloud deploy --release ${release} --env ${environment}`
    : `crosscloud promote --release ${release} --to ${environment}`
}

function beforeProblems(gate: GateSettings, facts: GateFacts): string[] {
  const { release, environment, before, now } = facts
  const name = nameOf(release)
  if (gate.soak === undefined && !gate.verified) return []
  if (before === undefined) {
    if (gate.soak === undefined) return []
    return [
      `the gate of ${environment} asks for a soak, but no environment comes before it: write "from" under ${environment}, or take soak away.`,
    ]
  }
  const { environment: previous, from, verified = false, finishedAt, replacedAt } = before
  const soak = gate.soak === undefined ? '' : ` and let it run for ${showDuration(gate.soak)}`
  const deploy = `\`${bringCommand(name, previous, from)}\``
  if (finishedAt === undefined) {
    return [`${name} has not been deployed to ${previous}: do that first${soak}: ${deploy}`]
  }
  if (gate.verified && !verified) {
    return [`${name} was not verified in ${previous}: deploy it there again${soak}: ${deploy}`]
  }
  if (gate.soak === undefined) return []
  const start = Date.parse(finishedAt)
  const replaced = replacedAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(replacedAt)
  // Written so that a time which cannot be read keeps the gate closed.
  if (Math.min(now.getTime(), replaced) - start >= gate.soak) return []
  const must = `and must run there for ${showDuration(gate.soak)}`
  if (replacedAt !== undefined) {
    return [
      `another release took the place of ${name} in ${previous} at ${replacedAt}, too early, as it ran there since ${finishedAt} ${must}: ${deploy}`,
    ]
  }
  const end = Number.isNaN(start) ? undefined : new Date(start + gate.soak)
  return [
    `${name} runs in ${previous} since ${finishedAt} ${must}: deploy it ${end ? `after ${end.toISOString()}` : 'there again'}.`,
  ]
}
