import type { Kysely, Selectable, Transaction } from 'kysely'
import { StepError } from '../../core/errors.ts'
import { breakGlassOf } from '../break-glass.ts'
import { type Access, holdApplication, nextNumber, timestamp } from '../database/access.ts'
import { checkFilled, checkName } from '../database/names.ts'
import type { DeploymentsTable, Schema } from '../database/schema.ts'
import type {
  DeploymentEnd,
  DeploymentStart,
  HistoryQuery,
  Ledger,
  StatusQuery,
} from '../ledger.ts'
import { insertEvent } from './audit-events.ts'
import { checkQuery, complete, findRow, selectPage } from './deployment-history.ts'
import { checkEnd, checkStart, fromRow, numberIn, toHostRow, toRow } from './deployment-rows.ts'
import { checkMark, insertMark } from './marks.ts'
import { digestOf } from './releases.ts'

type Deployments = Pick<
  Ledger,
  | 'startDeployment'
  | 'endDeployment'
  | 'deployments'
  | 'findDeployment'
  | 'hosts'
  | 'current'
  | 'currentDeployment'
>

export function createDeployments({ read, write, now }: Access): Deployments {
  const page = async (db: Kysely<Schema>, query: HistoryQuery) =>
    await complete(db, await selectPage(db, query, timestamp(now())), timestamp(now()))
  return {
    async startDeployment(start) {
      checkStart(start)
      const { app, version, environment } = start
      return await write(`starting ${app}@${version} in ${environment}`, async (trx) => {
        await holdApplication(trx, app, now())
        const known = await findByLock(trx, start)
        if (known) return known
        await assertReleased(trx, start)
        const number = await nextNumber(trx, 'deployment')
        const started_at = timestamp(now())
        await abandonOlder(trx, start, number, started_at)
        const current = await currentNumber(trx, start)
        const row = toRow(start, number, started_at, current ? `d${current}` : null)
        await trx.insertInto('deployments').values(row).execute()
        const approvals = await useApprovals(trx, row.id, start)
        await rememberHosts(trx, row.id, start)
        const breakGlass = await recordBreakGlass(trx, row, start)
        return fromRow(row, { hosts: [], approvals, breakGlass, lost: false })
      })
    },

    async endDeployment(id, end) {
      checkFilled('the id of a deployment', id)
      checkEnd(id, end)
      await write(`closing deployment ${id}`, async (trx) => {
        const row = await findRow(trx, id)
        if (!row) throw new StepError('NOT_FOUND', `deployment ${id} is not in the ledger`)
        if (end.bad) checkMark(badRelease(row, end.bad))
        await holdApplication(trx, row.app, now())
        if (await isRecorded(trx, row, end)) return
        const finished_at = end.finishedAt ?? timestamp(now())
        // Before it ends: afterwards it takes no more (guards.ts).
        const rows = end.hosts.map((host, position) => toHostRow(id, host, position))
        if (rows.length > 0) await trx.insertInto('deployment_hosts').values(rows).execute()
        await trx
          .updateTable('deployments')
          .set({
            state: end.state,
            finished_at,
            error: end.error ?? null,
            verified: end.verified ? 1 : 0,
          })
          .where('id', '=', id)
          .execute()
        if (end.state === 'succeeded') await makeCurrent(trx, row)
        if (end.bad) await insertMark(trx, badRelease(row, end.bad), finished_at)
      })
    },

    async deployments(query) {
      checkQuery(query)
      return await read('reading the history', (db) => page(db, query))
    },

    async findDeployment(id) {
      checkFilled('the id of a deployment', id)
      return await read(`looking up deployment ${id}`, async (db) => {
        const row = await findRow(db, id)
        return row && (await complete(db, [row], timestamp(now())))[0]
      })
    },

    async hosts(app, environment) {
      checkName('application', app)
      checkName('environment', environment)
      return await read(`reading the hosts of ${app} in ${environment}`, (db) =>
        knownHosts(db, app, environment),
      )
    },

    async current(app) {
      if (app !== undefined) checkName('application', app)
      return await read('reading what runs', async (db) =>
        complete(db, await selectCurrent(db, { app }), timestamp(now())),
      )
    },

    async currentDeployment(app, environment) {
      checkName('application', app)
      checkName('environment', environment)
      const [found] = await read(`reading what runs in ${environment}`, async (db) =>
        complete(db, await selectCurrent(db, { app, environment }), timestamp(now())),
      )
      return found
    },
  }
}

/** The rows of the deployments that run. */
async function selectCurrent(db: Kysely<Schema>, { app, environment }: StatusQuery) {
  let query = db
    .selectFrom('current_deployments as now')
    .innerJoin('deployments', 'deployments.number', 'now.number')
    .selectAll('deployments')
    .orderBy('now.app')
    .orderBy('now.environment')
  if (app !== undefined) query = query.where('now.app', '=', app)
  if (environment !== undefined) query = query.where('now.environment', '=', environment)
  return await query.execute()
}

/** A connection may break after the database has done it: then the same start comes once more. */
async function findByLock(trx: Transaction<Schema>, start: DeploymentStart) {
  const { lockToken, app, environment, version } = start
  if (lockToken === undefined) return undefined
  const row = await trx
    .selectFrom('deployments')
    .selectAll()
    .where('lock_token', '=', lockToken)
    .executeTakeFirst()
  if (!row) return undefined
  if (row.app === app && row.environment === environment && row.version === version) {
    return (await complete(trx, [row], ''))[0]
  }
  throw new StepError('CONFLICT', `lock ${lockToken} has started deployment ${row.id} already`, {
    hint: 'Take the lock again for another deployment.',
  })
}

/** A deployment is of a release that is known, and unchanged. */
async function assertReleased(trx: Transaction<Schema>, start: DeploymentStart): Promise<void> {
  const { app, version, digest } = start
  const known = await digestOf(trx, start)
  if (known === undefined) {
    throw new StepError('NOT_FOUND', `${app}@${version} is not in the ledger`, {
      hint: 'Record the release first; push-image does so.',
    })
  }
  if (known === digest) return
  throw new StepError(
    'CONFLICT',
    `${app}@${version} is recorded with ${known}, not with ${digest}`,
    { hint: 'Deploy the image of the release, by the digest it was recorded with.' },
  )
}

/** The caller holds the lock, so the deployer of an older deployment that did not end is gone. */
async function abandonOlder(
  trx: Transaction<Schema>,
  { app, environment }: DeploymentStart,
  number: number,
  finished_at: string,
): Promise<void> {
  const error = `never reported its end; deployment d${number} came after it`
  await trx
    .updateTable('deployments')
    .set({ state: 'abandoned', finished_at, error })
    .where('state', '=', 'running')
    .where('app', '=', app)
    .where('environment', '=', environment)
    .execute()
}

async function currentNumber(
  trx: Transaction<Schema>,
  { app, environment }: Pick<DeploymentStart, 'app' | 'environment'>,
): Promise<number | undefined> {
  const row = await trx
    .selectFrom('current_deployments')
    .select('number')
    .where('app', '=', app)
    .where('environment', '=', environment)
    .executeTakeFirst()
  return row?.number
}

async function makeCurrent(trx: Transaction<Schema>, row: Selectable<DeploymentsTable>) {
  const { app, environment, number } = row
  const current = await currentNumber(trx, row)
  if (current === undefined) {
    await trx.insertInto('current_deployments').values({ app, environment, number }).execute()
  } else if (current < number) {
    await trx
      .updateTable('current_deployments')
      .set({ number })
      .where('app', '=', app)
      .where('environment', '=', environment)
      .execute()
  }
}

const badRelease = (
  { app, environment }: Selectable<DeploymentsTable>,
  bad: NonNullable<DeploymentEnd['bad']>,
) => ({ app, environment, ...bad, bad: true })

async function useApprovals(trx: Transaction<Schema>, deployment: string, start: DeploymentStart) {
  const numbers = (start.approvals ?? []).map((id) => numberIn(id, 'a') ?? 0)
  const rows = numbers.map((approval) => ({ deployment, approval }))
  if (rows.length > 0) await trx.insertInto('deployment_approvals').values(rows).execute()
  return numbers
}

/** Who goes past a gate is in the ledger before anything is touched. */
async function recordBreakGlass(
  trx: Transaction<Schema>,
  row: Selectable<DeploymentsTable>,
  { app, environment, by, identity = 'unverified', reason, jobUrl, breakGlass }: DeploymentStart,
) {
  if (breakGlass === undefined) return undefined
  const event = { app, environment, action: 'break-glass', subject: row.id, by, identity } as const
  await insertEvent(trx, { ...event, reason, jobUrl, byId: breakGlass.byId }, row.started_at)
  return (await breakGlassOf(trx, [row])).get(row.id)
}

async function rememberHosts(
  trx: Transaction<Schema>,
  first_deployment: string,
  { app, environment, hosts = [] }: DeploymentStart,
) {
  if (hosts.length === 0) return
  const known = await knownHosts(trx, app, environment)
  const fresh = hosts.filter(
    ({ name, address }) => !known.some((host) => host.name === name && host.address === address),
  )
  const rows = fresh.map(({ name, address }) => ({
    app,
    environment,
    name,
    address,
    first_deployment,
  }))
  if (rows.length > 0) await trx.insertInto('hosts').values(rows).execute()
}

async function knownHosts(db: Kysely<Schema>, app: string, environment: string) {
  return await db
    .selectFrom('hosts')
    .select(['name', 'address'])
    .where('app', '=', app)
    .where('environment', '=', environment)
    .execute()
}

/** Whether the deployment has ended in this way already; CONFLICT when it ended in another way. */
async function isRecorded(
  trx: Transaction<Schema>,
  row: Selectable<DeploymentsTable>,
  end: DeploymentEnd,
): Promise<boolean> {
  if (row.state === 'running') return false
  const hosts = await trx
    .selectFrom('deployment_hosts')
    .selectAll()
    .where('deployment', '=', row.id)
    .orderBy('position')
    .execute()
  const reported = end.hosts.map((host, position) => toHostRow(row.id, host, position))
  const same =
    row.state === end.state &&
    (row.error ?? undefined) === end.error &&
    (row.verified === 1) === end.verified &&
    JSON.stringify(hosts.map(sorted)) === JSON.stringify(reported.map(sorted))
  if (same) return true
  if (row.state === 'abandoned' && end.state !== 'abandoned' && hosts.length === 0) return false
  const what = `deployment ${row.id} (${row.app}@${row.version} in ${row.environment})`
  const why = row.state === 'abandoned' && row.error ? `: ${row.error}` : ''
  throw new StepError('CONFLICT', `${what} is already ${row.state}${why}`, {
    hint: 'A deployment ends once. Start another one.',
  })
}

const sorted = (row: object) => Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1))
