import type { Kysely, Selectable, Transaction } from 'kysely'
import { type Digest, parseDigest } from '../core/digest.ts'
import { StepError } from '../core/errors.ts'
import { type Access, holdApplication, nextNumber, timestamp } from './access.ts'
import {
  type Deployment,
  type DeploymentEnd,
  type DeploymentStart,
  deploymentStates,
  type HostOutcome,
  type Ledger,
} from './ledger.ts'
import {
  checkAmount,
  checkFilled,
  checkLimit,
  checkName,
  checkText,
  checkVersion,
  invalid,
} from './names.ts'
import type { DeploymentHostsTable, DeploymentsTable, Schema } from './schema.ts'

type Deployments = Pick<Ledger, 'startDeployment' | 'endDeployment' | 'deployments' | 'current'>

export function createDeployments({ read, write, now }: Access): Deployments {
  return {
    async startDeployment(start) {
      checkStart(start)
      const { app, version, environment } = start
      return await write(`starting ${app}@${version} in ${environment}`, async (trx) => {
        await holdApplication(trx, app, now())
        await assertReleased(trx, start)
        const number = await nextNumber(trx, 'deployment')
        const started_at = timestamp(now())
        await abandonOlder(trx, start, number, started_at)
        const row = toRow(start, number, started_at)
        await trx.insertInto('deployments').values(row).execute()
        return fromRow(row, [])
      })
    },

    async endDeployment(id, end) {
      checkFilled('the id of a deployment', id)
      checkEnd(id, end)
      await write(`closing deployment ${id}`, async (trx) => {
        const closed = await trx
          .updateTable('deployments')
          .set({
            state: end.state,
            finished_at: timestamp(now()),
            error: end.error ?? null,
            verified: end.verified ? 1 : 0,
          })
          .where('id', '=', id)
          .where('state', '=', 'running')
          .executeTakeFirst()
        if (closed.numUpdatedRows === 0n) throw await notRunning(trx, id)
        const rows = end.hosts.map((host, position) => toHostRow(id, host, position))
        if (rows.length > 0) await trx.insertInto('deployment_hosts').values(rows).execute()
      })
    },

    async deployments({ app, version, environment, state, limit }) {
      if (app !== undefined) checkName('application', app)
      if (version !== undefined) checkVersion(version)
      if (environment !== undefined) checkName('environment', environment)
      if (state !== undefined && !deploymentStates.includes(state)) {
        throw invalid(`"${state}" is not a state; known: ${deploymentStates.join(', ')}`)
      }
      checkLimit(limit)
      return await read('reading the history', async (db) => {
        let query = db.selectFrom('deployments').selectAll().orderBy('number', 'desc').limit(limit)
        if (app !== undefined) query = query.where('app', '=', app)
        if (version !== undefined) query = query.where('version', '=', version)
        if (environment !== undefined) query = query.where('environment', '=', environment)
        if (state !== undefined) query = query.where('state', '=', state)
        return await withHosts(db, await query.execute())
      })
    },

    async current(app) {
      if (app !== undefined) checkName('application', app)
      return await read('reading what runs', async (db) => {
        let newest = db
          .selectFrom('deployments')
          .select((row) => row.fn.max('number').as('number'))
          .where('state', '=', 'succeeded')
          .groupBy(['app', 'environment'])
        if (app !== undefined) newest = newest.where('app', '=', app)
        const rows = await db
          .selectFrom('deployments')
          .innerJoin(newest.as('newest'), 'newest.number', 'deployments.number')
          .selectAll('deployments')
          .orderBy('deployments.app')
          .orderBy('deployments.environment')
          .execute()
        return await withHosts(db, rows)
      })
    },
  }
}

/** A deployment is of a release that is known, and unchanged. */
async function assertReleased(trx: Transaction<Schema>, start: DeploymentStart): Promise<void> {
  const { app, version, digest } = start
  const release = await trx
    .selectFrom('releases')
    .select('digest')
    .where('app', '=', app)
    .where('version', '=', version)
    .executeTakeFirst()
  if (!release) {
    throw new StepError('NOT_FOUND', `${app}@${version} is not in the ledger`, {
      hint: 'Record the release first; push-image does so.',
    })
  }
  if (release.digest === digest) return
  throw new StepError(
    'CONFLICT',
    `${app}@${version} is recorded with ${release.digest}, not with ${digest}`,
    { hint: 'Deploy the image of the release, by the digest it was recorded with.' },
  )
}

/** The caller holds the lock, so whoever started an older one and did not end it is gone. */
async function abandonOlder(
  trx: Transaction<Schema>,
  { app, environment }: DeploymentStart,
  number: number,
  finished_at: string,
): Promise<void> {
  const error = `never reported its end; deployment ${deploymentId(number)} came after it`
  await trx
    .updateTable('deployments')
    .set({ state: 'abandoned', finished_at, error })
    .where('state', '=', 'running')
    .where('app', '=', app)
    .where('environment', '=', environment)
    .execute()
}

async function notRunning(trx: Transaction<Schema>, id: string): Promise<StepError> {
  const row = await trx
    .selectFrom('deployments')
    .select(['app', 'version', 'environment', 'state', 'error'])
    .where('id', '=', id)
    .executeTakeFirst()
  if (!row) return new StepError('NOT_FOUND', `deployment ${id} is not in the ledger`)
  const what = `deployment ${id} (${row.app}@${row.version} in ${row.environment})`
  const why = row.state === 'abandoned' && row.error ? `: ${row.error}` : ''
  return new StepError('CONFLICT', `${what} is already ${row.state}${why}`, {
    hint: 'A deployment ends once. Start another one.',
  })
}

async function withHosts(
  db: Kysely<Schema>,
  rows: Selectable<DeploymentsTable>[],
): Promise<Deployment[]> {
  if (rows.length === 0) return []
  const hosts = await db
    .selectFrom('deployment_hosts')
    .selectAll()
    .where(
      'deployment',
      'in',
      rows.map((row) => row.id),
    )
    .orderBy('position')
    .execute()
  const byDeployment = new Map(rows.map((row) => [row.id, [] as typeof hosts]))
  for (const host of hosts) byDeployment.get(host.deployment)?.push(host)
  return rows.map((row) => fromRow(row, byDeployment.get(row.id) ?? []))
}

function checkStart(start: DeploymentStart): void {
  checkName('application', start.app)
  checkName('environment', start.environment)
  checkVersion(start.version)
  const what = `${start.app}@${start.version} in ${start.environment}`
  parseDigest(start.digest, `digest of ${what}`)
  checkFilled(`${what}: config revision`, start.configRevision, 128)
  checkFilled(`${what}: by`, start.by, 255)
  checkText(`${what}: reason`, start.reason)
}

function checkEnd(id: string, end: DeploymentEnd): void {
  const what = `deployment ${id}`
  if (!['succeeded', 'failed', 'abandoned'].includes(end.state)) {
    throw invalid(`${what}: cannot end as "${end.state}"`)
  }
  checkText(`${what}: error`, end.error)
  for (const host of end.hosts) {
    checkFilled(`${what}: host`, host.host, 255)
    checkText(`${what}: container of ${host.host}`, host.containerId, 255)
    checkText(`${what}: previous container of ${host.host}`, host.previousContainerId, 255)
    checkText(`${what}: URL of ${host.host}`, host.url)
    checkAmount(`${what}: duration on ${host.host}`, host.duration)
  }
  const names = end.hosts.map((host) => host.host)
  const twice = names.find((name, position) => names.indexOf(name) !== position)
  if (twice !== undefined) throw invalid(`${what}: host ${twice} is named twice`)
}

function deploymentId(number: number): string {
  return `d${number}`
}

function toRow(
  start: DeploymentStart,
  number: number,
  started_at: string,
): Selectable<DeploymentsTable> {
  return {
    id: deploymentId(number),
    number,
    app: start.app,
    environment: start.environment,
    version: start.version,
    digest: start.digest,
    config_revision: start.configRevision,
    started_by: start.by,
    reason: start.reason ?? null,
    state: 'running',
    started_at,
    finished_at: null,
    error: null,
    verified: 0,
  }
}

function fromRow(
  row: Selectable<DeploymentsTable>,
  hosts: Selectable<DeploymentHostsTable>[],
): Deployment {
  return {
    id: row.id,
    app: row.app,
    version: row.version,
    environment: row.environment,
    digest: row.digest as Digest,
    configRevision: row.config_revision,
    by: row.started_by,
    reason: row.reason ?? undefined,
    state: row.state,
    startedAt: row.started_at,
    finishedAt: row.finished_at ?? undefined,
    error: row.error ?? undefined,
    hosts: hosts.map(fromHostRow),
    verified: row.verified === 1,
  }
}

function toHostRow(
  deployment: string,
  outcome: HostOutcome,
  position: number,
): DeploymentHostsTable {
  return {
    deployment,
    position,
    host: outcome.host,
    container_id: outcome.containerId ?? null,
    previous_container_id: outcome.previousContainerId ?? null,
    url: outcome.url ?? null,
    ok: outcome.ok ? 1 : 0,
    duration: outcome.duration,
  }
}

function fromHostRow(row: Selectable<DeploymentHostsTable>): HostOutcome {
  return {
    host: row.host,
    containerId: row.container_id ?? undefined,
    previousContainerId: row.previous_container_id ?? undefined,
    url: row.url ?? undefined,
    ok: row.ok === 1,
    duration: row.duration,
  }
}
