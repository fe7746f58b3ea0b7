// Lets Node 20 read TypeScript, for tests and scripts: node --import=./scripts/typescript.mjs FILE.ts
// Types are only taken out; `npm run check` is what looks at them. What was made of a file is kept in
// .cache/, so that esbuild starts only for files that changed.
import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { register } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isMainThread, threadId } from 'node:worker_threads'

// Node loads this file a second time, in a thread of its own, for `load`. From then on every module
// goes through that thread; tap's hundreds load in half the time before.
if (isMainThread) {
  if (process.env.TAP === '1' && /\.(?:test|engine)\.ts$/.test(process.argv[1] ?? '')) await import('tap')
  register(import.meta.url)
}

const ROOT = join(import.meta.dirname, '..')
const CACHE = join(ROOT, '.cache', 'typescript')
const OPTIONS = {
  loader: 'ts',
  format: 'esm',
  target: 'node20',
  sourcemap: 'inline',
  sourcesContent: false,
}

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context)
  const file = fileURLToPath(url)
  const path = relative(ROOT, file)
  // A file of somewhere else is not kept: it may never come again.
  const source = path.startsWith('..') ? await translate(file) : await translateOnce(file, path)
  return { format: 'module', source, shortCircuit: true }
}

async function translate(file, text) {
  const { transform } = await import('esbuild')
  const options = { ...OPTIONS, sourcefile: file }
  return (await transform(text ?? (await readFile(file, 'utf8')), options)).code
}

/** One kept file for each source; its last line says what it was made of. */
async function translateOnce(file, path) {
  const kept = join(CACHE, `${path}.mjs`)
  const [text, made, release] = await Promise.all([
    readFile(file, 'utf8'),
    readFile(kept, 'utf8').catch(() => ''),
    esbuildVersion(),
  ])
  const key = createHash('sha256').update(JSON.stringify([release, OPTIONS, file, text]))
  const mark = `\n//${key.digest('hex')}\n`
  if (made.endsWith(mark)) return made
  const code = `${await translate(file, text)}${mark}`
  await keep(kept, code).catch(() => {})
  return code
}

let version
function esbuildVersion() {
  const manifest = new URL('../node_modules/esbuild/package.json', import.meta.url)
  version ??= readFile(manifest, 'utf8').then((text) => JSON.parse(text).version)
  return version
}

/** Other processes read and write here at the same time. */
async function keep(path, text) {
  const own = `${path}.${process.pid}.${threadId}`
  await mkdir(dirname(path), { recursive: true })
  await writeFile(own, text)
  await rename(own, path)
}
