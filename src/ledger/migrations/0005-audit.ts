import type { Kysely, RawBuilder } from 'kysely'
import { CHAIN_START } from '../audit-chain.ts'
import type { Dialect } from '../database/access.ts'
import { auditGuards, createGuards, guardRefusal } from '../database/guards.ts'
import type { Schema } from '../database/schema.ts'
import { type CreateTable, createIndexes } from './tables.ts'

/** Every act and every refusal, chained; tokens for machines; and releases by their WAR. */
export async function audit(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
  dialect: Dialect,
): Promise<void> {
  await createAuditLog(db, table, longText)
  await createApiTokens(db, table, longText)
  // A WAR that somebody has in their hands is asked for by its MD5.
  await createIndexes(db, 'releases', { releases_war_md5: ['app', 'war_md5', 'number'] })
  await createGuards(db, dialect, auditGuards).catch((error: unknown) => {
    // As for 0004-trust: `ledger migrate` asks for them.
    if (guardRefusal(error) === undefined) throw error
  })
}

async function createAuditLog(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
): Promise<void> {
  await table('audit_log')
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('at', 'varchar(24)', (column) => column.notNull())
    .addColumn('subject', 'varchar(255)', (column) => column.notNull())
    .addColumn('via', 'varchar(16)', (column) => column.notNull())
    .addColumn('verb', 'varchar(64)', (column) => column.notNull())
    .addColumn('app', 'varchar(63)')
    .addColumn('environment', 'varchar(63)')
    .addColumn('object', longText)
    .addColumn('decision', 'varchar(16)', (column) => column.notNull())
    .addColumn('rule', 'varchar(255)')
    .addColumn('reason', longText)
    .addColumn('plan', 'varchar(255)')
    .addColumn('run', 'varchar(255)')
    .addColumn('request', 'varchar(255)')
    .addColumn('address', 'varchar(255)')
    .addColumn('prev', 'varchar(64)', (column) => column.notNull())
    .addColumn('hash', 'varchar(64)', (column) => column.notNull())
    // No record has two successors.
    .addUniqueConstraint('audit_log_prev', ['prev'])
    .execute()
  await createIndexes(db, 'audit_log', {
    audit_log_place: ['app', 'environment', 'number'],
    audit_log_subject: ['subject', 'number'],
    audit_log_decision: ['decision', 'number'],
    audit_log_at: ['at', 'number'],
  })
  await table('audit_head')
    .addColumn('name', 'varchar(32)', (column) => column.primaryKey().notNull())
    .addColumn('number', 'bigint', (column) => column.notNull())
    .addColumn('hash', 'varchar(64)', (column) => column.notNull())
    .execute()
  const heads = db.withTables<Pick<Schema, 'audit_head'>>()
  if (await heads.selectFrom('audit_head').select('name').executeTakeFirst()) return
  await heads
    .insertInto('audit_head')
    .values({ name: 'audit', number: 0, hash: CHAIN_START })
    .execute()
}

async function createApiTokens(
  db: Kysely<unknown>,
  table: CreateTable,
  longText: RawBuilder<unknown>,
): Promise<void> {
  await table('api_tokens')
    .addColumn('number', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('name', 'varchar(63)', (column) => column.notNull())
    .addColumn('token_hash', 'varchar(64)', (column) => column.notNull())
    .addColumn('verbs', longText, (column) => column.notNull())
    .addColumn('apps', longText, (column) => column.notNull())
    .addColumn('environments', longText, (column) => column.notNull())
    .addColumn('created_by', 'varchar(255)', (column) => column.notNull())
    .addColumn('created_at', 'varchar(24)', (column) => column.notNull())
    .addColumn('expires_at', 'varchar(24)', (column) => column.notNull())
    .addColumn('revoked_at', 'varchar(24)')
    .addColumn('revoked_by', 'varchar(255)')
    .addColumn('last_used_at', 'varchar(24)')
    .addColumn('key_thumbprint', 'varchar(64)')
    .addUniqueConstraint('api_tokens_hash', ['token_hash'])
    .execute()
  await createIndexes(db, 'api_tokens', { api_tokens_name: ['name', 'number'] })
}
