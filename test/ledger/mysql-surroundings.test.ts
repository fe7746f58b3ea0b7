import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { openMysqlLedger } from '../../src/ledger/mysql.ts'
import { openLedger } from '../../src/ledger/open.ts'
import { freeze } from '../support/freeze.ts'
import { missingProgram } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { makeCertificates } from '../support/tls.ts'
import { ended, MINUTE, outcome, release, start } from './ledger-samples.ts'
import { type Mariadb, startMariadb } from './mariadb.ts'
import { releasedLedgers } from './released-ledgers.ts'

const skip = missingProgram('mariadbd', 'openssl')
if (skip) t.test('MySQL and its surroundings', { skip }, async () => {})
else await surroundings()

async function surroundings(): Promise<void> {
  const folder = await temporaryFolder(t)
  const certificates = await makeCertificates(join(folder, 'tls'))
  const file = (name: string) => join(certificates, name)
  const flags = [`--ssl-cert=${file('server.pem')}`, `--ssl-key=${file('server-key.pem')}`]
  const server = await startMariadb(t, {
    flags: [...flags, `--ssl-ca=${file('ca.pem')}`, '--bind-address=127.0.0.1'],
  })
  await t.test('TLS', (t) => speaksTls(t, server, file))
  await t.test('rights', (t) => keepsToItsRights(t, server))
  await t.test('a frozen server', (t) => givesUp(t, server))
}

async function speaksTls(t: Test, server: Mariadb, file: (name: string) => string) {
  await server.query('create database tls')
  await server.query("create user 'tls'@'%' identified by 'secret' require x509")
  await server.query("grant all on tls.* to 'tls'@'%'")
  const at = (host: string) => `mysqls://tls:secret@${host}:${server.port}/tls`
  const files = { ca: file('ca.pem'), cert: file('cert.pem'), key: file('key.pem') }
  const ledger = await openLedger({ url: at('localhost'), ...files })
  t.equal(await ledger.nextVersion('webapi'), '1.0.0')
  t.equal(ledger.name, `mysqls://localhost:${server.port}/tls`)
  await ledger.close()
  const untrusted = { code: 'UNAUTHORIZED', message: /certificate that is not trusted/ }
  await t.rejects(openLedger(at('localhost')), untrusted)
  const { ca } = files
  await t.rejects(openLedger({ url: at('localhost'), ca }), {
    code: 'UNAUTHORIZED',
    message: /refuses the user/,
  })
  // The certificate is of localhost, and 127.1 is the same machine by another name.
  await t.rejects(openLedger({ url: at('127.1'), ...files }), untrusted)
  await t.rejects(openLedger({ url: at('127.0.0.1'), ...files }), {
    code: 'INPUT_INVALID',
    message: /no name a certificate could be for/,
  })
  await t.rejects(openLedger({ url: at('localhost').replace('mysqls', 'mysql'), ca }), {
    code: 'INPUT_INVALID',
  })
  await t.rejects(openLedger({ url: at('localhost'), ca: '/no/such' }), { message: /ledger: ca/ })
}

/** The grants of docs/ledger-database.md. */
async function keepsToItsRights(t: Test, server: Mariadb) {
  const { readFile } = await import('node:fs/promises')
  const page = await readFile(new URL('../../docs/ledger-database.md', import.meta.url), 'utf8')
  const grants = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql = '']) => sql).join('\n')
  t.match(grants, /crosscloud_deployer/)
  const root = await createConnection({
    ...{ host: '127.0.0.1', port: server.port, user: 'root' },
    multipleStatements: true,
  })
  t.teardown(() => root.end())
  const as = (user: string) =>
    `mysql://crosscloud_${user}:change-me@127.0.0.1:${server.port}/crosscloud`
  const [accounts = '', ...rights] = grants.split(/(?=^-- )/m)
  await root.query(accounts)
  await t.rejects(openLedger(as('deployer')), {
    code: 'UNAUTHORIZED',
    message: /has schema no tables yet, this crosscloud needs 0004-/,
    hint: /crosscloud ledger migrate/,
  })
  await (await openLedger(as('migrator'))).close()
  await root.query(rights.join('\n'))

  const deployer = await openLedger(as('deployer'))
  t.teardown(() => deployer.close())
  await deployer.nextVersion('webapi')
  const made = release('1.0.0')
  await deployer.recordRelease(made)
  await deployer.recordConfigRevision('r1', '{}')
  const said = { decision: 'approved', by: 'li', groups: [], identity: 'x', reason: 'r' } as const
  const place = { app: 'webapi', environment: 'test', version: '1.0.0' }
  const { id: approval } = await deployer.recordApproval({ ...place, digest: made.digest, ...said })
  for (const state of ['succeeded', 'failed', 'succeeded'] as const) {
    const lock = await deployer.lock('webapi', 'test', 'li', 'deploy', MINUTE)
    await deployer.heartbeat(lock, MINUTE)
    await t.rejects(deployer.lock('webapi', 'test', 'wang', 'deploy', MINUTE, MINUTE))
    await t.rejects(deployer.lock('webapi', 'test', 'wang', 'deploy', MINUTE, MINUTE))
    await deployer.leaveQueue('webapi', 'test', 'wang')
    const deployment = await start(deployer, made, 'test', {
      ...{ lockToken: lock.token, approvals: [approval] },
      hosts: [{ name: 'app-01', address: 'unix:///x' }],
    })
    await deployer.endDeployment(deployment.id, ended(state, [outcome('app-01')]))
    await deployer.unlock(lock)
  }
  await deployer.mark({ ...place, bad: true, by: 'li', reason: 'x' })
  const change = { key: '/a', before: { state: 'absent' }, after: { state: 'withheld' } } as const
  await deployer.recordConfigChange({
    ...{ app: 'webapi', environment: 'test', by: 'li', reason: undefined, changes: [change] },
  })

  const reader = await openLedger(as('reader'))
  t.teardown(() => reader.close())
  t.equal((await reader.deployments({ limit: 10 })).length, 3)
  t.match(await reader.current(), [{ id: 'd3' }])
  await t.rejects(reader.nextVersion('webapi'), { code: 'UNAUTHORIZED' })

  const sql = await createConnection(as('deployer'))
  t.teardown(() => sql.end())
  for (const statement of [
    'delete from deployments',
    "update deployments set started_by = 'somebody'",
    "update releases set digest = 'x'",
    'delete from approvals',
    "update approvals set decided_by = 'somebody'",
    'delete from config_changes',
    'delete from marks',
    'drop table locks',
    'alter table locks add column x int',
  ]) {
    await t.rejects(sql.query(statement), { code: /DENIED/ }, statement)
  }
  const old = releasedLedgers('mysql').at(-1)
  await root.query('drop database crosscloud; create database crosscloud; use crosscloud')
  await root.query(old?.sql ?? '')
  await t.rejects(openLedger(as('reader')), {
    code: 'UNAUTHORIZED',
    message: /has schema 0003-deployment-life, this crosscloud needs 0004-/,
  })
}

async function givesUp(t: Test, { server, port, query }: Mariadb) {
  await query('create database frozen')
  await query("create user 'frozen'@'%' identified by 'secret'")
  await query("grant all on frozen.* to 'frozen'@'%'")
  const url = `mysql://frozen:secret@127.0.0.1:${port}/frozen`
  const ledger = await openMysqlLedger(url, { silence: 1000 })
  t.teardown(() => ledger.close())
  t.equal(await ledger.nextVersion('webapi'), '1.0.0')
  await freeze(server.child)
  const begun = Date.now()
  await t.rejects(ledger.nextVersion('webapi'), {
    code: 'UNAVAILABLE',
    message: /does not answer: .*said nothing for 1 s/,
    retryable: true,
  })
  t.ok(Date.now() - begun < 30_000)
  process.kill(server.child.pid ?? 0, 'SIGCONT')
  t.match(await ledger.nextVersion('webapi'), /^1\.0\.[12]$/)
}
