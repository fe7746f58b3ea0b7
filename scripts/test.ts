import { readFile, rename, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { findTestFiles, ROOT } from '../test/support/unit-tests.ts'
import { compileTests } from './compile-tests.ts'
import { runFiles } from './run-files.ts'

// Runs all test files; with `unit` or `servers`, those of that kind; or the files that are named.
//   node --import=./scripts/typescript.mjs scripts/test.ts [--jobs N] [unit | servers | FILE…]
const TIMEOUT = 600

/** Seconds that each file took when it last passed. */
const TIMES = join(ROOT, '.cache', 'test-times.json')

const readTimes = async (): Promise<Record<string, number>> =>
  JSON.parse(await readFile(TIMES, 'utf8').catch(() => '{}'))

/** Folders whose files take minutes, for a checkout where none has run yet. */
const SLOW = ['test/e2e/', 'test/demo/', 'test/gitlab/', 'test/ledger/', 'test/server/']

/** The slowest first, so that none of them runs alone at the end. */
function bySlowness(times: Record<string, number>) {
  const guess = (file: string) => (SLOW.some((folder) => file.startsWith(folder)) ? 60 : 20)
  const seconds = (file: string) => times[file] ?? guess(file)
  return (left: string, right: string) => seconds(right) - seconds(left)
}

/** Files that start servers run alone; others share a process, for most take less than its start. */
async function chooseBatches(wanted: readonly string[], jobs: number): Promise<string[][]> {
  const { unit, local, servers } = await findTestFiles()
  const alone = servers.toSorted(bySlowness(await readTimes())).map((file) => [file])
  const together = (files: readonly string[]) =>
    Array.from({ length: jobs }, (_, first) => files.filter((_, number) => number % jobs === first))
  if (wanted.length === 0) return [...alone, ...together(local), ...together(unit)]
  if (wanted.length === 1 && wanted[0] === 'unit') return together(unit)
  if (wanted.length === 1 && wanted[0] === 'servers') return [...alone, ...together(local)]
  return wanted.map((file) => [file])
}

process.chdir(ROOT)
const { values, positionals } = parseArgs({
  options: { jobs: { type: 'string' } },
  allowPositionals: true,
})
// Many a test waits for a server's timers: one file more than there are processors keeps them busy.
const jobs = Number(values.jobs ?? availableParallelism() + 1)
const batches = await chooseBatches(positionals, jobs)
const started = Date.now()
const compiled = await compileTests()
const { failed, totals, times } = await runFiles(batches, { jobs, timeout: TIMEOUT, compiled })
const seconds = ((Date.now() - started) / 1000).toFixed(1)
await writeFile(`${TIMES}.${process.pid}`, JSON.stringify({ ...(await readTimes()), ...times }))
await rename(`${TIMES}.${process.pid}`, TIMES)
const count = batches.flat().length
console.log(`# ${count - failed.length} of ${count} files passed in ${seconds} s`)
for (const file of failed) console.log(`# failed: npm run test:one ${file}`)
const { total, pass, fail, skip } = totals
console.log(`# { total: ${total}, pass: ${pass}, fail: ${fail}, skip: ${skip} }`)
if (failed.length > 0) process.exitCode = 1
