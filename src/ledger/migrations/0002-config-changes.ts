import type { Kysely, RawBuilder } from 'kysely'
import { addCounter, type CreateTable } from './tables.ts'

export async function configChanges(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
) {
  await table('config_changes')
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

  await addCounter(db, 'config-change')
}
