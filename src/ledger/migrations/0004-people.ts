import type { Kysely } from 'kysely'
import { unlessThere } from './tables.ts'

/** How it is known who baked and who approved, and by which token. */
export async function people(db: Kysely<unknown>): Promise<void> {
  const releases = db.schema.alterTable('releases')
  await unlessThere(releases.addColumn('baked_identity', 'varchar(255)').execute())
  await unlessThere(releases.addColumn('baked_by_id', 'varchar(64)').execute())
  await unlessThere(releases.addColumn('baked_by_mail', 'varchar(255)').execute())
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
