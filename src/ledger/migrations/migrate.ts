import type { Kysely, Migration, RawBuilder } from 'kysely'
import { StepError } from '../../core/errors.ts'
import type { Dialect } from '../database/access.ts'
import type { Schema } from '../database/schema.ts'
import { first } from './0001-first.ts'
import { configChanges } from './0002-config-changes.ts'
import { deploymentLife } from './0003-deployment-life.ts'
import { trust } from './0004-trust.ts'
import type { CreateTable, Migrate } from './tables.ts'

export interface MigrationOptions {
  /** How people call the database, for messages. */
  name: string
  dialect: Dialect
  /** Put after each `create table (…)`: MySQL's engine and character set. */
  tableOptions?: RawBuilder<unknown>
  /** Whether an error means that this account may not change tables. */
  refusesChanges?: (error: unknown) => boolean
}

/** Brings a database to the newest schema. Safe when several processes open it at once. */
export async function migrate(db: Kysely<Schema>, options: MigrationOptions): Promise<void> {
  const done = await checkedMigrations(db, options.name)
  if (done.length === Object.keys(MIGRATIONS).length) return
  const { Migrator } = await import('kysely')
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => allMigrations(options) },
  })
  const { error } = await migrator.migrateToLatest()
  if (error === undefined) return
  throw options.refusesChanges?.(error) ? mayNotMigrate(options.name, done) : error
}

function mayNotMigrate(name: string, done: readonly string[]): StepError {
  const found = done.at(-1) ?? 'no tables yet'
  return new StepError(
    'UNAUTHORIZED',
    `ledger ${name} has schema ${found}, this crosscloud needs ${newestMigration()}`,
    { hint: 'Run `crosscloud ledger migrate` once, with an account that may change tables.' },
  )
}

/** Whether a database has the newest schema. */
export async function isMigrated(db: Kysely<Schema>, name: string): Promise<boolean> {
  const done = await checkedMigrations(db, name)
  return done.length === Object.keys(MIGRATIONS).length
}

/** For those who only read: UNAUTHORIZED, with the next step, for an older schema. */
export async function requireNewest(db: Kysely<Schema>, name: string): Promise<void> {
  const done = await checkedMigrations(db, name)
  if (done.length < Object.keys(MIGRATIONS).length) throw mayNotMigrate(name, done)
}

/** The migrations a database has had. Refuses, by reading alone, another application's database and a newer ledger. */
export async function checkedMigrations(db: Kysely<Schema>, name: string): Promise<string[]> {
  const known = Object.keys(MIGRATIONS)
  const done = await doneMigrations(db, name)
  const unknown = done.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new StepError(
      'CONFLICT',
      `ledger ${name} has schema ${unknown}, this crosscloud knows up to ${known.at(-1)}`,
      { hint: 'A newer crosscloud wrote it. Update this one to the same version.' },
    )
  }
  return done
}

const MIGRATIONS_TABLE = 'kysely_migration'

async function doneMigrations(db: Kysely<Schema>, name: string): Promise<string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  if (tables.length === 0) return []
  // Kysely's own tables come first, so a database that has others only is not a ledger.
  if (!tables.some((table) => table.name === MIGRATIONS_TABLE)) {
    throw new StepError('INPUT_INVALID', `${name} is a database of another program, not a ledger`, {
      hint: 'Give the ledger a database of its own. This one was not changed.',
    })
  }
  const records = db.withTables<{ [MIGRATIONS_TABLE]: { name: string } }>()
  const rows = await records.selectFrom(MIGRATIONS_TABLE).select('name').orderBy('name').execute()
  return rows.map((row) => row.name)
}

/** Names sort in the order of running. A released migration is never edited; a new migration is added below. */
const MIGRATIONS: Readonly<Record<string, Migrate>> = {
  '0001-first': first,
  '0002-config-changes': configChanges,
  '0003-deployment-life': deploymentLife,
  '0004-trust': trust,
}

function allMigrations({ dialect, tableOptions }: MigrationOptions): Record<string, Migration> {
  const prepared = (migration: Migrate): Migration => ({
    async up(db: Kysely<unknown>) {
      const { sql } = await import('kysely')
      const table: CreateTable = (name) => {
        // MySQL cannot roll back DDL: a migration that was cut off finds some of its work done.
        const builder = db.schema.createTable(name).ifNotExists()
        return tableOptions ? builder.modifyEnd(tableOptions) : builder
      }
      await migration(db, table, sql`longtext`, dialect)
    },
  })
  const all = Object.entries(MIGRATIONS).map(([name, migration]) => [name, prepared(migration)])
  return Object.fromEntries(all) as Record<string, Migration>
}

/** The name of the newest schema, which every open ledger has. */
export function newestMigration(): string {
  return Object.keys(MIGRATIONS).at(-1) ?? ''
}
