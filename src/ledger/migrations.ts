import type { CreateTableBuilder, Kysely, Migration, RawBuilder } from 'kysely'
import { StepError } from '../core/errors.ts'
import type { Schema } from './schema.ts'

export interface MigrationOptions {
  /** How people call the database, for messages. */
  name: string
  /** Put after each `create table (…)`: MySQL's engine and character set. */
  tableOptions?: RawBuilder<unknown>
}

/** Brings a database to the newest schema. Safe when several processes open it at once. */
export async function migrate(db: Kysely<Schema>, options: MigrationOptions): Promise<void> {
  const migrations = allMigrations(options.tableOptions)
  const done = await checkedMigrations(db, options.name)
  if (done.length === Object.keys(migrations).length) return
  const { Migrator } = await import('kysely')
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const { error } = await migrator.migrateToLatest()
  if (error) throw error
}

/** The migrations a database has had. Refuses, by reading alone, what is no ledger or a newer one. */
export async function checkedMigrations(db: Kysely<Schema>, name: string): Promise<string[]> {
  const known = Object.keys(allMigrations(undefined))
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

/**
 * Names sort in the order of running. One that was released is never edited; a new one is added
 * below. Column types are read by both databases: SQLite takes `longtext` as text, `varchar(n)`
 * without its length, and any integer as 64 bits.
 */
function allMigrations(tableOptions: RawBuilder<unknown> | undefined): Record<string, Migration> {
  const prepared = (migration: typeof first): Migration => ({
    async up(db: Kysely<unknown>) {
      const { sql } = await import('kysely')
      const table: CreateTable = (name) => {
        const builder = db.schema.createTable(name)
        return tableOptions ? builder.modifyEnd(tableOptions) : builder
      }
      await migration(db, table, sql`longtext`)
    },
  })
  return { '0001-first': prepared(first), '0002-config-changes': prepared(configChanges) }
}

type CreateTable = (name: string) => CreateTableBuilder<string>

async function first(db: Kysely<unknown>, table: CreateTable, longText: RawBuilder<unknown>) {
  await createCounters(db, table)
  await createReleases(table, longText)
  await createIndexes(db, 'releases', {
    releases_newest: ['app', 'number'],
    releases_digest: ['app', 'digest', 'number'],
  })
  await createDeployments(table, longText)
  await createIndexes(db, 'deployments', {
    deployments_app: ['app', 'environment', 'number'],
    deployments_environment: ['environment', 'number'],
    deployments_state: ['state', 'app', 'environment', 'number'],
  })
  await createHosts(table, longText)
  await createConfigAndLocks(table, longText)
}

async function createCounters(db: Kysely<unknown>, table: CreateTable) {
  await table('applications')
    .addColumn('name', 'varchar(63)', (column) => column.primaryKey().notNull())
    .addColumn('last_version', 'varchar(128)')
    .addColumn('created_at', 'varchar(24)', (column) => column.notNull())
    .execute()

  await table('counters')
    .addColumn('name', 'varchar(32)', (column) => column.primaryKey().notNull())
    .addColumn('value', 'bigint', (column) => column.notNull())
    .execute()
  await db
    .withTables<Pick<Schema, 'counters'>>()
    .insertInto('counters')
    .values([
      { name: 'release', value: 0 },
      { name: 'deployment', value: 0 },
      { name: 'lock', value: 0 },
    ])
    .execute()
}

async function createReleases(table: CreateTable, longText: RawBuilder<unknown>) {
  await table('releases')
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('version', 'varchar(128)', (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('digest', 'varchar(71)', (column) => column.notNull())
    .addColumn('base_digest', 'varchar(71)')
    .addColumn('war_md5', 'varchar(32)', (column) => column.notNull())
    .addColumn('war_sha256', 'varchar(64)', (column) => column.notNull())
    .addColumn('war_size', 'bigint', (column) => column.notNull())
    .addColumn('repository', 'varchar(512)', (column) => column.notNull())
    .addColumn('commit_id', 'varchar(64)')
    .addColumn('branch', 'varchar(255)')
    .addColumn('author', 'varchar(255)')
    .addColumn('pipeline_url', longText)
    .addColumn('reason', longText)
    .addColumn('baked_by', 'varchar(255)', (column) => column.notNull())
    .addColumn('baked_at', 'varchar(24)', (column) => column.notNull())
    .addColumn('recorded_at', 'varchar(24)', (column) => column.notNull())
    .addPrimaryKeyConstraint('releases_key', ['app', 'version'])
    .addForeignKeyConstraint('releases_app', ['app'], 'applications', ['name'])
    .execute()
}

async function createDeployments(table: CreateTable, longText: RawBuilder<unknown>) {
  await table('deployments')
    .addColumn('id', 'varchar(32)', (column) => column.primaryKey().notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('version', 'varchar(128)', (column) => column.notNull())
    .addColumn('digest', 'varchar(71)', (column) => column.notNull())
    .addColumn('config_revision', 'varchar(128)', (column) => column.notNull())
    .addColumn('started_by', 'varchar(255)', (column) => column.notNull())
    .addColumn('reason', longText)
    .addColumn('state', 'varchar(16)', (column) => column.notNull())
    .addColumn('started_at', 'varchar(24)', (column) => column.notNull())
    .addColumn('finished_at', 'varchar(24)')
    .addColumn('error', longText)
    .addColumn('verified', 'integer', (column) => column.notNull())
    .addUniqueConstraint('deployments_number', ['number'])
    .addForeignKeyConstraint('deployments_release', ['app', 'version'], 'releases', [
      'app',
      'version',
    ])
    .execute()
}

async function createHosts(table: CreateTable, longText: RawBuilder<unknown>) {
  await table('deployment_hosts')
    .addColumn('deployment', 'varchar(32)', (column) => column.notNull())
    .addColumn('position', 'integer', (column) => column.notNull())
    .addColumn('host', 'varchar(255)', (column) => column.notNull())
    .addColumn('container_id', 'varchar(255)')
    .addColumn('previous_container_id', 'varchar(255)')
    .addColumn('url', longText)
    .addColumn('ok', 'integer', (column) => column.notNull())
    .addColumn('duration', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('deployment_hosts_key', ['deployment', 'position'])
    .addUniqueConstraint('deployment_hosts_host', ['deployment', 'host'])
    .addForeignKeyConstraint('deployment_hosts_deployment', ['deployment'], 'deployments', ['id'])
    .execute()
}

async function createConfigAndLocks(table: CreateTable, longText: RawBuilder<unknown>) {
  await table('config_revisions')
    .addColumn('revision', 'varchar(128)', (column) => column.primaryKey().notNull())
    .addColumn('content', longText, (column) => column.notNull())
    .addColumn('recorded_at', 'varchar(24)', (column) => column.notNull())
    .execute()

  await table('locks')
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('owner', 'varchar(255)', (column) => column.notNull())
    .addColumn('reason', longText, (column) => column.notNull())
    .addColumn('token', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'varchar(24)', (column) => column.notNull())
    .addPrimaryKeyConstraint('locks_key', ['app', 'environment'])
    .execute()
}

/**
 * MySQL cannot roll back DDL, so this one can be run again after it was cut off. All its indexes
 * are unique ones, for those are made together with their table.
 */
async function configChanges(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
) {
  await table('config_changes')
    .ifNotExists()
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('changed_by', 'varchar(255)', (column) => column.notNull())
    .addColumn('reason', longText)
    .addColumn('changed_at', 'varchar(24)', (column) => column.notNull())
    .addUniqueConstraint('config_changes_app', ['app', 'environment', 'number'])
    .addForeignKeyConstraint('config_changes_application', ['app'], 'applications', ['name'])
    .execute()

  await table('config_change_keys')
    .ifNotExists()
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('position', 'integer', (column) => column.notNull())
    .addColumn('key_name', 'varchar(1024)', (column) => column.notNull())
    .addColumn('key_hash', 'varchar(64)', (column) => column.notNull())
    .addColumn('before_state', 'varchar(8)', (column) => column.notNull())
    .addColumn('before_text', longText)
    .addColumn('after_state', 'varchar(8)', (column) => column.notNull())
    .addColumn('after_text', longText)
    .addPrimaryKeyConstraint('config_change_keys_key', ['number', 'position'])
    .addUniqueConstraint('config_change_keys_name', ['key_hash', 'number'])
    .addForeignKeyConstraint('config_change_keys_set', ['number'], 'config_changes', ['number'])
    .execute()

  const name = 'config-change'
  const records = db.withTables<Pick<Schema, 'counters'>>()
  const counter = records.selectFrom('counters').select('name').where('name', '=', name)
  if (await counter.executeTakeFirst()) return
  await records.insertInto('counters').values({ name, value: 0 }).execute()
}

async function createIndexes(
  db: Kysely<unknown>,
  table: string,
  indexes: Record<string, string[]>,
) {
  for (const [name, columns] of Object.entries(indexes)) {
    await db.schema.createIndex(name).on(table).columns(columns).execute()
  }
}
