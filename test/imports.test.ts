import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { allowed, innerLayers, layers } from './layers.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

const moduleOf = (path: string) => path.split('/')[0] ?? ''

/** What is wrong with an import graph: file → files it imports, paths from src. */
function violations(graph: ReadonlyMap<string, readonly string[]>): string[] {
  return [...graph].flatMap(([file, imports]) =>
    imports.flatMap((imported) => {
      const [from, to] = [moduleOf(file), moduleOf(imported)]
      const [above, below] = [layers[from], layers[to]]
      if (above === undefined) return [`${file}: module ${from} has no layer`]
      if (below === undefined) return [`${imported}: module ${to} has no layer`]
      if (from === to || above > below) return []
      if (above === below && allowed.has(`${from} → ${to}`)) return []
      return [`${file} imports ${imported}: layer ${above} to layer ${below}`]
    }),
  )
}

/** What is wrong inside a module whose folders have layers. */
function innerViolations(graph: ReadonlyMap<string, readonly string[]>): string[] {
  return [...graph].flatMap(([file, imports]) => {
    const inner = innerLayers[moduleOf(file)]
    if (inner === undefined) return []
    const layerOf = (path: string) => inner[path.split('/')[1] ?? '']
    const layer = layerOf(file)
    if (layer === undefined) return [`${file}: its folder has no layer`]
    return imports
      .filter((path) => moduleOf(path) === moduleOf(file) && (layerOf(path) ?? 0) > layer)
      .map((path) => `${file} imports ${path}: up inside ${moduleOf(file)}`)
  })
}

/** Files that import one another in a circle. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = []
  const done = new Set<string>()
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) {
      found.push([...path.slice(path.indexOf(file)), file].join(' → '))
      return
    }
    if (done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return found
}

async function sources(folder: string): Promise<string[]> {
  const entries = await readdir(join(ROOT, folder), { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
}

const IMPORT = /(import type |import\(|import |from )\s*['"](\.[^'"]+)['"]/g

/** The relative paths a source imports; without `types` only those that load at once. */
function importsOf(text: string, types: boolean): string[] {
  return text
    .split(/^(?=import|export)/m)
    .flatMap((statement) =>
      [...statement.matchAll(IMPORT)]
        .filter(([, how]) => types || (!statement.startsWith('import type') && how !== 'import('))
        .map(([, , path = '']) => path),
    )
}

async function readGraph(types: boolean): Promise<Map<string, string[]>> {
  const graph = new Map<string, string[]>()
  for (const file of await sources('src')) {
    const text = await readFile(join(ROOT, file), 'utf8')
    const imports = importsOf(text, types).map((path) =>
      relative(join(ROOT, 'src'), resolve(ROOT, dirname(file), path)),
    )
    graph.set(
      relative('src', file),
      imports.filter((path) => !path.startsWith('..')),
    )
  }
  return graph
}

await t.test('the reader of imports finds every way to import', async (t) => {
  const text = [
    "import { a } from './a.ts'",
    'import {',
    '  b,',
    "} from './b.ts'",
    "import type { C } from './c.ts'",
    "import './d.ts'",
    'import e from "./e.ts"',
    "export { f } from './f.ts'",
    "export * from '../g.ts'",
    "import { join } from 'node:path'",
    "const { h } = await import('./h.ts')",
    "type I = import('./i.ts').I",
  ].join('\n')
  const all = [...'abcdef'].map((name) => `./${name}.ts`)
  t.strictSame(importsOf(text, true), [...all, '../g.ts', './h.ts', './i.ts'])
  t.strictSame(importsOf(text, false), [...all.filter((path) => path !== './c.ts'), '../g.ts'])
})

await t.test('an import goes down or stays in its module', async (t) => {
  const bad = new Map([
    ['core/errors.ts', ['steps/step.ts']],
    ['ledger/ledger.ts', ['config/store.ts', 'core/errors.ts']],
    ['image/war.ts', ['registry/reference.ts']],
  ])
  t.strictSame(violations(bad), [
    'core/errors.ts imports steps/step.ts: layer 1 to layer 5',
    'ledger/ledger.ts imports config/store.ts: layer 2 to layer 2',
  ])
  const graph = await readGraph(true)
  t.ok(graph.size > 50, 'every file was read')
  t.ok((graph.get('context.ts') ?? []).includes('registry/client.ts'), 'dynamic imports too')
  t.strictSame(violations(graph), [])
})

await t.test(
  'inside config, rules know templates, both know stores, and never the other way',
  async (t) => {
    const bad = new Map([
      ['config/store/open.ts', ['config/rules/encryption.ts', 'core/errors.ts']],
      ['config/template/render.ts', ['config/store/keys.ts', 'config/rules/schema.ts']],
      ['config/other.ts', []],
    ])
    t.strictSame(innerViolations(bad), [
      'config/store/open.ts imports config/rules/encryption.ts: up inside config',
      'config/template/render.ts imports config/rules/schema.ts: up inside config',
      'config/other.ts: its folder has no layer',
    ])
    t.strictSame(innerViolations(await readGraph(true)), [])
  },
)

await t.test('no file imports itself by way of others, types included', async (t) => {
  t.strictSame(
    circles(
      new Map([
        ['a.ts', ['b.ts']],
        ['b.ts', ['a.ts']],
      ]),
    ),
    ['a.ts → b.ts → a.ts'],
  )
  t.strictSame(circles(await readGraph(true)), [])
})

await t.test('only surfaces touch the process', async (t) => {
  const touch =
    /process\.(argv|env|stdin|stdout|stderr|exit\b|exitCode)|\bconsole\.|['"](node:)?process['"]/
  for (const text of ['process.env.HOME', 'process.exit(1)', 'console.log(1)', "'node:process'"]) {
    t.match(text, touch)
  }
  for (const file of await sources('src')) {
    if (layers[moduleOf(relative('src', file))] === 7) continue
    t.notMatch(await readFile(join(ROOT, file), 'utf8'), touch, file)
  }
})

const MOST_LINES = 350
/** "About 15": one more file fits everywhere without a split at that moment. */
const MOST_FILES = 18

await t.test(`no file has more than ${MOST_LINES} lines`, async (t) => {
  for (const folder of ['src', 'scripts', 'test', 'bench']) {
    for (const file of await sources(folder)) {
      const lines = (await readFile(join(ROOT, file), 'utf8')).split('\n').length - 1
      t.ok(lines <= MOST_LINES, `${file}: ${lines} lines`)
    }
  }
})

await t.test(`no folder has more than ${MOST_FILES} files at one level`, async (t) => {
  const files = [...(await sources('src')), ...(await sources('test'))]
  const folders = new Map<string, string[]>()
  for (const file of files)
    folders.set(dirname(file), [...(folders.get(dirname(file)) ?? []), file])
  t.ok(folders.size > 50, `${folders.size} folders`)
  for (const [folder, { length }] of folders)
    t.ok(length <= MOST_FILES, `${folder}: ${length} files`)
})
