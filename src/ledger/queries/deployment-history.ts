import type { ExpressionBuilder, Kysely, Selectable } from 'kysely'
import { breakGlassOf } from '../break-glass.ts'
import {
  checkLimit,
  checkName,
  checkText,
  checkTime,
  checkVersion,
  invalid,
} from '../database/names.ts'
import type { DeploymentsTable, Schema } from '../database/schema.ts'
import { type Deployment, deploymentStates, type HistoryQuery } from '../ledger.ts'
import { fromRow, numberIn } from './deployment-rows.ts'

export function checkQuery({
  app,
  version,
  environment,
  state,
  by,
  since,
  before,
  limit,
}: HistoryQuery) {
  if (app !== undefined) checkName('application', app)
  if (version !== undefined) checkVersion(version)
  if (environment !== undefined) checkName('environment', environment)
  if (state !== undefined && !deploymentStates.includes(state)) {
    throw invalid(`"${state}" is not a state; known: ${deploymentStates.join(', ')}`)
  }
  checkText('who started it', by)
  if (since !== undefined) checkTime('since', since)
  if (before !== undefined && numberIn(before, 'd') === undefined) {
    throw invalid(`"${before}" is not the id of a deployment; they look like d12`)
  }
  checkLimit(limit)
}

/** The lock of a running deployment, while its deployer lives. */
const livingLock = (row: ExpressionBuilder<Schema, 'deployments'>, moment: string) =>
  row
    .selectFrom('locks')
    .select('locks.token')
    .whereRef('locks.app', '=', 'deployments.app')
    .whereRef('locks.environment', '=', 'deployments.environment')
    .whereRef('locks.token', '=', 'deployments.lock_token')
    .where('locks.expires_at', '>', moment)

/** The rows of one page, newest first. `moment` is now. */
export async function selectPage(db: Kysely<Schema>, query: HistoryQuery, moment: string) {
  const { app, version, environment, state, by, since, before, limit } = query
  let rows = db.selectFrom('deployments').selectAll().orderBy('number', 'desc').limit(limit)
  if (app !== undefined) rows = rows.where('app', '=', app)
  if (version !== undefined) rows = rows.where('version', '=', version)
  if (environment !== undefined) rows = rows.where('environment', '=', environment)
  if (by !== undefined) rows = rows.where('started_by', '=', by)
  if (before !== undefined) rows = rows.where('number', '<', numberIn(before, 'd') ?? 0)
  if (since !== undefined) {
    const first = await firstSince(db, since)
    if (first === undefined) return []
    rows = rows.where('number', '>=', first).where('started_at', '>=', since)
  }
  if (state === undefined) return await rows.execute()
  const inState = rows.where('state', '=', state)
  const running = rows.where('state', '=', 'running')
  if (state === 'running') {
    return await running
      .where((row) => row.or([row('lock_token', 'is', null), row.exists(livingLock(row, moment))]))
      .execute()
  }
  if (state !== 'abandoned') return await inState.execute()
  const lost = running
    .where('lock_token', 'is not', null)
    .where((row) => row.not(row.exists(livingLock(row, moment))))
  const both = [...(await inState.execute()), ...(await lost.execute())]
  return both.sort((a, b) => b.number - a.number).slice(0, limit)
}

/** The lowest number started since then: history is read by number, which counts the same way. */
export async function firstSince(db: Kysely<Schema>, since: string): Promise<number | undefined> {
  const row = await db
    .selectFrom('deployments')
    .select('number')
    .where('started_at', '>=', since)
    .orderBy('started_at')
    .orderBy('number')
    .limit(1)
    .executeTakeFirst()
  return row?.number
}

export async function findRow(db: Kysely<Schema>, id: string) {
  return await db.selectFrom('deployments').selectAll().where('id', '=', id).executeTakeFirst()
}

/** The rows with what belongs to them; in a fixed number of queries. */
export async function complete(
  db: Kysely<Schema>,
  rows: Selectable<DeploymentsTable>[],
  moment: string,
): Promise<Deployment[]> {
  if (rows.length === 0) return []
  const ids = rows.map((row) => row.id)
  const hosts = await db
    .selectFrom('deployment_hosts')
    .selectAll()
    .where('deployment', 'in', ids)
    .orderBy('position')
    .execute()
  const used = await db
    .selectFrom('deployment_approvals')
    .selectAll()
    .where('deployment', 'in', ids)
    .orderBy('approval')
    .execute()
  const held = rows.some(({ state, lock_token }) => state === 'running' && lock_token !== null)
  const living = held ? await livingTokens(db, moment) : new Set<number>()
  const breakGlass = await breakGlassOf(db, rows)
  const hostsOf = byDeployment(hosts)
  const approvalsOf = byDeployment(used)
  return rows.map((row) =>
    fromRow(row, {
      hosts: hostsOf.get(row.id) ?? [],
      approvals: approvalsOf.get(row.id)?.map(({ approval }) => approval) ?? [],
      breakGlass: breakGlass.get(row.id),
      lost: isLost(row, living),
    }),
  )
}

function byDeployment<Row extends { deployment: string }>(rows: readonly Row[]) {
  const groups = new Map<string, Row[]>()
  for (const row of rows) groups.set(row.deployment, [...(groups.get(row.deployment) ?? []), row])
  return groups
}

/** Tokens of the locks that have not expired; there are few at any time. */
export async function livingTokens(
  db: Kysely<Schema>,
  moment: string,
): Promise<ReadonlySet<number>> {
  const locks = db.selectFrom('locks').select('token').where('expires_at', '>', moment)
  return new Set((await locks.execute()).map(({ token }) => token))
}

/** Whether it still runs by its row, and its deployer is gone. */
export function isLost(
  { state, lock_token }: Pick<Selectable<DeploymentsTable>, 'state' | 'lock_token'>,
  living: ReadonlySet<number>,
): boolean {
  return state === 'running' && lock_token !== null && !living.has(lock_token)
}
