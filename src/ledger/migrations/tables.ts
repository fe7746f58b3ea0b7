import type { CreateTableBuilder, Kysely, RawBuilder } from 'kysely'
import { errorCodeOf } from '../../core/errors.ts'
import type { Dialect } from '../database/access.ts'
import type { Counter, Schema } from '../database/schema.ts'

export type CreateTable = (name: string) => CreateTableBuilder<string>

/**
 * One step forward. Column types are read by both databases: SQLite takes `longtext` as text,
 * `varchar(n)` without its length, and any integer as 64 bits.
 */
export type Migrate = (
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
  dialect: Dialect,
) => Promise<void>

export async function createIndexes(
  db: Kysely<unknown>,
  table: string,
  indexes: Record<string, string[]>,
) {
  for (const [name, columns] of Object.entries(indexes)) {
    await unlessThere(db.schema.createIndex(name).on(table).columns(columns).execute())
  }
}

/** For columns and indexes, which MySQL has no `if not exists` for. */
export async function unlessThere(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    const code = errorCodeOf(error) ?? ''
    if (!['ER_DUP_FIELDNAME', 'ER_DUP_KEYNAME'].includes(code)) throw error
  }
}

export async function addCounter(db: Kysely<unknown>, name: Counter): Promise<void> {
  const records = db.withTables<Pick<Schema, 'counters'>>()
  const counter = records.selectFrom('counters').select('name').where('name', '=', name)
  if (await counter.executeTakeFirst()) return
  await records.insertInto('counters').values({ name, value: 0 }).execute()
}
