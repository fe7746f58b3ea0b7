import { isSameRevision } from '../../config/rules/revision.ts'
import { isStepError, toStepError } from '../../core/errors.ts'
import { retry } from '../../core/retry.ts'
import type {
  Deployment,
  DeploymentEnd,
  DeploymentStart,
  InstanceOutcome,
  Ledger,
} from '../../ledger/ledger.ts'
import { type InstanceResult, isRolloutFailure } from '../../targets/target.ts'
import type { Context } from '../context.ts'

const TRIES = { attempts: 4, firstPause: 250 }

/** Records a deployment before the first host is touched: what cannot be recorded is not deployed. */
export async function recordStart(
  start: DeploymentStart & { lockToken: number },
  revision: { name: string; content: string },
  { ledger: open, log, signal }: Context,
): Promise<Deployment> {
  const ledger = await open()
  const [before] = await ledger.deployments({
    app: start.app,
    environment: start.environment,
    limit: 1,
  })
  if (before?.state === 'abandoned' && before.finishedAt === undefined) {
    log.warn(
      `deployment ${before.id} of ${before.version} by ${before.by} never reported its end: ` +
        'its deployer was killed. It is closed as abandoned, and its hosts are repaired.',
    )
  }
  // Both are done once, even if repeated: a connection may break after the ledger has done it.
  return await retry(
    async () => {
      await recordRevision(revision, ledger)
      return await ledger.startDeployment(start)
    },
    { ...TRIES, signal },
  )
}

/** A known revision stays as it was written, with the key that was the first key then. */
export async function recordRevision(
  { name, content }: { name: string; content: string },
  ledger: Pick<Ledger, 'findConfigRevision' | 'recordConfigRevision'>,
): Promise<void> {
  const known = await ledger.findConfigRevision(name)
  if (known !== undefined && isSameRevision(known, content)) return
  await ledger.recordConfigRevision(name, content)
}

/**
 * Records how a deployment ended. It is written to this machine's journal first: whatever happens to
 * the ledger or to this process, the next command records it.
 */
export async function recordEnd(
  deployment: Deployment,
  outcome: DeploymentEnd,
  { ledger: open, journal: openJournal, log }: Context,
): Promise<void> {
  const end = { ...outcome, finishedAt: new Date().toISOString() }
  const [ledger, journal] = [await open(), await openJournal()]
  const entry = { kind: 'deployment-end', deployment: deployment.id, end } as const
  let unkept: string | undefined
  const file = await journal.keep(entry).catch((error: unknown) => {
    unkept = toStepError(error).message
    return undefined
  })
  try {
    await retry(() => ledger.endDeployment(deployment.id, end), TRIES)
    if (end.state === 'failed') log.info(`the ledger has recorded that ${deployment.id} failed`)
    if (file !== undefined) await journal.forget(file)
  } catch (error) {
    const { message } = toStepError(error)
    log.warn(`the ledger could not record that ${deployment.id} ${end.state}: ${message}`)
    if (unkept !== undefined) log.warn(unkept)
    if (file === undefined) log.warn(`Give this to whoever keeps it: ${JSON.stringify(entry)}`)
    else log.warn(`It waits in ${file}; the next command here records it.`)
  }
}

/**
 * Records that a deployment failed. If another deployment came after it, that has closed it as
 * abandoned, and it stays so.
 */
export async function recordFailure(
  deployment: Deployment,
  error: unknown,
  context: Context,
): Promise<void> {
  if (isStepError(error, 'CONFLICT')) {
    const ledger = await context.ledger()
    const found = await ledger.findDeployment(deployment.id).catch(() => undefined)
    if (found?.finishedAt !== undefined) {
      context.log.info(`deployment ${found.id} is ${found.state} in the ledger, and stays so`)
      return
    }
  }
  await recordEnd(deployment, failureOf(error, context), context)
}

/** What else a deployment that succeeded is recorded with. */
export interface SuccessFacts {
  bad?: DeploymentEnd['bad']
  /** Hosts it passed by: they are behind from now on. */
  without?: readonly string[]
  /** Hosts that ran the same before, and were not touched. */
  kept?: readonly InstanceOutcome[]
}

export function successOf(
  results: readonly InstanceResult[],
  { bad, without = [], kept = [] }: SuccessFacts = {},
): DeploymentEnd {
  const changed = results.map(({ host, instanceId, previousInstanceId, url, duration }) => ({
    host,
    containerId: instanceId,
    previousContainerId: previousInstanceId,
    url,
    duration,
    ok: true,
  }))
  const nothing = { containerId: undefined, previousContainerId: undefined, url: undefined }
  const left = without.map((host) => ({ host, ...nothing, duration: 0, ok: false }))
  const hosts = [...kept, ...changed, ...left]
  return { state: 'succeeded', hosts, verified: true, bad }
}

function failureOf(error: unknown, { secrets }: Context): DeploymentEnd {
  const { code, message } = toStepError(error)
  const standings = isRolloutFailure(error) ? error.standings : []
  return {
    state: 'failed',
    error: secrets.mask(`${code}: ${message}`),
    verified: false,
    hosts: standings.map(({ host, serves, instanceId, duration, result }) => ({
      host,
      containerId: instanceId,
      duration,
      previousContainerId: result?.previousInstanceId,
      url: result?.url,
      ok: serves === 'new',
    })),
  }
}
