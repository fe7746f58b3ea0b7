import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openMysqlLedger } from '../../../src/ledger/database/mysql.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { makeCertificates } from '../../support/data/certificates.ts'
import { freeze } from '../../support/servers/freeze.ts'
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { keepsToItsRights } from './mysql-rights.ts'

const skip = missingProgram('mariadbd', 'openssl')
if (skip) t.test('a MySQL server with TLS and accounts of their own', { skip }, async () => {})
else await checkServer()

async function checkServer(): Promise<void> {
  const folder = await temporaryFolder(t)
  const certificates = await makeCertificates(join(folder, 'tls'))
  const file = (name: string) => join(certificates, name)
  const flags = [`--ssl-cert=${file('server.pem')}`, `--ssl-key=${file('server-key.pem')}`]
  const server = await startMariadb(t, {
    flags: [
      ...[...flags, `--ssl-ca=${file('ca.pem')}`, '--bind-address=127.0.0.1'],
      ...['--log-bin', '--log-bin-trust-function-creators=1'],
    ],
  })
  await t.test('the connection uses TLS, and the certificate is checked', (t) =>
    speaksTls(t, server, file),
  )
  await t.test('accounts with the documented rights do what they are for, and no more', (t) =>
    keepsToItsRights(t, server),
  )
  await t.test('a server that does not respond is given up, and used again when it does', (t) =>
    givesUp(t, server),
  )
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
  await t.rejects(openLedger({ url: at('localhost'), ca: '/no/such' }), {
    message: /^reading \/no\/such of ledger: /,
  })
}

async function givesUp(t: Test, { server, port, query }: Mariadb) {
  await query('create database frozen')
  await query("create user 'frozen'@'%' identified by 'secret'")
  await query("grant all on frozen.* to 'frozen'@'%'")
  const url = `mysql://frozen:secret@127.0.0.1:${port}/frozen`
  const ledger = await openMysqlLedger(url, { timeout: 1000 })
  t.teardown(() => ledger.close())
  t.equal(await ledger.nextVersion('webapi'), '1.0.0')
  await freeze(server.child)
  const begun = Date.now()
  await t.rejects(ledger.nextVersion('webapi'), {
    code: 'UNAVAILABLE',
    message: /does not answer: .*no response for 1 s/,
    retryable: true,
  })
  t.ok(Date.now() - begun < 30_000)
  process.kill(server.child.pid ?? 0, 'SIGCONT')
  t.match(await ledger.nextVersion('webapi'), /^1\.0\.[12]$/)
}
