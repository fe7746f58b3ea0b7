import { z } from 'zod'
import { StepError } from '../core/errors.ts'
import { duration } from '../core/settings/schema.ts'
import { configOfThen } from '../delivery/config/environment-config.ts'
import type { Context } from '../delivery/context.ts'
import {
  type DeploymentRequest,
  findCurrent,
  findRelease,
  putOn,
  underLock,
} from '../delivery/deployment/deployment.ts'
import { chooseHosts, type HostChoice } from '../delivery/deployment/host-choice.ts'
import { findCutDeployment } from '../delivery/deployment/interrupted.ts'
import { deployedOutputs, summarize } from '../delivery/deployment/outcome.ts'
import { identifyActing } from '../delivery/gate/break-glass.ts'
import { formatRelease, parseRelease } from '../delivery/release-name.ts'
import { pageThrough } from '../ledger/history.ts'
import type { Deployment, Ledger } from '../ledger/ledger.ts'
import type { EnvironmentSettings } from '../settings.ts'
import { breakGlassInput, releaseName, withoutInput } from './inputs.ts'
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
    without: withoutInput,
    lockWait: duration.optional().describe('How long to wait while somebody else deploys there'),
  }),
  outputs: deployedOutputs.extend({
    left: z.string().describe('Release that was left behind'),
    marked: z.boolean().describe('Whether the release left behind is marked bad there now'),
    config: z.enum(['then', 'now']).describe('Whether its config is that of then or of now'),
  }),
  report: ({ release, environment, left, marked, digest, warMd5, configRevision, config, url }) => [
    left === release
      ? `${release} runs in ${environment} with its config of before`
      : `${release} runs in ${environment} again; ${marked ? `${left} is marked bad there` : `the deployment of ${left} was cut off, and marks nothing`}`,
    `Image    ${digest}`,
    `WAR MD5  ${warMd5}`,
    `Config   ${configRevision}, the one of ${config}`,
    ...(url ? [`Address  ${url}`] : []),
  ],
  async run({ env, to, config, reason, without, lockWait = 0, ...options }, context) {
    const environment = await context.environment(env)
    const settings = await context.settings()
    const { app } = settings
    const hosts = chooseHosts(environment, without, reason)
    await identifyActing({ environment, reason, breakGlass: options.breakGlass }, context)
    const place = { app, environment, hosts }
    // What is meant by it is settled before anybody is waited for.
    const meant = await findRunning(place, context)
    await findWay(meant, { to, config }, context)
    const lock = { app, environment: env, reason: `rollback: ${reason}`, timeout: lockWait }
    return underLock(lock, context, async (lock) => {
      const now = await findRunning(place, context)
      refuseOther(meant.current, now.current)
      const target = await findWay(now, { to, config }, context)
      const [left, back] = [formatRelease(now.left), formatRelease(target)]
      context.log.info(`${env}: from ${left} back to ${back}, as ${target.id} was`)
      const marked = left !== back && !now.cut
      const request: DeploymentRequest = {
        kind: 'rollback',
        release: await findRelease(back, await context.ledger()),
        ...{ environment, hosts, reason, ...options, older: true },
        values: config === 'then' ? await configOfThen(target, environment, context) : undefined,
        bad: marked ? now.left.version : undefined,
      }
      const deployed = await putOn(request, lock, context)
      return { ...summarize(request, deployed, settings), left, marked, config }
    })
  },
})

/** What is left behind: what the ledger calls current, or what was cut off on its way there. */
interface Running {
  current: Deployment
  left: Deployment
  /** It says nothing of a release that it was cut off. */
  cut: boolean
}

async function findRunning(
  { app, environment, hosts }: { app: string; environment: EnvironmentSettings; hosts: HostChoice },
  context: Context,
): Promise<Running> {
  const current = await findCurrent(app, environment.name, await context.ledger())
  const cut = await findCutDeployment(current, environment, hosts, context)
  return { current, left: cut ?? current, cut: cut !== undefined }
}

/** The deployment to go back to. */
async function findWay(
  { current, cut }: Running,
  { to, config }: { to: string | undefined; config: 'then' | 'now' },
  context: Context,
): Promise<Deployment> {
  const isCurrent = to === formatRelease(current)
  if (cut && (to === undefined || isCurrent)) return current
  if (config === 'now' && isCurrent) throw isForward(current)
  return findTarget(current, to, await context.ledger())
}

function isForward(current: Deployment): StepError {
  const name = formatRelease(current)
  const fact = `${name} runs there now: its config of now is a deployment`
  return new StepError('INPUT_INVALID', fact, {
    hint: `\`crosscloud deploy --release ${name} --env ${current.environment}\` brings it.`,
  })
}

/** Somebody who went back, or forth, meanwhile may have put right what was meant. */
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

/** The deployment to go back to: of the release that was asked for, or the newest good one before. */
async function findTarget(
  current: Deployment,
  to: string | undefined,
  ledger: Ledger,
): Promise<Deployment> {
  const { app, environment } = current
  const wanted = to === undefined ? undefined : parseRelease(to)
  if (wanted && wanted.app !== app) {
    throw new StepError('INPUT_INVALID', `${to} is no release of ${app}`)
  }
  const query = { app, environment, version: wanted?.version, state: 'succeeded' as const }
  const succeeded = pageThrough((page) => ledger.deployments({ ...query, ...page }))
  for await (const deployment of succeeded) {
    const { version, configRevision } = deployment
    // Of the release that runs, an earlier config is meant.
    const runs = version === current.version && configRevision === current.configRevision
    if (wanted && !runs) return deployment
    if (wanted || version === current.version) continue
    const mark = await ledger.findMark(app, environment, version)
    if (!mark?.bad) return deployment
  }
  throw await nowhereToGo(current, to, ledger)
}

async function nowhereToGo(
  { app, environment, version, configRevision }: Deployment,
  to: string | undefined,
  ledger: Ledger,
): Promise<StepError> {
  const running = formatRelease({ app, version })
  const look = `\`crosscloud history --app ${app} --env ${environment}\` shows what ran there.`
  if (to === running) {
    const why = `${to} never ran in ${environment} with another config than it has now`
    const way = `\`crosscloud config rollback --env ${environment}\`, then \`crosscloud deploy\`, change the config.`
    return new StepError('NOT_FOUND', why, { hint: `${look} ${way}` })
  }
  if (to) return new StepError('NOT_FOUND', `${to} never ran in ${environment}`, { hint: look })
  const query = { app, environment, version, state: 'succeeded' as const, limit: 100 }
  const others = (await ledger.deployments(query)).filter(
    (one) => one.configRevision !== configRevision,
  )
  const config = `To bring back its config of before: \`crosscloud rollback --env ${environment} --to ${running}\`.`
  return new StepError('NOT_FOUND', `no good release but ${version} ever ran in ${environment}`, {
    hint: others.length > 0 ? config : look,
  })
}
