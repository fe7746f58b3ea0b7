import type { Ledger } from '../../ledger/ledger.ts'
import { type EnvironmentSettings, formerTargets } from '../../settings.ts'
import { instanceLabels } from '../../targets/labels.ts'
import { isFailure } from '../../targets/responses.ts'
import type { Context } from '../context.ts'
import { formatRelease } from '../release-name.ts'

/** A host that is in crosscloud.yml no more, and what is known of it. */
export interface RemovedHost {
  host: string
  state: string
}

/** A host without a deployment for so many deployments is forgotten. */
const RECENT = 20

/** Hosts that still run the application there, or may: nobody deploys to them any more. */
export async function findRemovedHosts(
  app: string,
  environment: EnvironmentSettings,
  context: Context,
): Promise<RemovedHost[]> {
  const { hosts, newest, ours } = await recall(app, environment, await context.ledger())
  if (hosts.length === 0) return []
  const labels = {
    [instanceLabels.application]: app,
    [instanceLabels.environment]: environment.name,
  }
  const asked = formerTargets(environment, hosts).map(async (settings) => {
    const target = await context.target(settings)
    return target.instances({ labels })
  })
  const responses = (await Promise.all(asked)).flat()
  return responses.flatMap((response): RemovedHost[] => {
    const { host } = response
    const what = 'was taken out of crosscloud.yml'
    if (isFailure(response)) {
      if (!newest.has(host)) return []
      return [{ host, state: `${what}, and nobody knows what it runs: ${response.error.message}` }]
    }
    const left = response.value.find(
      ({ id, role, running }) => running && role === 'current' && !ours.has(id),
    )
    if (!left) return []
    const version = left.labels[instanceLabels.version] ?? 'unknown'
    return [{ host, state: `${what}, and still runs ${formatRelease({ app, version })}` }]
  })
}

/** A machine may have had another address: what the newest deployment put there is not left over. */
async function recall(app: string, environment: EnvironmentSettings, ledger: Ledger) {
  const query = { app, environment: environment.name, state: 'succeeded', limit: RECENT } as const
  const deployments = await ledger.deployments(query)
  const outcomes = deployments.map(({ hosts }) => hosts.filter(({ ok }) => ok))
  const recent = new Set(outcomes.flat().map(({ host }) => host))
  const present = new Set(environment.hosts.map(({ name }) => name))
  const addresses = new Set(environment.hosts.map(({ address }) => address.text))
  const known = recent.size === 0 ? [] : await ledger.hosts(app, environment.name)
  return {
    hosts: known.filter(({ name, address }) => recent.has(name) && !addresses.has(address)),
    newest: new Set(outcomes[0]?.map(({ host }) => host).filter((host) => !present.has(host))),
    ours: new Set(
      outcomes[0]?.flatMap(({ host, containerId }) =>
        present.has(host) && containerId !== undefined ? [containerId] : [],
      ),
    ),
  }
}
