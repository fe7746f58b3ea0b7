import { StepError } from '../../core/errors.ts'
import type { Who } from '../../identity/who.ts'
import type { Release } from '../../ledger/ledger.ts'
import { imageByDigest } from '../../registry/reference.ts'
import { type EnvironmentSettings, withHosts } from '../../settings.ts'
import { instanceLabels } from '../../targets/labels.ts'
import type { StopTrial } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { requireAdmitted } from '../deployment/checks.ts'
import type { LockRequest } from '../deployment/lock.ts'
import { recordAct, withLockOf } from '../gate/guard.ts'
import { findCurrent, findOwnRelease, findRelease } from '../release.ts'
import { formatRelease, type ReleaseName } from '../release-name.ts'

interface TrialChoice {
  app: string
  /** With the hosts that are meant; the first is used. */
  environment: EnvironmentSettings
  /** Default: what runs there. */
  release: ReleaseName | undefined
}

interface TrialRequest extends Pick<TrialChoice, 'environment'> {
  /** Path and query of a page that takes some 5 s. */
  slow: string | undefined
  reason: string | undefined
  lock: LockRequest
}

/** The release to try, and where. */
export async function chooseTrial(
  { app, environment, release }: TrialChoice,
  context: Context,
): Promise<{ release: Release; host: EnvironmentSettings['hosts'][number] }> {
  const [host] = environment.hosts
  if (!host) {
    throw new StepError('INPUT_INVALID', `environment ${environment.name} has no hosts`, {
      hint: `Name at least one under environments.${environment.name}.hosts in crosscloud.yml.`,
    })
  }
  if (release) return { host, release: await findOwnRelease(release, context) }
  const ledger = await context.ledger()
  const current = await findCurrent(app, environment.name, ledger)
  return { host, release: await findRelease(current, ledger) }
}

/**
 * Stops a release while it is at work, in an instance of its own beside the one that serves. All that a
 * deployment would check is checked, the gate for this release and config too: it runs, if only alone.
 */
export async function tryStop(
  { environment, reason = '', slow, lock }: TrialRequest,
  { release, host }: Awaited<ReturnType<typeof chooseTrial>>,
  who: Who,
  context: Context,
): Promise<StopTrial> {
  const { name, image } = environment
  return withLockOf(who, lock, context, async () => {
    const { target, content } = await requireAdmitted(
      {
        ...{
          kind: 'deploy' as const,
          release,
          environment: withHosts(environment, [host]),
          reason,
        },
        ...{ force: false, older: true, hosts: { change: [host], kept: [], without: [] } },
      },
      context,
    )
    const subject = `a stop of ${formatRelease(release)} on ${host.name}`
    await recordAct('hosts check', { environment: name, subject, reason }, who, context)
    const { log, signal } = context
    return target.tryStop(host.name, {
      image: imageByDigest(image, release.digest),
      labels: {
        [instanceLabels.application]: release.app,
        [instanceLabels.environment]: name,
        [instanceLabels.version]: release.version,
      },
      files: content.rendering.files,
      ...{ slow, log, signal },
    })
  })
}
