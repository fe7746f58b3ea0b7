import { execFileSync } from 'node:child_process'
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { silentLog } from '../../src/core/log.ts'
import { isOver, showLiving } from '../../src/core/process/liveness.ts'
import { openLedger } from '../../src/delivery/ledger-access.ts'
import { openJournal } from '../../src/ledger/journal.ts'
import type { Settings } from '../../src/settings.ts'
import { temporaryFolder } from '../support/temporary.ts'

const NAME = '1700000000000-00000000-0000-4000-8000-000000000000.json'
const entry = { version: 1, ledger: 'ledger', entry: {} }

await t.test('a journal that others may write to is refused', async (t) => {
  const folder = join(await temporaryFolder(t), 'journal')
  await mkdir(folder)
  await writeFile(join(folder, NAME), JSON.stringify(entry), { mode: 0o600 })
  t.equal(await openJournal(folder, 'ledger').waiting('ledger'), 1)
  await chmod(folder, 0o777)
  await t.rejects(openJournal(folder, 'ledger').waiting('ledger'), {
    code: 'UNAUTHORIZED',
    message: /journal belongs to uid \d+ and has mode 0777: others may write there/,
    hint: /`CROSSCLOUD_STATE`/,
  })
})

await t.test('a pipe or a file that others may write is no entry, and stops nothing', async (t) => {
  const folder = join(await temporaryFolder(t), 'journal')
  await mkdir(folder, { mode: 0o700 })
  execFileSync('mkfifo', [join(folder, NAME)])
  const open = join(folder, NAME.replace('17', '18'))
  await writeFile(open, JSON.stringify(entry))
  await chmod(open, 0o666)
  t.equal(await openJournal(folder, 'ledger').waiting('ledger'), 0)
})

await t.test('of a lock in a folder that others may write to nothing is known', async (t) => {
  const folder = join(await temporaryFolder(t), 'locks')
  await (await showLiving(folder, 'lock 1')).end('left')
  t.equal(await isOver(folder, 'lock 1'), true)
  await chmod(folder, 0o777)
  t.equal(await isOver(folder, 'lock 1'), false)
  await t.rejects(showLiving(folder, 'lock 2'), { code: 'UNAUTHORIZED' })
  t.equal((await readdir(folder)).length, 1)
})

await t.test('the ledger keeps texts of others without control characters', async (t) => {
  const folder = await temporaryFolder(t)
  const settings = { ledger: { url: 'sqlite:ledger.db' }, folder } as Settings
  const { signal } = new AbortController()
  const options = { variables: {}, signal, log: silentLog, empty: [] }
  const ledger = await openLedger(settings, options)
  t.teardown(() => ledger.close())
  const hostile = 'no\x1b[2J\x07 db\r\n\tat A\x9b\0'
  const place = { app: 'shop', environment: 'test' }
  const who = { by: 'dev', identity: 'unverified' }
  const event = { ...place, ...who, action: 'command', subject: hostile, reason: hostile } as const
  const plain = 'no db\n\tat A'
  t.match(await ledger.recordEvent(event), { subject: plain, reason: plain })
  t.match(await ledger.events({ limit: 1 }), [{ subject: plain, reason: plain }])
  const { token } = await ledger.lock('shop', 'test', 'dev', hostile, 60_000)
  t.match(await ledger.findLock('shop', 'test'), { reason: plain, token })
})
