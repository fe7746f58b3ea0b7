import { StepError } from '../../core/errors.ts'
import type { Deployment, Ledger, StatusCell } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import { recordedConfig } from '../config/environment-config.ts'
import type { Context } from '../context.ts'
import { findCurrent, findRelease } from '../release.ts'
import { formatRelease, type ReleaseName } from '../release-name.ts'
import { chooseMissing } from './host-choice.ts'
import type { DeploymentRequest } from './request.ts'

interface CatchUp {
  /** Undefined: what runs there. */
  name: ReleaseName | undefined
  without: string[]
  reason: string
}

type CaughtUp = Pick<
  DeploymentRequest,
  'release' | 'hosts' | 'reason' | 'values' | 'revision' | 'finishes'
>

/** The release and the config that the other hosts run, for those that are behind. */
export async function catchUp(
  app: string,
  environment: EnvironmentSettings,
  { name, without, reason }: CatchUp,
  context: Context,
): Promise<CaughtUp> {
  const ledger = await context.ledger()
  const { deployment, finishes } = await findSource(app, environment.name, name, ledger)
  const runs = formatRelease(deployment)
  const hosts = chooseMissing(environment, deployment, without, reason)
  const names = hosts.change.map(({ name }) => name).join(', ')
  context.log.info(`${names} is behind: ${runs} comes there, as ${deployment.id} was`)
  return {
    hosts,
    release: await findRelease(deployment, ledger),
    reason: reason || `catches up with ${deployment.id}: ${names}`,
    values: await recordedConfig(deployment, environment, context),
    revision: deployment.configRevision,
    finishes,
  }
}

interface Source {
  deployment: Deployment
  /** It failed on some hosts, and was left on others. */
  finishes: boolean
}

/**
 * The deployment to bring to more hosts: what runs there, or a deployment that was left on some hosts.
 * While there is such a deployment, which of the two is meant must be said.
 */
async function findSource(
  app: string,
  environment: string,
  name: ReleaseName | undefined,
  ledger: Ledger,
): Promise<Source> {
  const [cell] = await ledger.status({ app, environment })
  const partial = cell?.partial ?? []
  if (name === undefined && partial.length > 0) throw ambiguous(app, environment, cell)
  const left = partial.filter(({ version }) => name?.app === app && version === name.version)
  const newest = Math.max(...left.map(({ deployment }) => Number(deployment.slice(1))))
  const unfinished = left.length > 0 ? await ledger.findDeployment(`d${newest}`) : undefined
  if (unfinished) {
    const there = partial.flatMap(({ host, deployment }) =>
      deployment === unfinished.id ? [host] : [],
    )
    return { deployment: onlyOn(unfinished, (host) => there.includes(host)), finishes: true }
  }
  const current = await findCurrent(app, environment, ledger)
  const [runs, wanted] = [formatRelease(current), formatRelease(name ?? current)]
  if (wanted !== runs) {
    throw new StepError('CONFLICT', `${runs} runs in ${environment}, not ${wanted}`, {
      hint: `Without \`--missing\`, ${wanted} is deployed to all hosts.`,
    })
  }
  const isLeft = (host: string) => !partial.some((each) => each.host === host)
  return { deployment: onlyOn(current, isLeft), finishes: false }
}

/** With what runs on these hosts only. */
function onlyOn(deployment: Deployment, isThere: (host: string) => boolean): Deployment {
  const hosts = deployment.hosts.map((each) => ({ ...each, ok: each.ok && isThere(each.host) }))
  return { ...deployment, hosts }
}

function ambiguous(app: string, environment: string, cell: StatusCell | undefined): StepError {
  const facts = describePartial(cell)
  const releases = new Set(cell?.partial.map(({ version }) => formatRelease({ app, version })))
  const finish = [...releases].map((name) => `\`--missing --release ${name}\``).join(' or ')
  return new StepError('CONFLICT', `hosts of ${environment} differ: ${facts.join(', ')}`, {
    hint: `${finish} brings that to the other hosts; \`crosscloud rollback --env ${environment} --reason "…"\` takes it back.`,
  })
}

/** `app-01 runs 1.5.0 of d7`, for each host that a failed deployment was left on. */
export function describePartial(cell: Pick<StatusCell, 'partial'> | undefined): string[] {
  return (cell?.partial ?? []).map(
    ({ host, version, deployment }) => `${host} runs ${version} of ${deployment}`,
  )
}
