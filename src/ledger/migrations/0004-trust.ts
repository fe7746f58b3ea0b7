import type { Kysely, RawBuilder } from 'kysely'
import { createGuards, type Dialect, guardRefusal } from '../guards.ts'
import { type CreateTable, unlessThere } from './tables.ts'

/** How it is known who baked and who approved, by which token; and who waits for a lock. */
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
  await createLockQueue(table, longText)
  await createGuards(db, dialect).catch((error: unknown) => {
    // The ledger works without them; `ledger migrate` asks for them, and says what is missing.
    if (guardRefusal(error) === undefined) throw error
  })
}

async function extendApprovals(db: Kysely<unknown>): Promise<void> {
  const approvals = db.schema.alterTable('approvals')
  await unlessThere(approvals.addColumn('decided_by_id', 'varchar(64)').execute())
  await unlessThere(approvals.addColumn('decided_by_mail', 'varchar(255)').execute())
  await unlessThere(approvals.addColumn('token_hash', 'varchar(64)').execute())
  await unlessThere(
    db.schema
      .createIndex('approvals_token')
      .on('approvals')
      .column('token_hash')
      .unique()
      .execute(),
  )
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
