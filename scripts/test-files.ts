import { once } from 'node:events'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

// Runs test files in one process, one after another, and prints a line when each has ended:
//   TEST_FILES='FILE FILE…' node --import=tap --import=./scripts/typescript.mjs scripts/test-files.ts
// The start of Node, tap and the loader takes a second, longer than most unit tests. The files are no
// arguments: tap names a folder after these, and the name would be too long.

/** Begins the line: the file and its seconds follow. */
export const FILE_ENDED = '# ended: '

if (process.argv[1] === import.meta.filename) {
  const { default: t } = await import('tap')
  const files = process.env.TEST_FILES?.split(' ') ?? []
  delete process.env.TEST_FILES
  for (const file of files) {
    const started = Date.now()
    await import(pathToFileURL(resolve(file)).href)
    while (!t.idle) await once(t, 'idle')
    const seconds = ((Date.now() - started) / 1000).toFixed(1)
    t.comment(`${FILE_ENDED.slice(2)}${file} ${seconds} s`)
  }
}
