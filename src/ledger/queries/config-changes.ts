import { createHash } from 'node:crypto'
import type { Kysely, Selectable } from 'kysely'
import { StepError } from '../../core/errors.ts'
import { type Access, holdApplication, nextNumber, timestamp } from '../database/access.ts'
import {
  checkFilled,
  checkLimit,
  checkName,
  checkText,
  checkTime,
  invalid,
} from '../database/names.ts'
import type {
  ConfigChangeKeysTable,
  ConfigChangesTable,
  KeptState,
  Schema,
} from '../database/schema.ts'
import type {
  ConfigChangeQuery,
  ConfigChangeSet,
  ConfigChangeStart,
  KeptValue,
  KeyChange,
  Ledger,
} from '../ledger.ts'

type ConfigChanges = Pick<Ledger, 'recordConfigChange' | 'configChanges' | 'findConfigChange'>

const ID = /^c([1-9]\d*)$/
const LONGEST_KEY = 1024
/** Rows of an insert; eight values a row, and SQLite takes 32,766. */
const MOST_ROWS = 1000
/** Characters of an insert, unless a single row has more: MySQL's packets have a limit. */
const MOST_TEXT = 1 << 20

export function createConfigChanges({ read, write, now }: Access): ConfigChanges {
  return {
    async recordConfigChange(start) {
      checkStart(start)
      const { app, environment, by, reason, changes, request } = start
      return await write(`recording a change of ${app}'s config in ${environment}`, async (trx) => {
        await holdApplication(trx, app, now())
        const known = request && (await findRequest(trx, request))
        if (known) return known
        const number = await nextNumber(trx, 'config-change')
        const row = {
          number,
          app,
          environment,
          changed_by: by,
          reason: reason ?? null,
          changed_at: start.at ?? timestamp(now()),
          request: request ?? null,
          identity: start.identity ?? null,
        }
        await trx.insertInto('config_changes').values(row).execute()
        const keys = changes.map((change, position) => toKeyRow(number, change, position))
        for (const part of batches(keys)) {
          await trx.insertInto('config_change_keys').values(part).execute()
        }
        return fromRow(row, keys)
      })
    },

    async configChanges(query) {
      checkQuery(query)
      const { app, environment, key, after, before, since, until, limit } = query
      return await read('reading the changes of config', async (db) => {
        let sets = db.selectFrom('config_changes').selectAll().orderBy('number', 'desc')
        if (app !== undefined) sets = sets.where('app', '=', app)
        if (environment !== undefined) sets = sets.where('environment', '=', environment)
        if (since !== undefined) sets = sets.where('changed_at', '>=', since)
        if (until !== undefined) sets = sets.where('changed_at', '<', until)
        if (after !== undefined) sets = sets.where('number', '>', await numberOf(db, after))
        if (before !== undefined) sets = sets.where('number', '<', await numberOf(db, before))
        if (key !== undefined) sets = sets.where('number', 'in', numbersWith(db, key))
        return await withKeys(db, await sets.limit(limit).execute(), key)
      })
    },

    async findConfigChange(id) {
      checkId(id)
      return await read(`looking up config change ${id}`, async (db) => {
        const row = await find(db, id)
        return row && (await withKeys(db, [row], undefined))[0]
      })
    },
  }
}

async function find(db: Kysely<Schema>, id: string) {
  const number = Number(ID.exec(id)?.[1])
  if (!Number.isSafeInteger(number)) return undefined
  return await db
    .selectFrom('config_changes')
    .selectAll()
    .where('number', '=', number)
    .executeTakeFirst()
}

async function findRequest(db: Kysely<Schema>, request: string) {
  const rows = await db
    .selectFrom('config_changes')
    .selectAll()
    .where('request', '=', request)
    .execute()
  return (await withKeys(db, rows, undefined))[0]
}

async function numberOf(db: Kysely<Schema>, id: string): Promise<number> {
  const row = await find(db, id)
  if (row) return row.number
  throw new StepError('NOT_FOUND', `config change ${id} is not in the ledger`, {
    hint: 'Take the id from the history of the config.',
  })
}

function numbersWith(db: Kysely<Schema>, key: string) {
  return db.selectFrom('config_change_keys').select('number').where('key_hash', '=', hashOf(key))
}

async function withKeys(
  db: Kysely<Schema>,
  rows: Selectable<ConfigChangesTable>[],
  key: string | undefined,
): Promise<ConfigChangeSet[]> {
  if (rows.length === 0) return []
  const numbers = rows.map((row) => row.number)
  let query = db.selectFrom('config_change_keys').selectAll().where('number', 'in', numbers)
  if (key !== undefined) query = query.where('key_hash', '=', hashOf(key))
  const byNumber = new Map(numbers.map((number) => [number, [] as ConfigChangeKeysTable[]]))
  for (const row of await query.orderBy('number').orderBy('position').execute()) {
    byNumber.get(row.number)?.push(row)
  }
  return rows.map((row) => fromRow(row, byNumber.get(row.number) ?? []))
}

function checkStart(start: ConfigChangeStart): void {
  const { app, environment, by, reason, changes, request, at } = start
  checkName('application', app)
  checkName('environment', environment)
  const what = `the change of ${app}'s config in ${environment}`
  checkFilled(`${what}: by`, by, 255)
  checkText(`${what}: identity`, start.identity, 255)
  checkText(`${what}: reason`, reason)
  checkText(`${what}: request`, request, 64)
  if (at !== undefined) checkTime(`${what}: at`, at)
  if (changes.length === 0) throw invalid(`${what} has no key`)
  const seen = new Set<string>()
  for (const { key, before, after } of changes) {
    checkKey(key)
    if (seen.has(key)) throw invalid(`${what}: key ${key} is named twice`)
    seen.add(key)
    checkKept(`${what}: key ${key} before`, before)
    checkKept(`${what}: key ${key} after`, after)
  }
}

/** No message contains the text: only the caller knows what may be shown. */
function checkKept(what: string, value: KeptValue): void {
  if (value.state === 'kept' && typeof value.text !== 'string') {
    throw invalid(`${what} is not a text`)
  }
  if (!['absent', 'kept', 'withheld'].includes(value.state)) {
    throw invalid(`${what}: "${value.state}" is not a state`)
  }
}

function checkQuery(query: ConfigChangeQuery): void {
  const { app, environment, key, after, before, since, until, limit } = query
  if (app !== undefined) checkName('application', app)
  if (environment !== undefined) checkName('environment', environment)
  if (key !== undefined) checkKey(key)
  if (after !== undefined) checkId(after)
  if (before !== undefined) checkId(before)
  if (since !== undefined) checkTime('since', since)
  if (until !== undefined) checkTime('until', until)
  checkLimit(limit)
}

function checkKey(key: string): void {
  checkFilled('a key of the config', key, LONGEST_KEY)
}

function checkId(id: string): void {
  checkFilled('the id of a config change', id)
}

function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/** As few inserts as the databases take. */
function batches(rows: ConfigChangeKeysTable[]): ConfigChangeKeysTable[][] {
  const parts: ConfigChangeKeysTable[][] = []
  let part: ConfigChangeKeysTable[] = []
  let text = 0
  for (const row of rows) {
    const more =
      row.key_name.length + (row.before_text ?? '').length + (row.after_text ?? '').length
    if (part.length === MOST_ROWS || (part.length > 0 && text + more > MOST_TEXT)) {
      parts.push(part)
      part = []
      text = 0
    }
    part.push(row)
    text += more
  }
  parts.push(part)
  return parts
}

function toKeyRow(
  number: number,
  { key, before, after }: KeyChange,
  position: number,
): ConfigChangeKeysTable {
  const [beforeColumns, afterColumns] = [toColumns(before), toColumns(after)]
  return {
    number,
    position,
    key_name: key,
    key_hash: hashOf(key),
    before_state: beforeColumns.state,
    before_text: beforeColumns.text,
    after_state: afterColumns.state,
    after_text: afterColumns.text,
  }
}

interface Columns {
  state: KeptState
  text: string | null
}

function toColumns(value: KeptValue): Columns {
  if (value.state !== 'kept') return { state: value.state, text: null }
  // libsql reads a text up to its first NUL, and values may have some.
  if (value.text.includes('\0')) return { state: 'json', text: JSON.stringify(value.text) }
  return value
}

function fromColumns({ state, text }: Columns): KeptValue {
  if (state === 'json') return { state: 'kept', text: JSON.parse(text ?? '""') as string }
  return state === 'kept' ? { state, text: text ?? '' } : { state }
}

function fromRow(
  row: Selectable<ConfigChangesTable>,
  keys: ConfigChangeKeysTable[],
): ConfigChangeSet {
  return {
    id: `c${row.number}`,
    number: row.number,
    app: row.app,
    environment: row.environment,
    by: row.changed_by,
    identity: row.identity ?? undefined,
    reason: row.reason ?? undefined,
    at: row.changed_at,
    changes: keys.map((change) => ({
      key: change.key_name,
      before: fromColumns({ state: change.before_state, text: change.before_text }),
      after: fromColumns({ state: change.after_state, text: change.after_text }),
    })),
  }
}
