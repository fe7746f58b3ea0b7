import type { Kysely, Migration, RawBuilder } from 'kysely'
import { StepError } from '../../core/errors.ts'
import type { Dialect } from '../database/access.ts'
import type { Schema } from '../database/schema.ts'
import { first } from './0001-first.ts'
import { configChanges } from './0002-config-changes.ts'
import { deploymentLife } from './0003-deployment-life.ts'
import { trust } from './0004-trust.ts'
import { audit } from './0005-audit.ts'
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
  const { Migrator } = await import('kysely')
  for (const kind of KINDS) {
    if (has(done, kind)) continue
    const { migrations, table } = kind
    const migrator = new Migrator({
      db,
      provider: { getMigrations: async () => prepare(migrations, options) },
      migrationTableName: table,
      migrationLockTableName: `${table}_lock`,
    })
    const { error } = await migrator.migrateToLatest()
    const isRefused = error !== undefined && options.refusesChanges?.(error)
    if (error === undefined || (isRefused && table === ADDITIONS.table)) continue
    throw isRefused ? mayNotMigrate(options.name, done) : error
  }
}

function mayNotMigrate(name: string, done: readonly string[]): StepError {
  const found = done.findLast((name) => name in MIGRATIONS.migrations) ?? 'no tables yet'
  return new StepError(
    'UNAUTHORIZED',
    `ledger ${name} has schema ${found}, this crosscloud needs ${Object.keys(MIGRATIONS.migrations).at(-1)}`,
    { hint: 'Run `crosscloud ledger migrate` once, with an account that may change tables.' },
  )
}

/** Whether a database has the newest schema. */
export async function isMigrated(db: Kysely<Schema>, name: string): Promise<boolean> {
  const done = await checkedMigrations(db, name)
  return KINDS.every((kind) => has(done, kind))
}

const has = (done: readonly string[], { migrations }: Kind) =>
  Object.keys(migrations).every((name) => done.includes(name))

/** For those who only read: UNAUTHORIZED, with the next step, for an older schema. */
export async function requireMigrated(db: Kysely<Schema>, name: string): Promise<void> {
  const done = await checkedMigrations(db, name)
  if (!has(done, MIGRATIONS)) throw mayNotMigrate(name, done)
}

/** The migrations a database has had. Refuses, by reading alone, another application's database and a newer ledger. */
async function checkedMigrations(db: Kysely<Schema>, name: string): Promise<string[]> {
  const tables = (await db.introspection.getTables({ withInternalKyselyTables: true })).map(
    (table) => table.name,
  )
  if (tables.length === 0) return []
  // Kysely's own tables come first, so a database that has others only is not a ledger.
  if (!tables.includes(MIGRATIONS.table)) {
    throw new StepError('INPUT_INVALID', `${name} is a database of another program, not a ledger`, {
      hint: 'Give the ledger a database of its own. This one was not changed.',
    })
  }
  const done = await doneIn(db, MIGRATIONS.table)
  const unknown = done.find((name) => !(name in MIGRATIONS.migrations))
  if (unknown !== undefined) {
    throw new StepError(
      'CONFLICT',
      `ledger ${name} has schema ${unknown}, this crosscloud knows up to ${newestMigration()}`,
      { hint: 'A newer crosscloud wrote it. Update this one to the same version.' },
    )
  }
  const added = tables.includes(ADDITIONS.table) ? await doneIn(db, ADDITIONS.table) : []
  return [...done, ...added]
}

async function doneIn(db: Kysely<Schema>, table: string): Promise<string[]> {
  const records = db as unknown as Kysely<Record<string, { name: string }>>
  const rows = await records.selectFrom(table).select('name').orderBy('name').execute()
  return rows.map((row) => row.name)
}

interface Kind {
  /** Where a database records which it has had. */
  table: string
  /** Names sort in the order of running. */
  migrations: Readonly<Record<string, Migrate>>
}

/** A released migration is never edited; a new migration is added below. */
const MIGRATIONS: Kind = {
  table: 'kysely_migration',
  migrations: {
    '0001-first': first,
    '0002-config-changes': configChanges,
    '0003-deployment-life': deploymentLife,
    '0004-trust': trust,
  },
}

/**
 * Migrations that only add tables of their own, and indexes. Programs of the versions before use the ledger as it was:
 * they refuse what they find unknown among MIGRATIONS alone. So do accounts that may not make tables.
 */
const ADDITIONS: Kind = { table: 'kysely_addition', migrations: { '0005-audit': audit } }

const KINDS = [MIGRATIONS, ADDITIONS]

function prepare(
  migrations: Kind['migrations'],
  { dialect, tableOptions }: MigrationOptions,
): Record<string, Migration> {
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
  const all = Object.entries(migrations).map(([name, migration]) => [name, prepared(migration)])
  return Object.fromEntries(all) as Record<string, Migration>
}

const known = () => KINDS.flatMap(({ migrations }) => Object.keys(migrations)).sort()

/** The name of the newest schema, which every open ledger has. */
export function newestMigration(): string {
  return known().at(-1) ?? ''
}

/** Schemas whose exports lack no table that this program cannot do without. */
export function isImportable(schema: unknown): boolean {
  const needed = Object.keys(MIGRATIONS.migrations).at(-1) ?? ''
  return known().some((name) => name === schema && name >= needed)
}
