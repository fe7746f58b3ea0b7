// Lets Node 20 read TypeScript, for tests and scripts: node --import=./scripts/typescript.mjs FILE.ts
// Types are only taken out; `npm run check` is what looks at them.
import { readFile } from 'node:fs/promises'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { transform } from 'esbuild'

// Node loads this file a second time, in a thread of its own, for `load`.
if (isMainThread) register(import.meta.url)

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context)
  const file = fileURLToPath(url)
  const { code } = await transform(await readFile(file, 'utf8'), {
    loader: 'ts',
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    sourcesContent: false,
    sourcefile: file,
  })
  return { format: 'module', source: code, shortCircuit: true }
}
