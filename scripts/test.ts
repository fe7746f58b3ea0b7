import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { findTestFiles, ROOT } from '../test/support/unit-tests.ts'
import { runFiles } from './run-files.ts'

// Runs all test files; with `unit` or `servers`, those of that kind; or the files that are named.
//   node --import=./scripts/typescript.mjs scripts/test.ts [--jobs N] [unit | servers | FILE…]
const TIMEOUT = 600

/** Folders whose files take minutes come first, so that none of them runs alone at the end. */
const SLOW_FIRST = ['test/e2e/', 'test/demo/', 'test/gitlab/', 'test/server/', 'test/targets/']

const place = (file: string) => {
  const found = SLOW_FIRST.findIndex((folder) => file.startsWith(folder))
  return found === -1 ? SLOW_FIRST.length : found
}

/** Files that start servers run alone; others share a process, for most take less than its start. */
async function chooseBatches(wanted: readonly string[], jobs: number): Promise<string[][]> {
  const { unit, local, servers } = await findTestFiles()
  const alone = servers.toSorted((left, right) => place(left) - place(right)).map((file) => [file])
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
const { failed, totals } = await runFiles(batches, { jobs, timeout: TIMEOUT })
const seconds = ((Date.now() - started) / 1000).toFixed(1)
const count = batches.flat().length
console.log(`# ${count - failed.length} of ${count} files passed in ${seconds} s`)
for (const file of failed) console.log(`# failed: npm run test:one ${file}`)
const { total, pass, fail, skip } = totals
console.log(`# { total: ${total}, pass: ${pass}, fail: ${fail}, skip: ${skip} }`)
if (failed.length > 0) process.exitCode = 1
