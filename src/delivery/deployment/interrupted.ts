import type { Deployment, Lock } from '../../ledger/ledger.ts'
import { type EnvironmentSettings, withHosts } from '../../settings.ts'
import { instanceLabels } from '../../targets/labels.ts'
import type { EndingOf } from '../../targets/remains.ts'
import { isSuccess } from '../../targets/responses.ts'
import type { Context } from '../context.ts'
import type { HostChoice } from './host-choice.ts'
import { findHeldLock } from './lock.ts'

/** Deployments that are searched: those that failed since the last that succeeded. */
const RECENT = 50

/**
 * The newest deployment whose deployer was killed, or could not restore what it replaced, and that
 * a host shows: then what the ledger calls current ran before it. A rollback that was cut off on its
 * way to another release is none: running it again means the same way.
 */
export async function findInterruptedDeployment(
  current: Deployment,
  environment: EnvironmentSettings,
  hosts: HostChoice,
  context: Context,
): Promise<Deployment | undefined> {
  const { name } = environment
  const ledger = await context.ledger()
  const place = { app: current.app, environment: name }
  const [found, held] = await Promise.all([
    ledger.deployments({ ...place, limit: RECENT }),
    findHeldLock(place, context),
  ])
  const rows = found.map((row) => asSeen(row, held))
  const at = rows.findIndex(({ id }) => id === current.id)
  const ended = (at < 0 ? rows : rows.slice(0, at)).filter(({ state }) => state !== 'running')
  if (ended.length === 0) return undefined
  const target = await context.target(withHosts(environment, hosts.change))
  const responses = await target.instances({ roles: ['current', 'next'] })
  const seen = responses.filter(isSuccess).flatMap(({ value }) => value)
  const cut = ended.find(({ id, state }) =>
    seen.some(
      ({ role, labels }) =>
        labels[instanceLabels.deployment] === id && (role === 'current' || state === 'abandoned'),
    ),
  )
  return cut?.kind === 'rollback' && !bringsBack(cut, current) ? undefined : cut
}

/** A plan, too, sees as abandoned what whoever takes the lock will find so. */
function asSeen(row: Deployment, held: Lock | undefined): Deployment {
  const { state, lockToken } = row
  const isCut = state === 'running' && lockToken !== undefined && lockToken !== held?.token
  return isCut ? { ...row, state: 'abandoned' } : row
}

const bringsBack = (cut: Deployment, current: Deployment) =>
  cut.version === current.version && cut.configRevision === current.configRevision

/** What the ledger keeps of how a failed deployment left a host. */
export function endingOf(context: Context): EndingOf {
  return async (host, labels) => {
    const { deployment, application, environment, version } = placed(labels)
    // A container that was adopted has no deployment.
    if (!deployment) return undefined
    const found = await (await context.ledger()).findDeployment(deployment)
    if (found?.state !== 'failed' || found.version !== version) return undefined
    if (found.app !== application || found.environment !== environment) return undefined
    // A line a host, as the failure of a rollout lists them.
    const lines = found.error?.split('\n') ?? []
    const own = lines.findLast((line) => line.startsWith(`  ${host}: `))
    const how = own === undefined ? '' : `, and left it so: ${own.slice(host.length + 4)}`
    return `${found.id} of ${found.version} failed at ${found.finishedAt}${how}`
  }
}

const placed = (labels: Readonly<Record<string, string>>) => ({
  deployment: labels[instanceLabels.deployment],
  application: labels[instanceLabels.application],
  environment: labels[instanceLabels.environment],
  version: labels[instanceLabels.version],
})
