import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import Libsql from 'libsql'
import t, { type Test } from 'tap'
import { openLedger } from '../../src/ledger/open.ts'
import { openSqliteLedger } from '../../src/ledger/sqlite.ts'
import { raises, versionAfter } from '../../src/ledger/versions.ts'
import { digestOf, firstVersions, ledgerConformance, release } from './ledger-conformance.ts'
void [createHash, chmodSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync, createRequire, Libsql, digestOf, versionAfter, raises]

await ledgerConformance(t, 'sqlite', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  return (options) => openSqliteLedger(file, options)
})

interface Worker {
  ready: Promise<unknown>
  go(): void
  result: Promise<string>
  exit: Promise<unknown[]>
}

const script = fileURLToPath(new URL('ledger-worker.ts', import.meta.url))

/** A process that waits until it is told to go; it inherits how tap runs TypeScript. */
function startWorker(t: Test, url: string, task: string, count: number): Worker {
  const child = spawn(process.execPath, [...process.execArgv, script, url, task, String(count)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)
  const nextLine = async () => String((await once(lines, 'line'))[0])
  const ready = nextLine()
  return {
    ready,
    go: () => child.stdin.end('go\n'),
    result: ready.then(nextLine),
    exit: once(child, 'exit'),
  }
}

async function race<T>(t: Test, url: string, task: string, counts: number[]): Promise<T[]> {
  const workers = counts.map((count) => startWorker(t, url, task, count))
  await Promise.all(workers.map((worker) => worker.ready))
  for (const worker of workers) worker.go()
  const results = await Promise.all(workers.map((worker) => worker.result))
  return results.map((text) => JSON.parse(text) as T)
}

t.test('processes open an empty file at once and allot 100 versions', async (t) => {
  const file = join(t.testdir(), 'made', 'here', 'ledger.db')
  const counts = [25, 25, 25, 25]
  const allotted = await race<string[]>(t, `sqlite:${file}`, 'allot', counts)
  t.same(allotted.flat().sort(), firstVersions(100), 'no gap, none twice')
  const ledger = await openLedger(file)
  t.teardown(() => ledger.close())
  t.equal(await ledger.nextVersion('webapi'), '2.0.0')
})

t.test('processes fight for one lock', async (t) => {
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

t.test('a killed process leaves a lock that expires, and a file that is well', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const worker = startWorker(t, file, 'die', 1)
  await worker.ready
  worker.go()
  t.same(await worker.exit, [null, 'SIGKILL'])
  const ledger = await openLedger(file)
  t.teardown(() => ledger.close())
  const left = await ledger.findLock('webapi', 'test')
  t.match(left, { owner: 'the dead' })
  await t.rejects(ledger.lock('webapi', 'test', 'li', 'next', 1000), {
    message: /is locked by the dead \(gone\) until /,
  })
  await new Promise((resolve) => setTimeout(resolve, 320))
  t.match(await ledger.lock('webapi', 'test', 'li', 'next', 1000), { owner: 'li' })
  await ledger.recordRelease(release('1.0.0'))
})
