import { execFileSync, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import fc from 'fast-check'
import Libsql from 'libsql'
import t, { type Test } from 'tap'
import { openSqliteLedger } from '../../../src/ledger/database/sqlite.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { raises, versionAfter } from '../../../src/ledger/queries/versions.ts'
import { firstVersions, ledgerConformance } from '../conformance/ledger.ts'
import { release } from '../conformance/samples.ts'
import { releasedLedgers } from './released-ledgers.ts'
import { buildWorkers } from './workers.ts'

await ledgerConformance(t, 'sqlite', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  return (options) => openSqliteLedger(file, options)
})

const { startWorker, race } = buildWorkers(t)

t.test('processes open an empty file at once and allot 100 versions', async (t) => {
  const file = join(t.testdir(), 'made', 'here', 'ledger.db')
  const counts = [25, 25, 25, 25]
  const allotted = await race<string[]>(t, `sqlite:${file}`, 'allot', counts)
  t.same(allotted.flat().sort(), firstVersions(100), 'no gap, none twice')
  const files = readdirSync(dirname(file)).filter((name) => !/^ledger\.db(-wal|-shm)?$/.test(name))
  t.same(files, [], 'nothing but the ledger is left')
  const ledger = await openLedger(file)
  t.teardown(() => ledger.close())
  t.equal(await ledger.nextVersion('webapi'), '2.0.0')
})

t.test('of processes that want a lock at the same time each gets it once', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  type Held = { token: number; from: number; to: number }
  const held = (await race<Held[]>(t, file, 'fight', [8, 8, 8, 8])).flat()
  t.equal(held.length, 32)
  held.sort((a, b) => a.token - b.token)
  for (const [i, one] of held.entries()) {
    const before = held[i - 1]
    if (!before) continue
    t.ok(one.token > before.token, 'the token grows')
    t.ok(one.from >= before.to, 'held after the one before was done')
  }
})

t.test('a killed process leaves a lock that expires, and a file that is intact', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const worker = startWorker(t, file, 'die', 1)
  await worker.ready
  worker.go()
  t.same(await worker.exit, [null, 'SIGKILL'])
  let later = 0
  const ledger = await openSqliteLedger(file, { now: () => Date.now() + later })
  t.teardown(() => ledger.close())
  const left = await ledger.findLock('webapi', 'test')
  t.match(left, { owner: 'the dead' })
  await t.rejects(ledger.lock('webapi', 'test', 'li', 'next', 1000), {
    message: /is locked by the dead \(gone\) until /,
  })
  later = 600_000
  t.match(await ledger.lock('webapi', 'test', 'li', 'next', 1000), { owner: 'li' })
  await ledger.recordRelease(release('1.0.0'))
})

t.test('a new file is for its owner only, and whole by itself after closing', async (t) => {
  const file = join(t.testdir(), 'a', 'b', 'ledger.db')
  const ledger = await openLedger('a/b/ledger.db', { folder: t.testdirName })
  t.equal(ledger.name, `sqlite:${file}`)
  await ledger.recordRelease(release('1.0.0'))
  for (const part of ['', '-wal', '-shm']) {
    t.equal(statSync(file + part).mode & 0o777, 0o600, `ledger.db${part}`)
  }
  t.equal(statSync(join(t.testdirName, 'a', 'b')).mode & 0o777, 0o700)
  await ledger.close()
  const copy = join(t.testdirName, 'copy.db')
  writeFileSync(copy, readFileSync(file))
  const again = await openLedger(`sqlite://${copy}`)
  t.teardown(() => again.close())
  t.strictSame(await again.findRelease('webapi', '1.0.0'), release('1.0.0'))
})

t.test('a busy file is waited for without stopping the process', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const patient = await openSqliteLedger(file)
  const hasty = await openSqliteLedger(file, { timeout: 60 })
  const other = new Libsql(file)
  t.teardown(() => Promise.all([patient.close(), hasty.close(), other.close()]))
  other.exec('begin immediate')
  const busy = {
    code: 'UNAVAILABLE',
    retryable: true,
    message: `allotting a version of webapi: sqlite:${file} is busy: another process writes to it`,
  }
  await t.rejects(hasty.nextVersion('webapi'), busy)
  await t.rejects(hasty.nextVersion('webapi'), busy)
  t.same(await hasty.releases('webapi', 10), [], 'readers do not wait')
  setTimeout(() => other.exec('commit'), 100)
  t.equal(await patient.nextVersion('webapi'), '1.0.0', 'a timer ran while it waited')
  t.equal(await hasty.nextVersion('webapi'), '1.0.1', 'a failed try leaves nothing open')
  t.equal(await patient.nextVersion('webapi'), '1.0.2')
  t.equal(await hasty.nextVersion('webapi'), '1.0.3')
  other.exec('begin immediate; commit')
})

t.test('a file is opened while others write to it, unless it has to be migrated', async (t) => {
  const folder = t.testdir()
  for (const { schema, sql } of releasedLedgers('sqlite')) {
    const file = join(folder, `${schema}.db`)
    const other = new Libsql(file)
    t.teardown(() => other.close())
    other.exec(sql)
    other.exec('pragma journal_mode = wal; begin exclusive')
    await t.rejects(openSqliteLedger(file, { timeout: 60 }), { code: 'UNAVAILABLE' })
    const abort = new AbortController()
    const opening = openSqliteLedger(file, { signal: abort.signal })
    setTimeout(() => abort.abort(), 50)
    await t.rejects(opening, { code: 'CANCELLED' })
    await t.rejects(openSqliteLedger(file, { signal: abort.signal }), { code: 'CANCELLED' })
    other.exec('commit')
    await (await openSqliteLedger(file)).close()
    other.exec('pragma journal_mode = wal; begin exclusive')
    await (await openSqliteLedger(file, { timeout: 60 })).close()
  }
})

t.test('a ledger that begins to be read as its journal changes is not waited for', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const made = new Libsql(file)
  t.teardown(() => made.close())
  made.exec(releasedLedgers('sqlite').at(-1)?.sql ?? '')
  made.exec('begin; select 1 from sqlite_schema')
  // The reader is in this process: a timer ends it, which a sleeping SQLite would hold up.
  const begun = performance.now()
  setTimeout(() => made.exec('commit'), 50)
  await (await openSqliteLedger(file)).close()
  t.ok(performance.now() - begun < 4500, 'SQLite did not sleep through its 5 s')
})

t.test(
  'files that are no ledger are refused, left alone, and nothing is put beside them',
  async (t) => {
    const folder = t.testdir({ 'text.db': 'Not a database at all. '.repeat(200) })
    const at = (name: string) => join(folder, name)
    const beside = (name: string) => readdirSync(folder).filter((file) => file.startsWith(name))
    const text = readFileSync(at('text.db'))
    await t.rejects(openLedger(at('text.db')), {
      code: 'INPUT_INVALID',
      message: `opening the ledger: sqlite:${at('text.db')} is not an SQLite database`,
    })
    t.same(readFileSync(at('text.db')), text)
    t.same(beside('text'), ['text.db'])

    const foreign = new Libsql(at('foreign.db'))
    foreign.exec('create table theirs (a integer)')
    const theirs = readFileSync(at('foreign.db'))
    await t.rejects(openLedger(at('foreign.db')), {
      code: 'INPUT_INVALID',
      message: `sqlite:${at('foreign.db')} is a database of another program, not a ledger`,
    })
    const tables = foreign.prepare('select name from sqlite_master').all()
    t.same(tables, [{ name: 'theirs' }])
    t.same(readFileSync(at('foreign.db')), theirs, 'not even its journal has changed')
    t.same(beside('foreign'), ['foreign.db'])
    foreign.close()

    await (await openLedger(at('newer.db'))).close()
    const newer = new Libsql(at('newer.db'))
    newer.exec("insert into kysely_addition values ('9999-more', '2099-01-01T00:00:00.000Z')")
    await t.resolves(
      openLedger(at('newer.db')).then((ledger) => ledger.close()),
      'more tables',
    )
    newer.exec("insert into kysely_migration values ('9999-later', '2099-01-01T00:00:00.000Z')")
    newer.close()
    await t.rejects(openLedger(at('newer.db')), {
      code: 'CONFLICT',
      message: `ledger sqlite:${at('newer.db')} has schema 9999-later, this crosscloud knows up to 0005-audit`,
      hint: /Update/,
    })

    const ledger = await openLedger(at('damaged.db'))
    await ledger.recordRelease(release('1.0.0'))
    await ledger.close()
    truncateSync(at('damaged.db'), 8192)
    const damaged = openLedger(at('damaged.db')).then((ledger) => ledger.releases('webapi', 1))
    await t.rejects(damaged, { code: 'COMMAND_FAILED', message: /damaged\.db is damaged$/ })

    mkdirSync(at('folder.db'))
    await t.rejects(openLedger(at('folder.db')), {
      code: 'INPUT_INVALID',
      message: `ledger sqlite:${at('folder.db')} is a folder`,
    })
    t.same(readdirSync(at('folder.db')), [])
    await t.rejects(openLedger(at('text.db/below.db')), { message: /below\.db: E/ })

    const cancelled = openLedger(at('none.db'), { signal: AbortSignal.abort() })
    await t.rejects(cancelled, { code: 'CANCELLED' })
    t.same(beside('none'), [])
    writeFileSync(at('empty.db'), '')
    await (await openLedger(at('empty.db'))).close()
    t.ok(statSync(at('empty.db')).size > 0, 'an empty file becomes a ledger')
  },
)

t.test('an address that is no ledger is refused', async (t) => {
  const bad = (message: RegExp | string) => ({ code: 'INPUT_INVALID', message })
  await t.rejects(openLedger('postgres://u:s3cret@db/x'), bad('ledger: postgres: is not known'))
  for (const empty of ['', ' ', 'sqlite:', 'sqlite: ', 'a\0b']) {
    await t.rejects(openLedger(empty), bad('ledger: no path'))
  }
})

t.test('a full disk is named', { skip: process.getuid?.() !== 0 && 'only root may mount' }, (t) =>
  fullDisk(t),
)

async function fullDisk(t: Test): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'crosscloud-full-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', folder])
  if (mount.status !== 0) return void t.pass('skipped', { skip: `mount: ${mount.stderr}` })
  t.teardown(() => execFileSync('umount', ['--lazy', folder]))
  const file = join(folder, 'ledger.db')
  const ledger = await openLedger(file)
  t.teardown(() => ledger.close())
  await t.rejects(ledger.recordConfigRevision('big', 'x'.repeat(1 << 20)), {
    code: 'COMMAND_FAILED',
    message: `recording config revision big: sqlite:${file} cannot grow: the disk is full`,
  })
  t.equal(await ledger.findConfigRevision('big'), undefined)
  t.equal(await ledger.nextVersion('webapi'), '1.0.0', 'small things still fit')

  const before = readdirSync(folder)
  fillDisk(join(folder, 'rest'))
  await t.rejects(openLedger(join(folder, 'new.db')), {
    code: 'COMMAND_FAILED',
    message: /new\.db cannot grow: the disk is full$/,
  })
  t.same(readdirSync(folder), [...before, 'rest'], 'a ledger that cannot be made leaves no file')
}

function fillDisk(file: string): void {
  try {
    for (;;) appendFileSync(file, Buffer.alloc(4096))
  } catch {
    // it is full
  }
}

t.test('a missing native module is explained', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'crosscloud-bare-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const outfile = join(folder, 'open.mjs')
  buildSync({
    stdin: {
      contents: `import { openLedger } from './open.ts'
        openLedger('ledger.db').catch((error) => console.log(JSON.stringify({ ...error, message: error.message })))`,
      resolveDir: fileURLToPath(new URL('../../../src/ledger', import.meta.url)),
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['libsql'],
  })
  const { stdout } = spawnSync(process.execPath, [outfile], { cwd: folder, encoding: 'utf8' })
  t.match(JSON.parse(stdout), {
    code: 'UNAVAILABLE',
    retryable: false,
    message: /^SQLite cannot be loaded: /,
    hint: /Install again/,
  })
  t.same(readdirSync(folder), ['open.mjs'], 'no file was made')
})

t.test('the next version is always higher', async (t) => {
  const part = fc.nat({ max: 12 })
  const rises = fc.property(part, part, part, (x, y, z) => {
    const version = `${x}.${y}.${z}`
    const next = versionAfter(version)
    return raises(next, version) && !raises(version, next) && !raises(version, version)
  })
  t.doesNotThrow(() => fc.assert(rises))
})
