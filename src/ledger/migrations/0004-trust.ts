import type { Kysely, RawBuilder } from 'kysely'
import type { Dialect } from '../database/access.ts'
import { createGuards, guardRefusal, historyGuards } from '../database/guards.ts'
import { addCounter, type CreateTable, createIndexes, unlessThere } from './tables.ts'

/** How it is known who did what, by which token; what else was done; and who waits for a lock. */
export async function trust(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
  dialect: Dialect,
): Promise<void> {
  const releases = db.schema.alterTable('releases')
  await unlessThere(releases.addColumn('baked_identity', 'varchar(255)').execute())
  await unlessThere(releases.addColumn('baked_by_id', 'varchar(64)').execute())
  await unlessThere(releases.addColumn('baked_by_mail', 'varchar(255)').execute())
  await extendApprovals(db)
  for (const name of ['marks', 'config_changes']) {
    await unlessThere(db.schema.alterTable(name).addColumn('identity', 'varchar(255)').execute())
  }
  await createApprovalTokens(table, longText)
  await createAuditEvents(db, table, longText)
  await createLockQueue(table, longText)
  await createGuards(db, dialect, historyGuards).catch((error: unknown) => {
    // The ledger works without them; `ledger migrate` asks for them, and names what is missing.
    if (guardRefusal(error) === undefined) throw error
  })
}

async function extendApprovals(db: Kysely<unknown>): Promise<void> {
  const approvals = db.schema.alterTable('approvals')
  await unlessThere(approvals.addColumn('decided_by_id', 'varchar(64)').execute())
  await unlessThere(approvals.addColumn('decided_by_mail', 'varchar(255)').execute())
  await unlessThere(approvals.addColumn('token_hash', 'varchar(64)').execute())
  await unlessThere(approvals.addColumn('config_revision', 'varchar(128)').execute())
  await unlessThere(
    db.schema
      .createIndex('approvals_token')
      .on('approvals')
      .column('token_hash')
      .unique()
      .execute(),
  )
}

async function createApprovalTokens(table: CreateTable, longText: RawBuilder<unknown>) {
  await table('approval_tokens')
    .addColumn('approval', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('token', longText, (column) => column.notNull())
    .addColumn('public_key', longText, (column) => column.notNull())
    .addForeignKeyConstraint('approval_tokens_approval', ['approval'], 'approvals', ['number'])
    .execute()
}

async function createAuditEvents(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
): Promise<void> {
  await table('audit_events')
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('action', 'varchar(32)', (column) => column.notNull())
    .addColumn('subject', longText)
    .addColumn('done_by', 'varchar(255)', (column) => column.notNull())
    .addColumn('done_by_id', 'varchar(64)')
    .addColumn('identity', 'varchar(255)', (column) => column.notNull())
    .addColumn('reason', longText)
    .addColumn('job_url', longText)
    .addColumn('done_at', 'varchar(24)', (column) => column.notNull())
    .addForeignKeyConstraint('audit_events_app', ['app'], 'applications', ['name'])
    .execute()
  await createIndexes(db, 'audit_events', { audit_events_app: ['app', 'environment', 'number'] })
  await addCounter(db, 'audit-event')
}

/** First come, first served. */
async function createLockQueue(table: CreateTable, longText: RawBuilder<unknown>): Promise<void> {
  await table('lock_queue')
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('app', 'varchar(63)', (column) => column.notNull())
    .addColumn('environment', 'varchar(63)', (column) => column.notNull())
    .addColumn('owner', 'varchar(255)', (column) => column.notNull())
    .addColumn('reason', longText, (column) => column.notNull())
    .addColumn('expires_at', 'varchar(24)', (column) => column.notNull())
    .addUniqueConstraint('lock_queue_owner', ['app', 'environment', 'owner'])
    .execute()
}
