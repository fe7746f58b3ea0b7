import type { Kysely, Selectable } from 'kysely'
import type { Digest } from '../../core/digest.ts'
import { selectUnsigned } from '../break-glass.ts'
import { type Access, timestamp } from '../database/access.ts'
import { checkName } from '../database/names.ts'
import type { Schema } from '../database/schema.ts'
import type { DeploymentKind, DeploymentState, Ledger, StatusCell, StatusQuery } from '../ledger.ts'
import { standingByKey } from '../standing-marks.ts'
import { isLost } from './deployment-history.ts'
import { findLeft, type Place, type PlaceAfter } from './left-behind.ts'
import { countNewer } from './newer-releases.ts'

type Status = Pick<Ledger, 'status' | 'unsigned'>

/** Which version is where. A fixed number of queries, each from what runs now, none over history. */
export function createStatus({ read, now }: Access): Status {
  return {
    async unsigned(query = {}) {
      checkQuery(query)
      return await read('reading what is to be signed off', (db) => selectUnsigned(db, query))
    },

    async status(query = {}) {
      checkQuery(query)
      return await read('reading what runs where', async (db) => {
        const { cells, newer, running } = await currentCells(db, query)
        await addUnderway(db, query, cells, timestamp(now()))
        for (const { behind, ...place } of await countNewer(db, running)) {
          cellOf(place, cells).behind = behind
        }
        await addMarks(db, cells)
        await addMissing(db, query, cells)
        await addLeft(db, [...newer, ...(await placesWithoutCurrent(db, query))], cells)
        for (const deployment of await selectUnsigned(db, query)) {
          cellOf(deployment, cells).unsigned.push(deployment)
        }
        return [...cells.values()].sort(
          (a, b) => compare(a.app, b.app) || compare(a.environment, b.environment),
        )
      })
    },
  }
}

function checkQuery({ app, environment }: StatusQuery): void {
  if (app !== undefined) checkName('application', app)
  if (environment !== undefined) checkName('environment', environment)
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

/** Cells by application and environment. */
type Cells = Map<string, StatusCell>
const keyOf = ({ app, environment }: Place) => `${app} ${environment}`

const emptyCell = ({ app, environment }: Place): StatusCell => ({
  app,
  environment,
  current: undefined,
  missing: [],
  partial: [],
  unsettled: [],
  behind: 0,
  unsigned: [],
  bad: undefined,
  lock: undefined,
  underway: undefined,
})

function cellOf({ app, environment }: Place, cells: Cells): StatusCell {
  const key = keyOf({ app, environment })
  const found = cells.get(key) ?? emptyCell({ app, environment })
  cells.set(key, found)
  return found
}

/** The deployments that run, for more to be joined. */
function selectCurrent(db: Kysely<Schema>, { app, environment }: StatusQuery) {
  let query = db
    .selectFrom('current_deployments as now')
    .innerJoin('deployments as d', 'd.number', 'now.number')
    .select(['now.app', 'now.environment'])
  if (app !== undefined) query = query.where('now.app', '=', app)
  if (environment !== undefined) query = query.where('now.environment', '=', environment)
  return query
}

/** What runs, and where a deployment came after that: one look into the index for each. */
async function currentCells(
  db: Kysely<Schema>,
  asked: StatusQuery,
): Promise<{ cells: Cells; newer: PlaceAfter[]; running: PlaceAfter[] }> {
  const query = selectCurrent(db, asked)
    .leftJoin('releases as ours', (join) =>
      join.onRef('ours.app', '=', 'd.app').onRef('ours.version', '=', 'd.version'),
    )
    .select('ours.number as released')
    .select(['d.id', 'd.number', 'd.version', 'd.digest', 'd.config_revision', 'd.kind'])
    .select(['d.started_by', 'd.started_at', 'd.finished_at', 'd.verified'])
    .select((row) =>
      row
        .selectFrom('deployments as last')
        .select('last.number')
        .whereRef('last.app', '=', 'now.app')
        .whereRef('last.environment', '=', 'now.environment')
        .orderBy('last.number', 'desc')
        .limit(1)
        .as('newest'),
    )
  const rows = await query.execute()
  const cells = new Map(
    rows.map((row) => [keyOf(row), { ...emptyCell(row), current: currentOf(row) }]),
  )
  const newer = rows.flatMap(({ app, environment, number, newest }) =>
    Number(newest) > Number(number) ? [{ app, environment, after: Number(number) }] : [],
  )
  const running = rows.flatMap(({ app, environment, released }) =>
    released === null ? [] : [{ app, environment, after: Number(released) }],
  )
  return { cells, newer, running }
}

type CurrentRow = Pick<
  Selectable<Schema['deployments']>,
  | 'id'
  | 'version'
  | 'digest'
  | 'config_revision'
  | 'kind'
  | 'started_by'
  | 'started_at'
  | 'finished_at'
  | 'verified'
>

function currentOf(row: CurrentRow): StatusCell['current'] {
  return {
    deployment: row.id,
    version: row.version,
    digest: row.digest as Digest,
    configRevision: row.config_revision,
    kind: row.kind as DeploymentKind,
    by: row.started_by,
    since: row.finished_at ?? row.started_at,
    verified: row.verified === 1,
  }
}

/** Deployments that have not ended, and locks; there are few of both at any time. */
async function addUnderway(
  db: Kysely<Schema>,
  { app, environment }: StatusQuery,
  cells: Cells,
  moment: string,
): Promise<void> {
  const wanted = (place: Place) =>
    (app ?? place.app) === place.app && (environment ?? place.environment) === place.environment
  const locks = await db.selectFrom('locks').selectAll().where('expires_at', '>', moment).execute()
  const living = new Set(locks.map(({ token }) => token))
  for (const lock of locks.filter(wanted)) {
    const { owner, reason, expires_at } = lock
    cellOf(lock, cells).lock = { owner, reason, expiresAt: expires_at }
  }
  const running = await db
    .selectFrom('deployments')
    .select(['app', 'environment', 'id', 'version', 'started_by', 'started_at'])
    .select(['state', 'lock_token'])
    .where('state', '=', 'running')
    .orderBy('number')
    .execute()
  for (const row of running.filter(wanted)) {
    const state: DeploymentState = isLost(row, living) ? 'abandoned' : 'running'
    const { id, version, started_by, started_at } = row
    cellOf(row, cells).underway = {
      deployment: id,
      version,
      by: started_by,
      since: started_at,
      state,
      hosts: [],
    }
  }
}

/** Marks of the releases that run. */
async function addMarks(db: Kysely<Schema>, cells: Cells): Promise<void> {
  const rows = await db
    .selectFrom('marks as m')
    .innerJoin('current_deployments as now', (join) =>
      join.onRef('now.app', '=', 'm.app').onRef('now.environment', '=', 'm.environment'),
    )
    .innerJoin('deployments as d', 'd.number', 'now.number')
    .select(['m.app', 'm.environment', 'm.bad', 'm.marked_by', 'm.identity'])
    .select(['m.reason', 'm.marked_at'])
    .whereRef('m.version', '=', 'd.version')
    .orderBy('m.number')
    .execute()
  for (const [key, mark] of standingByKey(rows, keyOf)) {
    const cell = cells.get(key)
    if (cell && mark.bad) cell.bad = { by: mark.by, reason: mark.reason, at: mark.marked_at }
  }
}

/** Hosts that what runs was not put on. */
async function addMissing(db: Kysely<Schema>, asked: StatusQuery, cells: Cells): Promise<void> {
  const query = selectCurrent(db, asked)
    .innerJoin('deployment_hosts as h', 'h.deployment', 'd.id')
    .select('h.host')
    .where('h.ok', '=', 0)
    .orderBy('h.position')
  for (const row of await query.execute()) cells.get(keyOf(row))?.missing.push(row.host)
}

async function addLeft(
  db: Kysely<Schema>,
  places: readonly PlaceAfter[],
  cells: Cells,
): Promise<void> {
  for (const left of await findLeft(db, places)) {
    const { hosts, partial, unsettled } = left
    const underway = cells.get(keyOf(left))?.underway
    if (underway) underway.hosts = hosts
    if (partial.length + unsettled.length === 0) continue
    Object.assign(cellOf(left, cells), { partial, unsettled })
  }
}

/** Where nothing ever succeeded, by the hosts that deployments were begun for: those are few. */
async function placesWithoutCurrent(
  db: Kysely<Schema>,
  { app, environment }: StatusQuery,
): Promise<PlaceAfter[]> {
  let query = db
    .selectFrom('hosts as h')
    .leftJoin('current_deployments as now', (join) =>
      join.onRef('now.app', '=', 'h.app').onRef('now.environment', '=', 'h.environment'),
    )
    .select(['h.app', 'h.environment'])
    .distinct()
    .where('now.number', 'is', null)
  if (app !== undefined) query = query.where('h.app', '=', app)
  if (environment !== undefined) query = query.where('h.environment', '=', environment)
  return (await query.execute()).map((place) => ({ ...place, after: 0 }))
}
