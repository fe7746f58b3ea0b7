import type { Deployment } from '../ledger/ledger.ts'
import type { EnvironmentSettings } from '../settings.ts'
import type { ContainerInfo } from '../target/target.ts'
import type { HostChoice } from './host-choice.ts'
import { askHosts, isAnswer } from './hosts.ts'
import type { Context } from './step.ts'
import { containerLabels } from './verification.ts'

/**
 * The newest deployment, when it has not ended and has touched a host: then what the ledger calls
 * current is what ran before it. Under the lock its deployer is gone.
 */
export async function findCutDeployment(
  current: Deployment,
  { name, containerName }: EnvironmentSettings,
  hosts: HostChoice,
  context: Context,
): Promise<Deployment | undefined> {
  const ledger = await context.ledger()
  const [newest] = await ledger.deployments({ app: current.app, environment: name, limit: 1 })
  if (newest?.state !== 'abandoned' && newest?.state !== 'running') return undefined
  const answers = await askHosts({ hosts: hosts.change }, context, (host) =>
    host.inspect(containerName),
  )
  const asBefore = answers.filter(isAnswer).every(({ value }) => runs(value, current))
  return asBefore ? undefined : newest
}

function runs(container: ContainerInfo | undefined, deployment: Deployment): boolean {
  return (
    container?.running === true &&
    container.labels[containerLabels.version] === deployment.version &&
    container.labels[containerLabels.configRevision] === deployment.configRevision
  )
}
