import { createHash } from 'node:crypto'
import type { Kysely, Transaction } from 'kysely'
import { errorCodeOf, StepError } from '../../core/errors.ts'
import { type DeploymentState, deploymentStates, type Ledger } from '../ledger.ts'
import { isImportable, newestMigration } from '../migrations/migrate.ts'
import type { Access } from './access.ts'
import type { Schema } from './schema.ts'

type Exchange = Pick<Ledger, 'exportRecords' | 'importRecords' | 'facts'>
type Row = Record<string, string | number | null>
/** Any of the tables, by a name from TABLES and no other. */
type Tables = Record<string, Row>
type DeploymentEnds = [id: Row[string], state: DeploymentState][]

/**
 * All that is kept, by the key that orders it; parents come before their children. Locks are left
 * out, which end by themselves, and what runs now, which follows from the deployments.
 */
const TABLES: readonly (readonly [table: string, key: readonly string[]])[] = [
  ['facts', ['name']],
  ['counters', ['name']],
  ['applications', ['name']],
  ['config_revisions', ['revision']],
  ['releases', ['number']],
  ['deployments', ['number']],
  ['deployment_hosts', ['deployment', 'position']],
  ['approvals', ['number']],
  ['deployment_approvals', ['deployment', 'approval']],
  ['marks', ['number']],
  ['audit_events', ['number']],
  ['audit_log', ['number']],
  ['audit_head', ['name']],
  ['api_tokens', ['number']],
  ['hosts', ['app', 'environment', 'name', 'address']],
  ['config_changes', ['number']],
  ['config_change_keys', ['number', 'position']],
]
/** Rows that every ledger is made with: they are replaced, not added. */
const MADE = new Set(['facts', 'counters', 'audit_head'])
/** Tables that not every account may read. */
const APART = new Set(['audit_log', 'audit_head', 'api_tokens'])
const FORMAT = 'crosscloud-ledger-1'
const MISFIT = 'does not fit what came before; the file was changed'
/** Rows read or written at once. */
const PAGE = 500

export function createExchange({ read, write }: Access): Exchange {
  return {
    async facts() {
      return await read('counting the records', async (db) => {
        const rows: Record<string, number> = {}
        for (const [table] of TABLES) {
          const found = await count(open(db), table).catch(unlessDenied(table))
          if (found !== undefined) rows[table] = found
        }
        return { schema: newestMigration(), rows }
      })
    },

    async exportRecords(put) {
      const begin = onlyOnce()
      await read('exporting the ledger', async (db) => {
        begin()
        const hash = createHash('sha256')
        const line = async (value: object) => {
          const text = `${JSON.stringify(value)}\n`
          hash.update(text)
          await put(text)
        }
        await line({ format: FORMAT, schema: newestMigration() })
        let rows = 0
        for (const [table, key] of TABLES) {
          for await (const row of rowsOf(open(db), table, key)) {
            await line({ table, row })
            rows++
          }
        }
        await put(`${JSON.stringify({ rows, sha256: hash.digest('hex') })}\n`)
      })
    },

    async importRecords(lines) {
      const begin = onlyOnce()
      return await write('importing into the ledger', async (trx) => {
        begin()
        await refuseRecords(trx)
        return await takeLines(open(trx), lines)
      })
    },
  }
}

/** An export that was handed out, or an import that was read, cannot be tried again when it is contended. */
function onlyOnce(): () => void {
  let begun = false
  return () => {
    if (begun) throw new StepError('UNAVAILABLE', 'another process was in the way')
    begun = true
  }
}

const open = (db: Kysely<Schema>) => db as unknown as Kysely<Tables>

async function count(db: Kysely<Tables>, table: string): Promise<number> {
  const row = await db
    .selectFrom(table)
    .select((row) => row.fn.countAll<number | string>().as('rows'))
    .executeTakeFirstOrThrow()
  return Number(row.rows)
}

/** An account of deployments has no right to read the audit log; what else it holds it counts. */
function unlessDenied(table: string) {
  return (error: unknown): undefined => {
    const isDenied = errorCodeOf(error) === 'ER_TABLEACCESS_DENIED_ERROR'
    if (!isDenied || !APART.has(table)) throw error
  }
}

/** Page after page by the key, so that no table is ever whole in memory. */
async function* rowsOf(db: Kysely<Tables>, table: string, key: readonly string[]) {
  for (let last: Row | undefined; ; ) {
    let query = db.selectFrom(table).selectAll().limit(PAGE)
    for (const column of key) query = query.orderBy(column)
    if (last) query = query.where(after(key, last))
    const page = await query.execute()
    for (const row of page) yield sorted(row)
    last = page.at(-1)
    if (page.length < PAGE || last === undefined) return
  }
}

/** `(a, b) > (x, y)`, spelt out: not every database uses an index for a row's comparison. */
function after(key: readonly string[], last: Row) {
  return (row: import('kysely').ExpressionBuilder<Tables, string>) =>
    row.or(
      key.map((column, index) =>
        row.and([
          ...key.slice(0, index).map((same) => row(same, '=', last[same] ?? null)),
          row(column, '>', last[column] ?? null),
        ]),
      ),
    )
}

const sorted = (row: Row): Row =>
  Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))

async function refuseRecords(trx: Transaction<Schema>): Promise<void> {
  const known = await trx.selectFrom('applications').select('name').limit(1).executeTakeFirst()
  const { number } = await trx.selectFrom('audit_head').select('number').executeTakeFirstOrThrow()
  if (!known && number === 0) return
  const what = known ? `, of ${known.name}` : ' in its audit log'
  throw new StepError('CONFLICT', `the ledger has records already${what}`, {
    hint: 'Import into a new, empty ledger. Nothing was written.',
  })
}

/** Takes all lines, or throws; the transaction then leaves nothing. */
async function takeLines(
  db: Kysely<Tables>,
  lines: AsyncIterable<string>,
): Promise<{ rows: number }> {
  const columns = await columnsOf(db)
  const hash = createHash('sha256')
  let rows = 0
  let number = 0
  let batch: { table: string; rows: Row[] } = { table: '', rows: [] }
  let closing: unknown
  const ends: DeploymentEnds = []
  const flush = async () => {
    if (batch.rows.length > 0) {
      await insert(db, batch.table, batch.rows).catch((error: unknown) => {
        throw isGuarded(error) ? unreadable(number, MISFIT) : error
      })
    }
    batch = { table: '', rows: [] }
  }
  for await (const text of lines) {
    number++
    if (closing !== undefined) throw unreadable(number, 'comes after the closing line')
    const line = parseLine(text, number)
    if (number === 1) checkHead(line)
    else if ('sha256' in line) {
      closing = line
      if (line.rows !== rows || line.sha256 !== hash.digest('hex')) {
        throw unreadable(number, MISFIT)
      }
      continue
    } else {
      const { table, row } = checkRow(line, number, columns)
      if (batch.table !== table || batch.rows.length === PAGE) await flush()
      batch.table = table
      batch.rows.push(table === 'deployments' ? { ...row, state: 'running' } : row)
      if (table === 'deployments') ends.push([row.id ?? null, endOf(row, number)])
      rows++
    }
    hash.update(`${text}\n`)
  }
  if (closing === undefined)
    throw unreadable(number, 'is the last one, and no closing line is there')
  await flush()
  await endDeployments(db, ends)
  await deriveCurrent(db)
  return { rows }
}

function parseLine(text: string, number: number): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Refused below.
  }
  throw unreadable(number, 'is not JSON')
}

function checkHead({ format, schema }: Record<string, unknown>): void {
  if (format !== FORMAT) throw unreadable(1, 'is not the head of an exported ledger')
  if (isImportable(schema)) return
  throw new StepError(
    'INPUT_INVALID',
    `the export has schema ${String(schema)}, this crosscloud has ${newestMigration()}`,
    { hint: 'Migrate the ledger it came from, and export it again, with the same crosscloud.' },
  )
}

function checkRow(
  { table, row, ...more }: Record<string, unknown>,
  number: number,
  columns: ReadonlyMap<string, string>,
): { table: string; row: Row } {
  const expected = typeof table === 'string' ? columns.get(table) : undefined
  if (typeof table !== 'string' || expected === undefined) {
    throw unreadable(number, `is of no table of a ledger`)
  }
  const isRow = typeof row === 'object' && row !== null && Object.keys(more).length === 0
  if (!isRow || Object.keys(row).sort().join() !== expected) {
    throw unreadable(number, `is no row of ${table}`)
  }
  for (const value of Object.values(row)) {
    if (value !== null && !['string', 'number'].includes(typeof value)) {
      throw unreadable(number, `is no row of ${table}`)
    }
  }
  return { table, row: row as Row }
}

/** Column names by table, sorted, as one text. */
async function columnsOf(db: Kysely<Tables>): Promise<Map<string, string>> {
  const tables = await db.introspection.getTables()
  return new Map(
    TABLES.map(([table]) => {
      const found = tables.find(({ name }) => name === table)
      const names = found?.columns.map(({ name }) => name) ?? []
      return [table, names.sort().join()]
    }),
  )
}

async function insert(db: Kysely<Tables>, table: string, rows: Row[]): Promise<void> {
  if (MADE.has(table)) {
    for (const { name = null, ...values } of rows) {
      await db.updateTable(table).set(values).where('name', '=', name).execute()
    }
    return
  }
  // SQLite takes 32,766 values in one statement.
  const size = Math.max(1, Math.floor(30_000 / Object.keys(rows[0] ?? {}).length))
  for (let at = 0; at < rows.length; at += size) {
    await db
      .insertInto(table)
      .values(rows.slice(at, at + size))
      .execute()
  }
}

function endOf({ state }: Row, number: number): DeploymentState {
  const known = deploymentStates.find((name) => name === state)
  if (known === undefined) throw unreadable(number, 'is no row of deployments')
  return known
}

/** Only a running deployment takes hosts and approvals (guards.ts), so each ends when it has them. */
async function endDeployments(db: Kysely<Tables>, ends: DeploymentEnds): Promise<void> {
  for (const state of deploymentStates.filter((name) => name !== 'running')) {
    const ids = ends.filter(([, end]) => end === state).map(([id]) => id)
    for (let at = 0; at < ids.length; at += PAGE) {
      await db
        .updateTable('deployments')
        .set({ state })
        .where('id', 'in', ids.slice(at, at + PAGE))
        .execute()
    }
  }
}

async function deriveCurrent(db: Kysely<Tables>): Promise<void> {
  const { sql } = await import('kysely')
  await sql`insert into current_deployments (app, environment, number)
    select app, environment, max(number) from deployments
    where state = 'succeeded' group by app, environment`.execute(db)
}

/** Whether a trigger (guards.ts) refused a row, such as a number above its counter's. */
function isGuarded(error: unknown): boolean {
  return ['SQLITE_CONSTRAINT_TRIGGER', 'ER_SIGNAL_EXCEPTION'].includes(errorCodeOf(error) ?? '')
}

function unreadable(line: number, what: string): StepError {
  return new StepError('INPUT_INVALID', `line ${line} ${what}`, {
    hint: 'Nothing was written. Take a file that `crosscloud ledger export` wrote, whole.',
  })
}
