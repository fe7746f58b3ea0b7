import { once } from 'node:events'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

// Runs test files in one process, one after another, and prints a line when each has ended:
//   TEST_FILES='[["FILE", "PATH"], …]' node --import=tap --import=./scripts/typescript.mjs scripts/test-files.ts
// PATH is what is run as FILE. The start of Node and tap takes longer than most unit tests. The files
// are no arguments: tap names a folder after these, and the name would be too long.

/** Begins the line: the file and its seconds follow. */
export const FILE_ENDED = '# ended: '

const wanted = process.env.TEST_FILES
if (wanted !== undefined) {
  delete process.env.TEST_FILES
  const { default: t } = await import('tap')
  for (const [file, path] of JSON.parse(wanted) as [string, string][]) {
    const started = Date.now()
    await import(pathToFileURL(resolve(path)).href)
    while (!t.idle) await once(t, 'idle')
    const seconds = ((Date.now() - started) / 1000).toFixed(1)
    t.comment(`${FILE_ENDED.slice(2)}${file} ${seconds} s`)
  }
}
