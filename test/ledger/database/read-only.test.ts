import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import Libsql from 'libsql'
import t from 'tap'
import { openLedger } from '../../../src/ledger/open.ts'
import { release } from '../conformance/samples.ts'

t.test('a ledger that is open for reading refuses every change, and stays as it is', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const writer = await openLedger(file)
  await writer.recordRelease(release('1.0.0'))
  const held = await writer.lock('webapi', 'test', 'li', 'deploy', 60_000)
  await writer.close()
  const before = await readFile(file)
  const reader = await openLedger(file, { readOnly: true })
  t.match(await reader.findRelease('webapi', '1.0.0'), { version: '1.0.0' })
  t.match(await reader.findLock('webapi', 'test'), { owner: 'li' })
  t.equal(await reader.id(), held.ledger)
  const changes: (() => Promise<unknown>)[] = [
    () => reader.recordRelease(release('1.0.1')),
    () => reader.nextVersion('webapi'),
    () => reader.lock('webapi', 'staging', 'li', 'deploy', 60_000),
    () => reader.unlock(held),
    () => reader.recordConfigRevision('sha256:x', '{}'),
  ]
  for (const change of changes) {
    await t.rejects(change(), { code: 'FORBIDDEN', message: /is open for reading only/ })
  }
  await reader.close()
  t.ok(before.equals(await readFile(file)))
})

t.test('for reading, a ledger is neither made nor brought to a newer schema', async (t) => {
  const folder = t.testdir()
  const none = join(folder, 'none.db')
  await t.rejects(openLedger(none, { readOnly: true }), { code: 'NOT_FOUND' })
  await t.rejects(readFile(none), { code: 'ENOENT' })
  const file = join(folder, 'old.db')
  await (await openLedger(file)).close()
  const db = new Libsql(file)
  db.exec("delete from kysely_migration where name like '0004-%'")
  db.close()
  await t.rejects(openLedger(file, { readOnly: true }), {
    code: 'UNAUTHORIZED',
    message: /has schema 0003-/,
    hint: /crosscloud ledger migrate/,
  })
})
