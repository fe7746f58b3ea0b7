import { StepError } from '../core/errors.ts'
import { isOfScan } from '../core/scanner.ts'
import { pageThrough } from '../ledger/history.ts'
import type { Deployment, Ledger, Mark } from '../ledger/ledger.ts'
import { formatRelease, type ReleaseName } from './release-name.ts'

/** Where a rollback goes, and the releases that ran since and are marked bad, newest first. */
export interface RollbackTarget {
  deployment: Deployment
  skipped: readonly Mark[]
}

/** The deployment to go back to: of the requested release, or of the newest good release before. */
export async function findRollbackTarget(
  current: Deployment,
  to: ReleaseName | undefined,
  ledger: Ledger,
): Promise<RollbackTarget> {
  const { app, environment } = current
  if (to && to.app !== app) {
    throw new StepError('INPUT_INVALID', `${formatRelease(to)} is no release of ${app}`)
  }
  const query = { app, environment, version: to?.version, state: 'succeeded' as const }
  const succeeded = pageThrough((page) => ledger.deployments({ ...query, ...page }))
  const skipped = new Map<string, Mark>()
  for await (const past of succeeded) {
    const isOther = past.version !== current.version
    // Of the release that runs, the config it had before is meant.
    if (to && (isOther || past.configRevision !== current.configRevision)) {
      return { deployment: past, skipped: [] }
    }
    if (to || !isOther || skipped.has(past.version)) continue
    const mark = await ledger.findMark(app, environment, past.version)
    if (!mark?.bad) return { deployment: past, skipped: [...skipped.values()] }
    skipped.set(past.version, mark)
  }
  throw await nowhereToGo(current, to, [...skipped.values()], ledger)
}

/** `webapi@1.4.1 is marked bad by li since …: orders fail` */
export function describeMark(mark: Mark): string {
  return `${formatRelease(mark)} is marked bad by ${mark.by} since ${mark.at}: ${mark.reason}`
}

/** Deployments of the release that runs which are searched for another config. */
const RECENT = 100

async function nowhereToGo(
  { app, environment, version, configRevision }: Deployment,
  to: ReleaseName | undefined,
  skipped: readonly Mark[],
  ledger: Ledger,
): Promise<StepError> {
  const running = formatRelease({ app, version })
  const wanted = to && formatRelease(to)
  const look = `\`crosscloud history --app ${app} --env ${environment}\` shows what ran there.`
  if (wanted === running) {
    const why = `${wanted} never ran in ${environment} with another config than it has now`
    const way = `\`crosscloud config rollback --env ${environment}\`, then \`crosscloud deploy --release ${running} --env ${environment}\`, change the config.`
    return new StepError('NOT_FOUND', why, { hint: `${look} ${way}` })
  }
  if (wanted) {
    return new StepError('NOT_FOUND', `${wanted} never ran in ${environment}`, { hint: look })
  }
  const query = { app, environment, version, state: 'succeeded' as const, limit: RECENT }
  const others = (await ledger.deployments(query)).filter(
    (past) => past.configRevision !== configRevision,
  )
  const back = `crosscloud rollback --env ${environment} --reason "…" --to`
  const config = `To bring back its config of before: \`${back} ${running}\`.`
  const forced = skipped.find((mark) => !isOfScan(mark))
  const force =
    forced && `\`${back} ${formatRelease(forced)} --force\` goes back to it all the same.`
  const lines = [
    `no good release but ${version} ever ran in ${environment}`,
    ...skipped.map(describeMark),
  ]
  const ways = [...(others.length > 0 ? [config] : []), ...(force ? [force] : [])]
  return new StepError('NOT_FOUND', lines.join('\n'), {
    hint: ways.length > 0 ? ways.join(' ') : look,
  })
}
