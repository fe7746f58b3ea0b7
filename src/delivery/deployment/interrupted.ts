import type { Deployment } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { ContainerInfo, Host } from '../../targets/docker/host.ts'
import { nameOf } from '../../targets/docker/rollout/repair.ts'
import type { Context } from '../context.ts'
import { containerLabels } from '../verification/verification.ts'
import type { HostChoice } from './host-choice.ts'
import { askHosts, isAnswer } from './hosts.ts'

/** As many as may have come to no good since the last that did. */
const RECENT = 50

/**
 * The newest deployment whose deployer was killed, or could not put back what it replaced, and that
 * a host shows: then what the ledger calls current is what ran before it. A rollback that was cut
 * off on its way to something else is not one: who runs it again means the same way.
 */
export async function findCutDeployment(
  current: Deployment,
  { name, containerName }: EnvironmentSettings,
  hosts: HostChoice,
  context: Context,
): Promise<Deployment | undefined> {
  const ledger = await context.ledger()
  const rows = await ledger.deployments({ app: current.app, environment: name, limit: RECENT })
  const at = rows.findIndex(({ id }) => id === current.id)
  const ended = (at < 0 ? rows : rows.slice(0, at)).filter(({ state }) => state !== 'running')
  if (ended.length === 0) return undefined
  const answers = await askHosts({ hosts: hosts.change }, context, (host) =>
    look(host, containerName),
  )
  const seen = answers.filter(isAnswer).map(({ value }) => value)
  const cut = ended.find(({ id, state }) =>
    seen.some(({ now, next }) => id === now || (state === 'abandoned' && id === next)),
  )
  return cut?.kind === 'rollback' && !bringsBack(cut, current) ? undefined : cut
}

/** The ids of the deployments that the container and the one that is to replace it are of. */
async function look(host: Host, name: string) {
  const [now, next] = await Promise.all([host.inspect(name), host.inspect(nameOf(name, 'next'))])
  return { now: deploymentOf(now), next: deploymentOf(next) }
}

const deploymentOf = (container: ContainerInfo | undefined) =>
  container?.labels[containerLabels.deployment]

const bringsBack = (cut: Deployment, current: Deployment) =>
  cut.version === current.version && cut.configRevision === current.configRevision
