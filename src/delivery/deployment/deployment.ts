import type { Who } from '../../identity/who.ts'
import type { Deployment, DeploymentStart } from '../../ledger/ledger.ts'
import { type InstanceResult, isRolloutFailure } from '../../targets/target.ts'
import type { Context } from '../context.ts'
import { warnOfUnsigned } from '../gate/break-glass.ts'
import { recordCounted } from '../gate/gate.ts'
import { requireAdmitted } from './checks.ts'
import type { Content } from './content.ts'
import { type HeldLock, type LockRequest, withLock } from './lock.ts'
import { recordCrossing } from './migrations.ts'
import { commandsOf } from './one-off.ts'
import { pruneAfter } from './prune.ts'
import { recordEnd, recordFailure, recordStart, type SuccessFacts, successOf } from './record.ts'
import type { DeploymentRequest } from './request.ts'
import { rollOut } from './rollout.ts'

/** What runs after a deployment. */
export interface Deployed {
  deployment: Deployment
  warMd5: string
  results: InstanceResult[]
}

/**
 * Deploys under the lock of application and environment. A cancelled deployment has only seconds:
 * it restores the old instances, records that in the ledger and gives the lock back, and only then
 * waits to see whether they serve.
 */
export async function underLock<T>(
  place: LockRequest,
  context: Context,
  work: (lock: HeldLock) => Promise<T>,
): Promise<T> {
  let isFree = false
  const onFree = () => {
    isFree = true
  }
  try {
    return await withLock({ ...place, onFree }, context, work)
  } catch (error) {
    if (!isRolloutFailure(error) || !error.prove) throw error
    if (isFree) context.log.info('the lock is free')
    context.log.info('checking the health of the restored containers')
    throw await error.prove()
  }
}

/** The only way onto an environment. The caller holds the lock of application and environment. */
export async function deployUnderLock(
  request: DeploymentRequest,
  lock: HeldLock,
  context: Context,
): Promise<Deployed> {
  const { release, environment, breakGlass } = request
  await warnOfUnsigned(release.app, environment.name, context)
  const { who, target, content, approvals: counted } = await requireAdmitted(request, context)
  const approvals = await recordCounted(request, counted, await context.ledger())
  const start = startOf(request, content, { who, approvals, lock }, context)
  const { revision: name, description } = content.rendering
  const deployment = await recordStart(start, { name, content: description }, context)
  if (breakGlass) await warnOfUnsigned(release.app, environment.name, context, deployment.id)
  if (request.acrossMigration) await recordCrossing(deployment, who, context)
  const commands = commandsOf(request, deployment, who, context)
  let results: InstanceResult[]
  try {
    const place = { target, deployment, lock, commands }
    results = await rollOut({ ...request, ...content }, place, context)
  } catch (error) {
    await recordFailure(deployment, error, context)
    throw error
  }
  await recordEnd(deployment, successOf(results, factsOf(request, who)), context)
  await pruneAfter(request, { target, lock, who, deployment: deployment.id }, context)
  return { deployment, warMd5: content.expected.warMd5, results }
}

function startOf(
  { kind, release, environment, hosts, reason, force, breakGlass }: DeploymentRequest,
  { rendering }: Content,
  { who, approvals, lock }: { who: Who; approvals: string[]; lock: HeldLock },
  { actor }: Context,
): DeploymentStart & { lockToken: number } {
  return {
    app: release.app,
    version: release.version,
    environment: environment.name,
    digest: release.digest,
    configRevision: rendering.revision,
    reason: reason || undefined,
    kind,
    lockToken: lock.token,
    jobUrl: actor.jobUrl,
    forced: force,
    hosts: hosts.change.map(({ name, address }) => ({ name, address: address.text })),
    by: who.login,
    identity: who.identity,
    approvals,
    breakGlass: breakGlass ? { byId: who.id } : undefined,
  }
}

function factsOf(request: DeploymentRequest, { login: by, identity }: Who): SuccessFacts {
  const { bad: version, reason } = request
  const { without, kept } = request.hosts
  return {
    without,
    kept,
    bad: version === undefined ? undefined : { version, reason, by, identity },
  }
}
