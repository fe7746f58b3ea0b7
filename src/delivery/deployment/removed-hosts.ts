import type { Ledger } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { Context } from '../context.ts'
import { formatRelease } from '../release-name.ts'
import { containerLabels } from '../verification/verification.ts'
import { askHosts, isAnswer } from './hosts.ts'

/** A host that is in crosscloud.yml no more, and what is known of it. */
export interface TakenOut {
  host: string
  state: string
}

/** Whoever was not deployed to for so many deployments is forgotten. */
const RECENT = 20

/** Hosts that still run the application there, or may: nobody deploys to them any more. */
export async function findTakenOut(
  app: string,
  environment: EnvironmentSettings,
  context: Context,
): Promise<TakenOut[]> {
  const { name, containerName } = environment
  const { hosts, newest, ours } = await recall(app, environment, await context.ledger())
  if (hosts.length === 0) return []
  const labels = { [containerLabels.application]: app, [containerLabels.environment]: name }
  const answers = await askHosts({ hosts }, context, (host) => host.list(labels))
  return answers.flatMap((answer): TakenOut[] => {
    const { name: host } = answer
    const what = 'was taken out of crosscloud.yml'
    if (!isAnswer(answer)) {
      if (!newest.has(host)) return []
      return [{ host, state: `${what}, and nobody knows what it runs: ${answer.fault.message}` }]
    }
    const running = answer.value.find(
      ({ id, name: called, running: up }) => up && called === containerName && !ours.has(id),
    )
    if (!running) return []
    const version = running.labels[containerLabels.version] ?? 'unknown'
    return [{ host, state: `${what}, and still runs ${formatRelease({ app, version })}` }]
  })
}

/** One machine may have had another address: what the newest deployment put there is no leftover. */
async function recall(app: string, environment: EnvironmentSettings, ledger: Ledger) {
  const query = { app, environment: environment.name, state: 'succeeded', limit: RECENT } as const
  const deployments = await ledger.deployments(query)
  const outcomes = deployments.map(({ hosts }) => hosts.filter(({ ok }) => ok))
  const recent = new Set(outcomes.flat().map(({ host }) => host))
  const present = new Set(environment.hosts.map(({ name }) => name))
  const addresses = new Set(environment.hosts.map(({ address }) => address))
  const known = recent.size === 0 ? [] : await ledger.hosts(app, environment.name)
  return {
    hosts: known
      .filter(({ name, address }) => recent.has(name) && !addresses.has(address))
      .map((host) => ({ ...host, certificates: undefined })),
    newest: new Set(outcomes[0]?.map(({ host }) => host).filter((host) => !present.has(host))),
    ours: new Set(
      outcomes[0]?.flatMap(({ host, containerId }) =>
        present.has(host) && containerId !== undefined ? [containerId] : [],
      ),
    ),
  }
}
