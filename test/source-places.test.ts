import { mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { transform } from 'esbuild'
import t from 'tap'
import { showSourcePlaces } from '../scripts/source-places.ts'
import { temporaryFolder } from './support/temporary.ts'

t.test('what a failed test prints names places in its source', async (t) => {
  const folder = join(await temporaryFolder(t), '.cache', 'compiled')
  await mkdir(folder, { recursive: true })
  const source =
    "interface Gone {\n  a: string\n}\n\nexport const x: Gone = { a: '1' }\n  throw x\n"
  const { code } = await transform(source, {
    loader: 'ts',
    sourcemap: 'inline',
    sourcefile: 'one.test.ts',
  })
  const file = join(folder, 'one.test.mjs')
  await writeFile(file, code)
  const line = code.split('\n').findIndex((text) => text.startsWith('throw')) + 1
  t.not(line, 6, 'it is elsewhere in the compiled file')
  const shown = relative(process.cwd(), join(folder, 'one.test.ts'))
  for (const path of [file, pathToFileURL(file).href]) {
    t.equal(showSourcePlaces(`at f (${path}:${line}:1)`), `at f (${shown}:6:3)`)
  }
  const fields = (path: string, at: number, column: number) =>
    `at:\n  fileName: ${path}\n  lineNumber: ${at}\n  columnNumber: ${column}\n`
  t.equal(showSourcePlaces(fields(relative(process.cwd(), file), line, 1)), fields(shown, 6, 3))
  for (const other of ['at g (/tmp/x.mjs:1:2)', `${folder}/gone.mjs:1:2`]) {
    t.equal(showSourcePlaces(other), other, 'what has no map stays')
  }
})
