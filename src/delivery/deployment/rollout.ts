import { StepError } from '../../core/errors.ts'
import type { Deployment } from '../../ledger/ledger.ts'
import { imageByDigest } from '../../registry/reference.ts'
import { configFilesLabel, instanceLabels } from '../../targets/labels.ts'
import { failureOf, type HostResponse, isFailure, isSuccess } from '../../targets/responses.ts'
import type { RolloutStrategy } from '../../targets/rollout-settings.ts'
import type { Instance, InstanceResult, RolloutCommands, Target } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { refuseOlder } from '../release-order.ts'
import { describeFiles, verifyInstance } from '../verification/verification.ts'
import type { Attempt } from './attempt.ts'
import type { Content } from './content.ts'
import { endingOf } from './interrupted.ts'
import type { HeldLock } from './lock.ts'
import { findRemovedHosts } from './removed-hosts.ts'
import { type DeploymentRequest, isNew } from './request.ts'

/** Checks before anything changes that all hosts respond, and that none runs a newer release. */
export async function checkHosts(
  request: DeploymentRequest,
  running: ReturnType<Target['instances']>,
  context: Context,
  attempt: Attempt,
): Promise<void> {
  const { release, environment, kind, older } = request
  const [takenOut, responses] = await Promise.all([
    findRemovedHosts(release.app, environment, context),
    running,
  ])
  await attempt('hosts', async () => requireResponses(responses, environment.name))
  if (kind === 'deploy') {
    const instances = responses.filter(isSuccess).flatMap(({ value }) => value)
    const versions = instances.flatMap((instance) => versionOf(instance, release.app))
    const wanted = { release, environment: environment.name, older }
    await attempt('older', () => refuseOlder(wanted, versions, context))
  }
  for (const { host, state } of takenOut) context.log.warn(`host ${host} ${state}`)
}

function requireResponses(
  responses: readonly HostResponse<Instance[]>[],
  environment: string,
): void {
  const error = failureOf(responses)
  if (!error) return
  const silent = responses.filter(isFailure).map(({ host }) => host)
  throw silent.length === responses.length ? error : adviseWithout(error, silent, environment)
}

function adviseWithout(
  error: StepError,
  silent: readonly string[],
  environment: string,
): StepError {
  const flags = silent.map((host) => `\`--without ${host}\``).join(' ')
  const way = `To go past it, \`deploy\` and \`rollback\` take ${flags} with \`--reason\`; \`crosscloud deploy --missing --env ${environment}\` catches up later.`
  return new StepError(error.code, error.message, {
    hint: `${error.hint ?? ''} ${way}`.trim(),
    retryable: error.retryable,
    cause: error,
  })
}

/** The version of the release that an instance of the application was made from. */
function versionOf({ labels }: Instance, app: string): string[] {
  const { [instanceLabels.application]: of, [instanceLabels.version]: version } = labels
  return of === app && version !== undefined ? [version] : []
}

/** What ran there already is not tried out again: a way back must be quick. */
export function strategyOf(request: DeploymentRequest): RolloutStrategy {
  const { strategy } = request.environment.rollout
  return isNew(request) ? strategy : { ...strategy, canary: { hosts: 0 }, pause: 0 }
}

interface RolloutPlace {
  target: Target
  deployment: Deployment
  lock: HeldLock
  commands: RolloutCommands | undefined
}

/** Each instance is verified before its host counts as changed. */
export function rollOut(
  request: DeploymentRequest & Content,
  { target, deployment, lock, commands }: RolloutPlace,
  context: Context,
): Promise<InstanceResult[]> {
  const { release, environment, rendering, expected, adopt } = request
  return target.rollOut({
    image: imageByDigest(environment.image, release.digest),
    labels: {
      [instanceLabels.application]: release.app,
      [instanceLabels.environment]: environment.name,
      [instanceLabels.version]: release.version,
      [instanceLabels.deployment]: deployment.id,
      [instanceLabels.lock]: `${lock.ledger}:${lock.token}`,
      [instanceLabels.configRevision]: rendering.revision,
      [instanceLabels.configFiles]: configFilesLabel(rendering.files),
    },
    files: rendering.files,
    log: context.log,
    signal: context.signal,
    strategy: strategyOf(request),
    commands,
    checkLock: lock.check,
    endingOf: endingOf(context),
    adopt,
    verify: async (instance, log) => {
      const proof = await verifyInstance(target, instance, expected, context)
      const files = describeFiles(proof)
      log.info(
        proof.byOrigin
          ? `made from the image, with no file of others: ${files}; WAR MD5 ${expected.warMd5}`
          : `compared ${files}; nothing else changed, WAR MD5 ${expected.warMd5}`,
      )
    },
  })
}
