import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { runFiles } from './run-files.ts'

// npm test [FILE…]: these test files, or all of them.
const ROOT = join(import.meta.dirname, '..')
const JOBS = 2
const TIMEOUT = 600

/** Folders whose files take minutes come first, so that none of them runs alone at the end. */
const SLOW_FIRST = ['test/e2e/', 'test/demo/', 'test/gitlab/', 'test/server/', 'test/targets/']

const weight = (file: string) => {
  const place = SLOW_FIRST.findIndex((folder) => file.startsWith(folder))
  return place === -1 ? SLOW_FIRST.length : place
}

async function findFiles(): Promise<string[]> {
  const names = await readdir(join(ROOT, 'test'), { recursive: true })
  const files = names.filter((name) => name.endsWith('.test.ts')).map((name) => `test/${name}`)
  return files.sort().sort((one, other) => weight(one) - weight(other))
}

process.chdir(ROOT)
const given = process.argv.slice(2)
const files = given.length > 0 ? given : await findFiles()
const started = Date.now()
const failed = await runFiles(files, { jobs: JOBS, timeout: TIMEOUT })
const seconds = Math.round((Date.now() - started) / 1000)
console.log(`# ${files.length - failed.length} of ${files.length} files passed in ${seconds} s`)
for (const file of failed) console.log(`# failed: ${file}`)
if (failed.length > 0) process.exitCode = 1
