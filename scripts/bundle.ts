import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import { stepNames } from '../src/steps/index.ts'

// One bundle for all actions, and a line for each that names its step.
// Native modules stay outside: a step that asks for an SQLite ledger says what is missing.
const dist = join(process.cwd(), 'dist')
await build({
  entryPoints: [join(process.cwd(), 'src', 'actions', 'main.ts')],
  outfile: join(dist, 'crosscloud.cjs'),
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  external: ['*.node', 'cpu-features', 'libsql'],
  logLevel: 'error',
})
for (const name of stepNames) {
  await writeFile(join(dist, `${name}.cjs`), `require('./crosscloud.cjs').runAction('${name}')\n`)
}
