import type { Kysely, RawBuilder } from 'kysely'
import { addCounter, type CreateTable, createIndexes } from './tables.ts'

export async function first(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
) {
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
  for (const name of ['release', 'deployment', 'lock'] as const) await addCounter(db, name)
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
