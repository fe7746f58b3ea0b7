import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { duration } from '../core/settings/schema.ts'
import { recordedConfig } from '../delivery/config/environment-config.ts'
import type { Context } from '../delivery/context.ts'
import { deployUnderLock, underLock } from '../delivery/deployment/deployment.ts'
import { chooseHosts, type HostChoice } from '../delivery/deployment/host-choice.ts'
import { findInterruptedDeployment } from '../delivery/deployment/interrupted.ts'
import { addressLines, deployedOutputs, summarize } from '../delivery/deployment/outcome.ts'
import type { DeploymentRequest } from '../delivery/deployment/request.ts'
import { identifyActor } from '../delivery/gate/break-glass.ts'
import { findCurrent, findRelease } from '../delivery/release.ts'
import { formatRelease, type ReleaseName } from '../delivery/release-name.ts'
import {
  describeMark,
  findRollbackTarget,
  type RollbackTarget,
} from '../delivery/rollback-target.ts'
import { skippedRelease, skippedReleases } from '../delivery/skipped-release.ts'
import type { Deployment } from '../ledger/ledger.ts'
import type { EnvironmentSettings } from '../settings.ts'
import {
  acrossMigrationInput,
  breakGlassInput,
  planInput,
  releaseName,
  withoutInput,
} from './inputs.ts'
import { defineStep } from './step.ts'

export const rollback = defineStep({
  name: 'rollback',
  summary: 'Bring back what ran in an environment before, with its config of then or of now.',
  example: 'rollback --env production --reason "orders fail"',
  ci: { environment: 'change', identity: true },
  inputs: z.object({
    env: z.string().describe('Environment to bring back'),
    to: releaseName
      .optional()
      .describe('Release to go back to; default: the good one that ran before'),
    config: z
      .enum(['then', 'now'])
      .default('then')
      .describe('The config it ran with then, or that of now'),
    reason: z.string().min(1, 'is empty; say why').describe('What is wrong with what runs now'),
    force: z
      .boolean()
      .default(false)
      .describe('Go back to a release even if it is known to be bad there'),
    breakGlass: breakGlassInput,
    acrossMigration: acrossMigrationInput,
    without: withoutInput,
    lockWait: duration.optional().describe('How long to wait while somebody else deploys there'),
    plan: planInput,
  }),
  outputs: deployedOutputs.extend({
    left: z.string().describe('Release that was left behind'),
    marked: z.boolean().describe('Whether the release left behind is marked bad there now'),
    config: z.enum(['then', 'now']).describe('Whether its config is that of then or of now'),
    skipped: z
      .array(skippedReleases)
      .describe('Releases that ran since and were passed by, as they are marked bad there'),
  }),
  report: ({
    release,
    environment,
    left,
    marked,
    digest,
    warMd5,
    configRevision,
    config,
    ...more
  }) => [
    left === release
      ? `${release} runs in ${environment} with its config of before`
      : `${release} runs in ${environment} again; ${marked ? `${left} is marked bad there` : `the deployment of ${left} did not succeed, and marks nothing`}`,
    `Image    ${digest}`,
    `WAR MD5  ${warMd5}`,
    `Config   ${configRevision}, the one of ${config}`,
    ...addressLines(more),
  ],
  async run(inputs, context) {
    const { env, to, config, reason, breakGlass, lockWait = 0 } = inputs
    const environment = await context.environment(env)
    const settings = await context.settings()
    const { app } = settings
    const hosts = chooseHosts(environment, inputs.without, reason)
    await identifyActor({ environment, reason, breakGlass }, context)
    const place = { app, environment, hosts }
    // What to roll back is resolved before waiting for the lock.
    const meant = await findRunning(place, context)
    await findDeploymentToRestore(meant, { to, config }, context)
    const lock = { app, environment: env, reason: `rollback: ${reason}`, timeout: lockWait }
    return underLock(lock, context, async (lock) => {
      const now = await findRunning(place, context)
      refuseOther(meant.current, now.current)
      const request = await requestOf(now, place, inputs, context)
      const deployed = await deployUnderLock(request, lock, context)
      const left = formatRelease(now.left)
      const marked = request.bad !== undefined
      const skipped = request.skipped?.map(skippedRelease) ?? []
      return { ...summarize(request, deployed, settings), left, marked, config, skipped }
    })
  },
  async plan(inputs, context) {
    const environment = await context.environment(inputs.env)
    const hosts = chooseHosts(environment, inputs.without, inputs.reason)
    const place = { app: (await context.settings()).app, environment, hosts }
    const request = await requestOf(await findRunning(place, context), place, inputs, context)
    const { planDeployment } = await import('../delivery/plan/plan.ts')
    return planDeployment({ ...request, lockWait: inputs.lockWait }, context)
  },
})

interface Given
  extends Pick<DeploymentRequest, 'reason' | 'force' | 'breakGlass' | 'acrossMigration'> {
  to?: ReleaseName | undefined
  config: 'then' | 'now'
}

/** The deployment that goes back from what runs now. */
async function requestOf(
  now: Running,
  { environment, hosts }: { environment: EnvironmentSettings; hosts: HostChoice },
  { to, config, reason, force, breakGlass, acrossMigration }: Given,
  context: Context,
): Promise<DeploymentRequest> {
  const found = await findDeploymentToRestore(now, { to, config }, context)
  const { deployment: target, skipped } = found
  const [left, back] = [formatRelease(now.left), formatRelease(target)]
  for (const mark of skipped) context.log.info(`skipped: ${describeMark(mark)}`)
  context.log.info(`${environment.name}: from ${left} back to ${back}, as ${target.id} was`)
  const marked = left !== back && !now.cut
  return {
    kind: 'rollback',
    release: await findRelease(target, await context.ledger()),
    environment,
    hosts,
    reason,
    force,
    breakGlass,
    acrossMigration,
    older: true,
    values: config === 'then' ? await recordedConfig(target, environment, context) : undefined,
    bad: marked ? now.left.version : undefined,
    skipped,
  }
}

/** What is left behind: the ledger's current deployment, or a deployment that was cut off since. */
interface Running {
  current: Deployment
  left: Deployment
  /** A release whose deployment was cut off is not marked bad for that. */
  cut: boolean
}

async function findRunning(
  { app, environment, hosts }: { app: string; environment: EnvironmentSettings; hosts: HostChoice },
  context: Context,
): Promise<Running> {
  const current = await findCurrent(app, environment.name, await context.ledger())
  const cut = await findInterruptedDeployment(current, environment, hosts, context)
  return { current, left: cut ?? current, cut: cut !== undefined }
}

async function findDeploymentToRestore(
  { current, cut }: Running,
  { to, config }: { to: ReleaseName | undefined; config: 'then' | 'now' },
  context: Context,
): Promise<RollbackTarget> {
  const isCurrent = to?.app === current.app && to.version === current.version
  if (cut && (to === undefined || isCurrent)) return { deployment: current, skipped: [] }
  if (config === 'now' && isCurrent) throw notARollback(current)
  return findRollbackTarget(current, to, await context.ledger())
}

function notARollback(current: Deployment): StepError {
  const name = formatRelease(current)
  const fact = `${name} runs there now: for today's config, deploy it`
  return new StepError('INPUT_INVALID', fact, {
    hint: `\`crosscloud deploy --release ${name} --env ${current.environment}\` brings it.`,
  })
}

/** Another deployment meanwhile may have solved what this rollback is for. */
function refuseOther(meant: Deployment, current: Deployment): void {
  if (current.id === meant.id) return
  const { environment, id, by, kind } = current
  const [then, now] = [formatRelease(meant), formatRelease(current)]
  throw new StepError(
    'CONFLICT',
    `${environment} has changed while this rollback of ${then} waited: ${by} put ${now} there (${id}, ${kind})`,
    { hint: `Nothing was done. See whether ${now} works; roll back again if it does not.` },
  )
}
