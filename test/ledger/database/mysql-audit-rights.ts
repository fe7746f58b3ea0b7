import { createConnection } from 'mysql2/promise'
import type { Test } from 'tap'
import { newApiToken } from '../../../src/ledger/api-token.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { act } from '../conformance/audit-log.ts'

/** What neither account may do, whatever triggers there are. */
const DENIED = [
  "update audit_log set reason = 'x'",
  'update audit_log set hash = hash',
  'delete from audit_log',
  'truncate audit_log',
  'drop table audit_log',
  'drop trigger audit_log_chained',
  'alter table audit_log drop key audit_log_prev',
  "insert into audit_head values ('other', 0, 'x')",
  'delete from audit_head',
  "update audit_head set name = 'x'",
  `update api_tokens set verbs = '["admin"]'`,
  "update api_tokens set expires_at = '2099-01-01T00:00:00.000Z'",
  'delete from api_tokens',
]

/** What only the server's account may. */
const DENIED_TO_DEPLOYER = [
  'select * from audit_log',
  'select * from api_tokens',
  "insert into audit_log (number, at, subject, via, verb, decision, prev, hash) values (9, 'x', 'x', 'x', 'x', 'x', 'x', 'x')",
  "insert into api_tokens (number, name, token_hash, verbs, apps, environments, created_by, created_at, expires_at) values (1, 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x')",
  'update audit_head set number = number + 1',
  'update api_tokens set revoked_at = null',
]

/** The server's account writes the audit log and tokens, the deployer's does not even read them. */
export async function keepsAuditApart(t: Test, as: (user: string) => string): Promise<void> {
  const server = await openLedger(as('server'))
  t.teardown(() => server.close())
  await server.recordAudit(act())
  const by = { subject: 'admin', via: 'cli' } as const
  const scope = { verbs: ['view'], apps: ['webapi'], envs: ['test'] }
  const { hash } = newApiToken()
  const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
  await server.recordToken({ name: 'jenkins', hash, scope, expiresAt }, by)
  t.match(await server.useToken(hash), { name: 'jenkins' })
  await server.revokeToken('jenkins', by)
  t.match(await server.verifyAudit(), { intact: true, count: 3 })

  const deployer = await openLedger(as('deployer'))
  t.teardown(() => deployer.close())
  const denied = { code: 'UNAUTHORIZED', message: /refuses the user/ }
  await t.rejects(deployer.recordAudit(act()), denied)
  await t.rejects(deployer.audits({ limit: 1 }), denied)
  await t.rejects(deployer.tokens(), denied)
  const { rows } = await deployer.facts()
  t.match(rows, { releases: Number })
  t.notOk('audit_log' in rows || 'api_tokens' in rows, 'it counts what it may read')

  const reader = await openLedger(as('reader'), { readOnly: true })
  t.teardown(() => reader.close())
  t.match(await reader.verifyAudit(), { intact: true, count: 3 })
  t.match(await reader.tokens(), [{ state: 'revoked' }])
  await t.rejects(reader.recordAudit(act()), { code: 'FORBIDDEN' })
  let lines = 0
  await reader.exportRecords(() => {
    lines++
  })
  t.ok(lines > 5, 'it can export all')

  for (const [user, statements] of [
    ['server', DENIED],
    ['deployer', [...DENIED, ...DENIED_TO_DEPLOYER]],
  ] as const) {
    const sql = await createConnection(as(user))
    t.teardown(() => sql.end())
    for (const statement of statements) {
      await t.rejects(sql.query(statement), { code: /DENIED/ }, `${user}: ${statement}`)
    }
  }
}

/** Before the additions are made, or granted, an account of jobs goes on without them. */
export async function goesOnWithout(
  t: Test,
  root: { query(sql: string): Promise<unknown> },
  as: (user: string) => string,
): Promise<void> {
  await root.query(
    'drop table crosscloud.kysely_addition, crosscloud.audit_log, crosscloud.audit_head, crosscloud.api_tokens',
  )
  const deployer = await openLedger(as('deployer'))
  t.teardown(() => deployer.close())
  t.match(await deployer.nextVersion('webapi'), /^\d/)
  await t.resolves(deployer.facts())
  await t.rejects(deployer.recordAudit(act()), { code: 'UNAUTHORIZED' })
  const reader = await openLedger(as('reader'), { readOnly: true })
  t.teardown(() => reader.close())
  await t.resolves(reader.deployments({ limit: 1 }))
  const migrator = await openLedger(as('migrator'))
  t.teardown(() => migrator.close())
  await migrator.guard()
  t.match(await migrator.verifyAudit(), { intact: true, count: 0 })
}
