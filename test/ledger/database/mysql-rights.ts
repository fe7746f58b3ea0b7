import { readFile } from 'node:fs/promises'
import { createConnection } from 'mysql2/promise'
import type { Test } from 'tap'
import { hashOfToken } from '../../../src/core/token-hash.ts'
import type { ApprovalStart, Ledger } from '../../../src/ledger/ledger.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import type { Mariadb } from '../../support/servers/mariadb.ts'
import { ended, MINUTE, outcome, release, start } from '../conformance/samples.ts'
import { goesOnWithout, keepsAuditApart } from './mysql-audit-rights.ts'
import { releasedLedgers } from './released-ledgers.ts'

/** What can be tried with the deployer's password. d1 succeeded, d2 failed, d3 runs there now. */
const FORBIDDEN = [
  `insert into approvals (number, app, environment, version, digest, decision, decided_by, member_of,
    identity, decided_at) select 99, app, environment, version, digest, decision, 'boss', '[]',
    identity, decided_at from approvals limit 1`,
  'select * from approval_tokens',
  "insert into approval_tokens values (1, 'x', 'x')",
  "update approvals set decided_by = 'somebody'",
  'delete from approvals',
  "update deployments set state = 'running' where id = 'd1'",
  "update deployments set state = 'succeeded', verified = 1 where id = 'd2'",
  "update deployments set finished_at = '2020-01-01T00:00:00.000Z' where id = 'd1'",
  "update deployments set state = 'abandoned' where id = 'd3'",
  "update deployments set started_by = 'somebody'",
  "update deployments set digest = 'x', config_revision = 'x'",
  "update deployments set forced = 0, identity = 'x'",
  'delete from deployments',
  "insert into deployment_approvals values ('d2', 2)",
  'delete from deployment_approvals',
  "insert into deployment_hosts values ('d2', 7, 'app-07', null, null, null, 1, 1)",
  'delete from deployment_hosts',
  "update current_deployments set number = 1 where app = 'webapi'",
  "update current_deployments set number = 5 where app = 'webapi'",
  "insert into current_deployments values ('webapi', 'production', 3)",
  'delete from current_deployments',
  'update counters set value = value - 1',
  "update counters set value = 0 where name = 'lock'",
  'delete from counters',
  "update facts set value = 'x'",
  "update releases set digest = 'x'",
  'delete from releases',
  'delete from config_changes',
  "update config_changes set changed_by = 'x'",
  "update config_change_keys set after_text = 'x'",
  "update config_revisions set content = 'x'",
  `insert into marks (number, app, environment, version, bad, marked_by, marked_at, reason)
    values (1000000, 'webapi', 'test', '1.0.0', 0, 'x', 'x', 'x')`,
  `insert into audit_events (number, app, environment, action, subject, done_by, identity, done_at)
    values (1000000, 'webapi', 'test', 'sign-off', 'd4', 'x', 'x', 'x')`,
  `insert into config_changes (number, app, environment, changed_by, changed_at)
    values (1000000, 'webapi', 'test', 'x', 'x')`,
  `insert into deployments (id, number, app, environment, version, digest, config_revision, started_by,
    state, started_at, verified) select 'd99', 1000000, app, environment, version, digest,
    config_revision, 'x', 'running', started_at, 0 from deployments limit 1`,
  `insert into releases (app, version, number, digest, war_md5, war_sha256, war_size, repository,
    baked_by, baked_at, recorded_at) select app, '9.9.9', 1000000, digest, war_md5, war_sha256,
    war_size, repository, baked_by, baked_at, recorded_at from releases limit 1`,
  'update marks set bad = 0',
  'delete from marks',
  "update hosts set address = 'x'",
  "update locks set owner = 'x', token = 1",
  'drop trigger deployments_forward',
  'drop table locks',
  'alter table locks add column x int',
]

/** Only the approvals' account writes approvals and reads tokens, and only when there is need. */
async function keepsTokensApart(
  t: Test,
  ledger: Ledger,
  approval: ApprovalStart,
  as: (user: string) => string,
): Promise<void> {
  const proof = { token: 'a.b.c', publicKey: '{"kty":"RSA"}' }
  const tokenHash = hashOfToken(proof.token)
  await ledger.recordApproval({ ...approval, tokenHash }, proof)
  const { app, environment, version } = approval
  const proofs = (await ledger.provenApprovals(app, environment, version)).map((one) => one.proof)
  t.same(proofs, [undefined, proof])
  t.equal(ledger.approvalsApart, true)
  const alone = await openLedger(as('deployer'))
  t.equal(alone.approvalsApart, false)
  const denied = { code: 'UNAUTHORIZED', message: /refuses the user/ }
  await t.rejects(alone.recordApproval(approval), denied)
  await t.rejects(alone.provenApprovals(app, environment, version), denied)
  t.equal((await alone.approvals(app, environment, version)).length, 2, 'they can be looked at')
  await alone.close()
  for (const [approvals, error] of [
    [as('deployer'), { code: 'INPUT_INVALID', message: /has the account of url/ }],
    [as('approvals').replace(':change-me@', ':wrong@'), denied],
    [as('migrator').replace(/crosscloud$/, 'tls'), { code: 'UNAUTHORIZED' }],
  ] as const) {
    const wrong = await openLedger({ url: as('deployer'), approvals })
    await t.rejects(wrong.provenApprovals(app, environment, version), error)
    t.equal((await wrong.approvals(app, environment, version)).length, 2)
    await wrong.close()
  }
  const reader = await openLedger({
    url: as('reader'),
    get approvals(): string {
      throw new Error('the variable is not set')
    },
  })
  t.equal((await reader.approvals(app, environment, version)).length, 2, 'without its variable')
  await t.rejects(reader.recordApproval(approval), { message: /the variable is not set/ })
  await reader.close()
}

/** The grants of docs/ledger-database.md. */
export async function keepsToItsRights(t: Test, server: Mariadb) {
  const page = await readFile(new URL('../../../docs/ledger-database.md', import.meta.url), 'utf8')
  const grants = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql = '']) => sql).join('\n')
  t.match(grants, /crosscloud_deployer/)
  const root = await createConnection({
    host: '127.0.0.1',
    port: server.port,
    user: 'root',
    multipleStatements: true,
  })
  t.teardown(() => root.end())
  const as = (user: string) =>
    `mysql://crosscloud_${user}:change-me@127.0.0.1:${server.port}/crosscloud`
  const [accounts = '', ...rights] = grants.split(/(?=^-- )/m)
  await root.query(accounts)
  await t.rejects(openLedger(as('deployer')), {
    code: 'UNAUTHORIZED',
    message: /refuses the user/,
  })
  await root.query('revoke trigger on crosscloud.* from crosscloud_migrator')
  const denied = await openLedger(as('migrator'))
  await t.rejects(denied.guard(), {
    code: 'UNAUTHORIZED',
    message: /has the newest tables, but whoever deploys could rewrite them/,
    hint: /Grant it TRIGGER/,
  })
  await denied.close()
  await root.query('grant trigger on crosscloud.* to crosscloud_migrator')
  const migrator = await openLedger(as('migrator'))
  t.teardown(() => migrator.close())
  await root.query('set global log_bin_trust_function_creators = 0')
  const hint = /log_bin_trust_function_creators = 1.*ledger migrate/
  await t.rejects(migrator.guard(), { code: 'UNAUTHORIZED', hint })
  await root.query('set global log_bin_trust_function_creators = 1')
  await migrator.guard()
  await migrator.guard()
  await root.query(rights.join('\n'))

  const deployer = await openLedger({ url: as('deployer'), approvals: as('approvals') })
  t.teardown(() => deployer.close())
  await deployer.nextVersion('webapi')
  const made = release('1.0.0')
  await deployer.recordRelease(made)
  await deployer.recordConfigRevision('r1', '{}')
  const place = { app: 'webapi', environment: 'test', version: '1.0.0' }
  const decision: ApprovalStart = {
    ...place,
    digest: made.digest,
    decision: 'approved',
    by: 'li',
    groups: [],
    identity: 'x',
    reason: 'r',
  }
  const { id: approval } = await deployer.recordApproval(decision)
  await keepsTokensApart(t, deployer, decision, as)
  for (const state of ['succeeded', 'failed', 'succeeded'] as const) {
    const lock = await deployer.lock('webapi', 'test', 'li', 'deploy', MINUTE)
    await deployer.heartbeat(lock, MINUTE)
    await t.rejects(deployer.lock('webapi', 'test', 'wang', 'deploy', MINUTE, MINUTE))
    await t.rejects(deployer.lock('webapi', 'test', 'wang', 'deploy', MINUTE, MINUTE))
    await deployer.leaveQueue('webapi', 'test', 'wang')
    const deployment = await start(deployer, made, 'test', {
      lockToken: lock.token,
      approvals: [approval],
      hosts: [{ name: 'app-01', address: 'unix:///x' }],
    })
    await deployer.endDeployment(deployment.id, ended(state, [outcome('app-01')]))
    await deployer.unlock(lock)
  }
  await deployer.mark({ ...place, bad: true, by: 'li', reason: 'x' })
  const change = { key: '/a', before: { state: 'absent' }, after: { state: 'withheld' } } as const
  await deployer.recordConfigChange({
    app: 'webapi',
    environment: 'test',
    by: 'li',
    reason: undefined,
    changes: [change],
  })

  const reader = await openLedger(as('reader'))
  t.teardown(() => reader.close())
  t.equal((await reader.deployments({ limit: 10 })).length, 3)
  t.match(await reader.current(), [{ id: 'd3' }])
  await t.rejects(reader.nextVersion('webapi'), { code: 'UNAUTHORIZED' })
  await plansWith(t, await openLedger(as('reader'), { readOnly: true }))

  const sql = await createConnection(as('deployer'))
  t.teardown(() => sql.end())
  const done: string[] = []
  for (const statement of FORBIDDEN) {
    const refusal: unknown = await sql.query(statement).catch((error: unknown) => error)
    const code = refusal instanceof Error && 'code' in refusal ? String(refusal.code) : ''
    if (!/DENIED|ER_SIGNAL_EXCEPTION/.test(code)) done.push(`${statement}: ${code || 'done'}`)
  }
  t.same(done, [], 'what the account of deployments must not do')
  await keepsAuditApart(t, as)
  await goesOnWithout(t, root, as)
  const old = releasedLedgers('mysql').find(({ schema }) => schema === '0003-deployment-life')
  await root.query('drop database crosscloud; create database crosscloud; use crosscloud')
  await root.query(old?.sql ?? '')
  await t.rejects(openLedger(as('reader')), {
    code: 'UNAUTHORIZED',
    message: /has schema 0003-deployment-life, this crosscloud needs 0004-/,
  })
}

/** All that a plan of a deployment asks the ledger, but for what proves approvals. */
async function plansWith(t: Test, reader: Ledger): Promise<void> {
  t.teardown(() => reader.close())
  const place = { app: 'webapi', environment: 'test' }
  t.match(await reader.id(), /./)
  await t.resolves(reader.findLock('webapi', 'test'))
  await t.resolves(reader.findMark('webapi', 'test', '1.0.0'))
  await t.resolves(reader.currentDeployment('webapi', 'test'))
  await t.resolves(reader.findConfigRevision('sha256:x'))
  await t.resolves(reader.hosts('webapi', 'test'))
  await t.resolves(reader.unsigned(place))
  await t.resolves(reader.events({ ...place, limit: 1 }))
  await t.rejects(reader.nextVersion('webapi'), { code: 'FORBIDDEN' })
}
