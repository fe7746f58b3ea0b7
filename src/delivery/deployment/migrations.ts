import { StepError } from '../../core/errors.ts'
import type { Who } from '../../identity/who.ts'
import type { Deployment, Ledger } from '../../ledger/ledger.ts'
import type { Context } from '../context.ts'
import { recordAct } from '../gate/guard.ts'
import { formatRelease } from '../release-name.ts'
import type { DeploymentRequest } from './request.ts'

/** Commands that are searched: those since the release last succeeded there. */
const RECENT = 1000

/**
 * A release must not meet by accident what the command of a younger release has left, a database with
 * newer tables: going back across it must be meant.
 */
export async function refuseCrossing(request: DeploymentRequest, context: Context): Promise<void> {
  const { release, environment, acrossMigration, reason } = request
  if (acrossMigration && reason === '') {
    throw new StepError('INPUT_INVALID', '`--across-migration` needs a reason', {
      hint: 'Say with `--reason` why the older release works with what was migrated.',
    })
  }
  const crossed = await findCrossed(request, await context.ledger())
  if (crossed.length === 0) return
  const facts = crossed.map(
    (each) => `${formatRelease(each)} (${each.id}) has run a command there since`,
  )
  const what = [`${formatRelease(release)} is older than what ${environment.name} was migrated to`]
  const message = [...what, ...facts].join('\n')
  if (acrossMigration) {
    context.log.warn(message)
    return
  }
  const look = `crosscloud history --env ${environment.name} --only events`
  throw new StepError('CONFLICT', message, {
    hint: `What it did is not undone: \`${look}\` shows it. If ${formatRelease(release)} works with that, add \`--across-migration\` and a reason.`,
  })
}

/**
 * The newest deployment of each release that is younger than this one and has run a command there
 * since this one last succeeded there.
 */
export async function findCrossed(
  {
    release,
    environment: { name: environment },
  }: Pick<DeploymentRequest, 'release' | 'environment'>,
  ledger: Ledger,
): Promise<Deployment[]> {
  const { app, version } = release
  const place = { app, environment }
  const [last] = await ledger.deployments({ ...place, version, state: 'succeeded', limit: 1 })
  const since = last?.finishedAt
  const events = await ledger.events({ ...place, action: 'command', since, limit: RECENT })
  if (events.length === 0 || (await runsAlone(place, version, ledger))) return []
  const ids = new Set(events.flatMap(({ subject }) => subject ?? []))
  const found = await Promise.all([...ids].map((id) => ledger.findDeployment(id)))
  const newest = new Map<string, Deployment>()
  for (const deployment of found.reverse()) {
    if (deployment) newest.set(deployment.version, deployment)
  }
  const order = await ledger.inOrder(app, [...new Set([version, ...newest.keys()])])
  return order.slice(order.indexOf(version) + 1).flatMap((each) => newest.get(each) ?? [])
}

/** What runs on all hosts is no way back, even where the command of another release has failed. */
async function runsAlone(
  place: { app: string; environment: string },
  version: string,
  ledger: Ledger,
): Promise<boolean> {
  const [cell] = await ledger.status(place)
  return cell?.current?.version === version && cell.partial.length === 0
}

export async function recordCrossing(
  { id, environment, reason }: Deployment,
  who: Who,
  context: Context,
): Promise<void> {
  await recordAct('across-migration', { environment, subject: id, reason }, who, context)
}
