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
  /** The config that is about to be deployed; undefined where approvals need not name it. */
  configRevision: string | undefined
}

/** A release may go on only after it ran, verified, in the environment before. */
export async function requireVerifiedUpstream(
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

/** At a gate the deployer must be known, too: a token for another job is refused. */
export function identifyDeployer(
  { name, gate }: EnvironmentSettings,
  context: Context,
): Promise<Who> {
  return context.identify(name, { required: gate !== undefined, strict: false })
}

/** GATE_CLOSED with all that is missing; else the approvals of GitLab that opened it are recorded. */
export async function passGate(passage: Passage, who: Who, context: Context): Promise<void> {
  await recordCounted(passage, await openGate(passage, who, context), await context.ledger())
}

/** GATE_CLOSED with all that is missing; else the approvals that opened the gate. It only reads. */
export async function openGate(
  passage: Passage,
  who: Who,
  context: Context,
): Promise<CountedApproval[]> {
  const platform = await platformApprovals(passage, who, context)
  const evaluation = await evaluate(passage, who, platform, context)
  if (evaluation === undefined) return []
  const name = formatRelease(passage.release)
  const { environment } = passage
  if (evaluation.open) {
    const by = evaluation.counted.map(({ by }) => by).join(', ')
    context.log.info(`the gate of ${environment.name} is open for ${name}${by && `, by ${by}`}`)
    return evaluation.counted
  }
  const title = `the gate of ${environment.name} is closed for ${name}`
  throw new StepError('GATE_CLOSED', [title, ...evaluation.problems].join('\n'), {
    hint: evaluation.lacksApproval
      ? `${evaluation.mayApprove} may approve. Then run this job again.`
      : 'Put that right, then run this job again.',
  })
}

/** The id of approvals that the ledger does not have yet. */
const NOT_IN_LEDGER = 'elsewhere'

/** The ids of these approvals; one of GitLab is recorded, once, as soon as it admits a deployment. */
export async function recordCounted(
  { release: { app, version }, environment }: Pick<Passage, 'release' | 'environment'>,
  counted: readonly CountedApproval[],
  ledger: Ledger,
): Promise<string[]> {
  const isNew = counted.some(({ id }) => id === NOT_IN_LEDGER)
  const known = isNew ? await ledger.approvals(app, environment.name, version) : []
  const ids: string[] = []
  for (const { id, at: _at, unproven: _proven, ...approval } of counted) {
    if (id !== NOT_IN_LEDGER) ids.push(id)
    else ids.push((known.find(isSame(approval)) ?? (await ledger.recordApproval(approval))).id)
  }
  return ids
}

const isSame = (approval: ApprovalStart) => (known: Approval) =>
  (['by', 'byId', 'identity', 'digest', 'configRevision', 'decision'] as const).every(
    (fact) => known[fact] === approval[fact],
  )

/**
 * GitLab's own approvals of this very job. Its signed token states which job that is, and of which
 * commit; a job for another release than its commit's gets none. GitLab shows nobody a config: they
 * are for the config that this job finds when it deploys.
 */
async function platformApprovals(
  { release, environment, configRevision }: Passage,
  { job, identity }: Who,
  context: Context,
): Promise<Approval[]> {
  if (!environment.gate?.['platform-approvals'] || job === undefined) return []
  if (release.commit === undefined || release.commit !== job.sha) return []
  const approvals = await context.platformApprovals(job.id, environment.name)
  return approvals.map(({ by, byId, decision, reason, at }) => ({
    id: NOT_IN_LEDGER,
    app: release.app,
    environment: environment.name,
    version: release.version,
    digest: release.digest,
    decision,
    by,
    byId,
    byMail: undefined,
    tokenHash: undefined,
    groups: [],
    reason,
    at,
    configRevision,
    identity: `${identity}${APPROVED_THERE}`,
  }))
}

/** How the gate stands, with approvals that are about to be given; undefined where there is none. */
export async function evaluate(
  { release, environment, configRevision }: Passage,
  who: Who,
  more: readonly Approval[],
  context: Context,
): Promise<Evaluation<CountedApproval> | undefined> {
  const { gate, name, from } = environment
  if (gate === undefined) return undefined
  const ledger = await context.ledger()
  const { identity } = await context.settings()
  const given = await approvalsOf({ release, environment }, context)
  const unsigned = await ledger.unsigned({ app: release.app, environment: name })
  return evaluateGate<CountedApproval>(
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
export type CountedApproval = Approval & { unproven?: string | undefined }

/** All approvals of a release. Those that admit it must be proven each time; a rejection counts anyway. */
async function approvalsOf(
  {
    release: { app, version, digest },
    environment: { name, gate },
  }: Omit<Passage, 'configRevision'>,
  context: Context,
): Promise<CountedApproval[]> {
  const ledger = await context.ledger()
  const { identity } = await context.settings()
  if (identity === 'unverified' || gate?.approvals === 0) {
    return await ledger.approvals(app, name, version)
  }
  const checked: CountedApproval[] = []
  for (const proven of await ledger.provenApprovals(app, name, version)) {
    const { approval } = proven
    const mayCount =
      approval.decision === 'approved' &&
      approval.digest === digest &&
      approval.identity !== 'unverified'
    const unproven = mayCount ? await context.doubt(name, proven) : undefined
    checked.push({ ...approval, unproven })
  }
  return checked
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
  for await (const past of succeeded) {
    const isOurs = past.version === version && past.digest === digest
    if (isOurs) run.push(past)
    else if (run.length > 0) break
    else newer.push(past)
  }
  return {
    environment,
    // Newest first, both: deployments of the release with no other between, and those since.
    finishedAt: run.at(-1)?.finishedAt,
    verified: run.some(({ verified }) => verified),
    replacedAt: newer.at(-1)?.startedAt,
    from,
  }
}
