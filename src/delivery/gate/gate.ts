import { StepError } from '../../core/errors.ts'
import { type BeforeFact, bringCommand, type Evaluation, evaluateGate } from '../../gate/rules.ts'
import { APPROVED_THERE } from '../../identity/claims.ts'
import type { Who } from '../../identity/who.ts'
import { pageThrough } from '../../ledger/history.ts'
import type { Approval, ApprovalStart, Deployment, Ledger, Release } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { Context } from '../context.ts'
import { formatRelease } from '../release-name.ts'

interface Passage {
  release: Release
  environment: EnvironmentSettings
  /** The config that is about to be deployed; undefined where approvals need not be for one. */
  configRevision: string | undefined
}

/** A release may go on only after it ran, verified, in the environment before. */
export async function requireRunBefore(
  release: Release,
  { from: before }: EnvironmentSettings,
  context: Context,
): Promise<void> {
  if (before === undefined) return
  const [newest] = await (await context.ledger()).deployments({
    app: release.app,
    version: release.version,
    environment: before,
    state: 'succeeded',
    limit: 1,
  })
  if (newest?.verified) return
  const name = formatRelease(release)
  const earlier = (await context.environment(before)).from
  throw new StepError('GATE_CLOSED', `${name} has not run, verified, in ${before}`, {
    hint: `Run \`${bringCommand(name, before, earlier)}\` first.`,
  })
}

/** Where a gate stands, whoever deploys must be known as well: a token for another job is refused. */
export function identifyDeployer(
  { name, gate }: EnvironmentSettings,
  context: Context,
): Promise<Who> {
  return context.identify(name, { required: gate !== undefined, strict: false })
}

/** GATE_CLOSED with all that is missing; else the ids of the approvals that opened the gate. */
export async function passGate(passage: Passage, who: Who, context: Context): Promise<string[]> {
  const platform = await platformWords(passage, who, context)
  const evaluation = await judge(passage, who, platform, context)
  if (evaluation === undefined) return []
  const name = formatRelease(passage.release)
  const { environment } = passage
  if (evaluation.open) {
    const by = evaluation.counted.map((one) => one.by).join(', ')
    context.log.info(`the gate of ${environment.name} is open for ${name}${by && `, by ${by}`}`)
    return await idsOf(passage, evaluation.counted, await context.ledger())
  }
  const title = `the gate of ${environment.name} is closed for ${name}`
  throw new StepError('GATE_CLOSED', [title, ...evaluation.problems].join('\n'), {
    hint: evaluation.lacksApproval
      ? `${evaluation.mayApprove} may approve. Then run this job again.`
      : 'Put that right, then run this job again.',
  })
}

/** Words that the ledger does not have yet. */
const ELSEWHERE = 'elsewhere'

/** The ledger keeps, once, what was said on GitLab as soon as it let a deployment in. */
async function idsOf(
  { release: { app, version }, environment }: Passage,
  counted: readonly Word[],
  ledger: Ledger,
): Promise<string[]> {
  const isNew = counted.some(({ id }) => id === ELSEWHERE)
  const known = isNew ? await ledger.approvals(app, environment.name, version) : []
  const ids: string[] = []
  for (const { id, at: _at, unproven: _proven, ...word } of counted) {
    if (id !== ELSEWHERE) ids.push(id)
    else ids.push((known.find(isSame(word)) ?? (await ledger.recordApproval(word))).id)
  }
  return ids
}

const isSame = (word: ApprovalStart) => (known: Approval) =>
  (['by', 'byId', 'identity', 'digest', 'configRevision', 'decision'] as const).every(
    (fact) => known[fact] === word[fact],
  )

/**
 * GitLab's own approvals of this very job. Which job that is, and of which commit, its signed token
 * tells; a job that was turned on another release than its commit's gets none. Nobody sees a config
 * there: they are for what this job finds when it deploys.
 */
async function platformWords(
  { release, environment, configRevision }: Passage,
  { job, identity }: Who,
  context: Context,
): Promise<Approval[]> {
  if (!environment.gate?.['platform-approvals'] || job === undefined) return []
  if (release.commit === undefined || release.commit !== job.sha) return []
  const words = await context.platformApprovals(job.id, environment.name)
  return words.map(({ by, byId, decision, reason, at }) => ({
    ...{ id: ELSEWHERE, app: release.app, environment: environment.name, version: release.version },
    ...{ digest: release.digest, decision, by, byId, byMail: undefined, tokenHash: undefined },
    ...{ groups: [], reason, at, configRevision },
    identity: `${identity}${APPROVED_THERE}`,
  }))
}

/** How the gate stands, with approvals that are about to be given; undefined where there is none. */
export async function judge(
  { release, environment, configRevision }: Passage,
  who: Who,
  more: readonly Approval[],
  context: Context,
): Promise<Evaluation<Word> | undefined> {
  const { gate, name, from } = environment
  if (gate === undefined) return undefined
  const ledger = await context.ledger()
  const { identity } = await context.settings()
  const given = await wordsOn({ release, environment }, context)
  const unsigned = await ledger.unsigned({ app: release.app, environment: name })
  return evaluateGate<Word>(
    gate,
    {
      release,
      environment: name,
      configRevision,
      approvals: [...given, ...more],
      before: from === undefined ? undefined : await runBefore(release, from, context),
      unsigned,
      now: new Date(),
      deployer: who.login,
    },
    { allowUnverified: identity === 'unverified' },
  )
}

/** An approval, and why it counts for nothing where it does. */
type Word = Approval & { unproven?: string | undefined }

/** What was said of a release. What lets it in must be proven each time; a rejection counts anyhow. */
async function wordsOn(
  {
    release: { app, version, digest },
    environment: { name, gate },
  }: Omit<Passage, 'configRevision'>,
  context: Context,
): Promise<Word[]> {
  const ledger = await context.ledger()
  const { identity } = await context.settings()
  if (identity === 'unverified' || gate?.approvals === 0) {
    return await ledger.approvals(app, name, version)
  }
  const words: Word[] = []
  for (const word of await ledger.provenApprovals(app, name, version)) {
    const { approval } = word
    const mayCount =
      approval.decision === 'approved' &&
      approval.digest === digest &&
      approval.identity !== 'unverified'
    const unproven = mayCount ? await context.doubt(name, word) : undefined
    words.push({ ...approval, unproven })
  }
  return words
}

/** How long the release ran in the environment before, the last time it did. */
async function runBefore(
  { app, version, digest }: Release,
  environment: string,
  context: Context,
): Promise<BeforeFact> {
  const ledger = await context.ledger()
  const { from } = await context.environment(environment)
  const query = { app, environment, state: 'succeeded' } as const
  const newer: Deployment[] = []
  const run: Deployment[] = []
  const succeeded = pageThrough((page) => ledger.deployments({ ...query, ...page }))
  for await (const deployment of succeeded) {
    if (deployment.version === version && deployment.digest === digest) run.push(deployment)
    else if (run.length > 0) break
    else newer.push(deployment)
  }
  return { ...told(environment, run, newer), from }
}

/** Newest first, both: deployments of the release with none of another between, and those since. */
function told(environment: string, run: Deployment[], newer: Deployment[]): BeforeFact {
  return {
    environment,
    finishedAt: run.at(-1)?.finishedAt,
    verified: run.some(({ verified }) => verified),
    replacedAt: newer.at(-1)?.startedAt,
  }
}
