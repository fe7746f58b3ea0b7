import type { Kysely, RawBuilder } from 'kysely'
import type { CreateTable } from './tables.ts'

/** Who waits for a lock: first come, first served. */
export async function lockQueue(
  _db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
): Promise<void> {
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
