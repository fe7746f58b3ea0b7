import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { layers } from './layers.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const page = await readFile(join(ROOT, 'docs/architecture.md'), 'utf8')

/** The paths between backquotes that a text names; a row of a recipe that says "New" makes its own. */
const pathsOf = (text: string) =>
  text
    .split('\n')
    .filter((line) => !/\| New\b/.test(line))
    .flatMap((line) => [...line.matchAll(/`((?:src|test|scripts|bench|docs)\/[\w./-]*)`/g)])
    .map(([, path = '']) => path)

t.test('every path that architecture.md and CONTRIBUTING.md name exists', async (t) => {
  t.strictSame(pathsOf('| `src/a.ts` | New: x |\n| `src/b.ts` | One line |'), ['src/b.ts'])
  const texts = [page, await readFile(join(ROOT, 'CONTRIBUTING.md'), 'utf8')]
  const paths = texts.flatMap(pathsOf)
  t.ok(paths.length > 5, `${paths.length} paths`)
  for (const path of paths) await t.resolves(access(join(ROOT, path)), path)
})

t.test('the picture has the layers that the imports keep', async (t) => {
  const drawn: Record<string, number> = {}
  for (const [, layer, content = ''] of page.matchAll(
    /subgraph layer(\d)\["[^\n]*\n([\s\S]*?)\n {2}end/g,
  )) {
    for (const [, name = ''] of content.matchAll(/\["([^"]+)"\]/g)) drawn[name] = Number(layer)
  }
  t.strictSame(drawn, layers)
})
