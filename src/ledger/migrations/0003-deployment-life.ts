import { randomUUID } from 'node:crypto'
import type { Kysely, RawBuilder } from 'kysely'
import type { Schema } from '../database/schema.ts'
import { addCounter, type CreateTable, createIndexes, unlessThere } from './tables.ts'

/**
 * What a deployment went through: its lock, the deployment it replaced, approvals, hosts, marks of bad
 * releases, and what runs now.
 */
export async function deploymentLife(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
): Promise<void> {
  await extendReleases(db, longText)
  await extendDeployments(db, longText)
  await createApprovals(table, longText)
  await createMarks(table, longText)
  await createHosts(table)
  await createCurrent(db, table)
  await createFacts(db, table)
  await unlessThere(
    db.schema.alterTable('config_changes').addColumn('request', 'varchar(64)').execute(),
  )
  await unlessThere(
    db.schema
      .createIndex('config_changes_request')
      .on('config_changes')
      .column('request')
      .unique()
      .execute(),
  )
  await addCounter(db, 'approval')
  await addCounter(db, 'mark')
}

async function extendReleases(db: Kysely<unknown>, longText: RawBuilder<unknown>) {
  const releases = db.schema.alterTable('releases')
  await unlessThere(releases.addColumn('job_url', longText).execute())
  await unlessThere(releases.addColumn('committed_at', 'varchar(24)').execute())
}

async function extendDeployments(db: Kysely<unknown>, longText: RawBuilder<unknown>) {
  const deployments = db.schema.alterTable('deployments')
  await unlessThere(
    deployments
      .addColumn('kind', 'varchar(16)', (column) => column.notNull().defaultTo('deploy'))
      .execute(),
  )
  await unlessThere(deployments.addColumn('lock_token', 'bigint').execute())
  await unlessThere(deployments.addColumn('replaced', 'varchar(32)').execute())
  await unlessThere(deployments.addColumn('identity', 'varchar(255)').execute())
  await unlessThere(deployments.addColumn('job_url', longText).execute())
  await unlessThere(
    deployments.addColumn('forced', 'integer', (column) => column.notNull().defaultTo(0)).execute(),
  )
  await unlessThere(
    db.schema
      .createIndex('deployments_lock')
      .on('deployments')
      .column('lock_token')
      .unique()
      .execute(),
  )
  await createIndexes(db, 'deployments', {
    deployments_newest: ['app', 'number'],
    deployments_release_newest: ['app', 'version', 'number'],
    deployments_by: ['started_by', 'number'],
    deployments_state_newest: ['state', 'number'],
    deployments_started: ['started_at', 'number'],
  })
}

async function createApprovals(table: CreateTable, longText: RawBuilder<unknown>) {
  await table('approvals')
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('version', 'varchar(128)', (column) => column.notNull())
    .addColumn('digest', 'varchar(71)', (column) => column.notNull())
    .addColumn('decision', 'varchar(16)', (column) => column.notNull())
    .addColumn('decided_by', 'varchar(255)', (column) => column.notNull())
    .addColumn('member_of', longText, (column) => column.notNull())
    .addColumn('identity', 'varchar(255)', (column) => column.notNull())
    .addColumn('reason', longText)
    .addColumn('decided_at', 'varchar(24)', (column) => column.notNull())
    .addUniqueConstraint('approvals_place', ['app', 'environment', 'version', 'number'])
    .addForeignKeyConstraint('approvals_release', ['app', 'version'], 'releases', [
      'app',
      'version',
    ])
    .execute()

  await table('deployment_approvals')
    .addColumn('deployment', 'varchar(32)', (column) => column.notNull())
    .addColumn('approval', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('deployment_approvals_key', ['deployment', 'approval'])
    .addForeignKeyConstraint('deployment_approvals_deployment', ['deployment'], 'deployments', [
      'id',
    ])
    .addForeignKeyConstraint('deployment_approvals_approval', ['approval'], 'approvals', ['number'])
    .execute()
}

async function createMarks(table: CreateTable, longText: RawBuilder<unknown>) {
  await table('marks')
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('version', 'varchar(128)', (column) => column.notNull())
    .addColumn('bad', 'integer', (column) => column.notNull())
    .addColumn('marked_by', 'varchar(255)', (column) => column.notNull())
    .addColumn('reason', longText, (column) => column.notNull())
    .addColumn('marked_at', 'varchar(24)', (column) => column.notNull())
    .addUniqueConstraint('marks_place', ['app', 'environment', 'version', 'number'])
    .addForeignKeyConstraint('marks_release', ['app', 'version'], 'releases', ['app', 'version'])
    .execute()
}

async function createHosts(table: CreateTable) {
  await table('hosts')
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('name', 'varchar(255)', (column) => column.notNull())
    .addColumn('address', 'varchar(255)', (column) => column.notNull())
    .addColumn('first_deployment', 'varchar(32)', (column) => column.notNull())
    .addPrimaryKeyConstraint('hosts_key', ['app', 'environment', 'name', 'address'])
    .addForeignKeyConstraint('hosts_first', ['first_deployment'], 'deployments', ['id'])
    .execute()
}

async function createCurrent(db: Kysely<unknown>, table: CreateTable) {
  await table('current_deployments')
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('current_deployments_key', ['app', 'environment'])
    .addForeignKeyConstraint('current_deployments_number', ['number'], 'deployments', ['number'])
    .execute()
  const { sql } = await import('kysely')
  await sql`delete from current_deployments`.execute(db)
  await sql`insert into current_deployments (app, environment, number)
    select app, environment, max(number) from deployments
    where state = 'succeeded' group by app, environment`.execute(db)
}

/** The id distinguishes ledgers: a lock's token means nothing in another ledger. */
async function createFacts(db: Kysely<unknown>, table: CreateTable) {
  await table('facts')
    .addColumn('name', 'varchar(32)', (column) => column.primaryKey().notNull())
    .addColumn('value', 'varchar(255)', (column) => column.notNull())
    .execute()
  const records = db.withTables<Pick<Schema, 'facts'>>()
  const known = records.selectFrom('facts').select('value').where('name', '=', 'id')
  if (await known.executeTakeFirst()) return
  await records.insertInto('facts').values({ name: 'id', value: randomUUID() }).execute()
}
