// Runs a TypeScript file of this repository: Node 20 reads none by itself.
// node scripts/run.mjs scripts/generate.ts [arguments]
import { mkdtemp, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const [entry, ...args] = process.argv.slice(2)
// Inside the repository, so that the bundle finds node_modules.
const folder = await mkdtemp(join(import.meta.dirname, '..', 'node_modules', '.run-'))
const outfile = join(folder, 'main.mjs')
try {
  await build({
    entryPoints: [resolve(entry)],
    outfile,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
  })
  process.argv = [process.argv[0], resolve(entry), ...args]
  await import(pathToFileURL(outfile).href)
} finally {
  await rm(folder, { recursive: true, force: true })
}
