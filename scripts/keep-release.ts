import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'

// Keeps the program of a released version for test/upgrade, as one compressed file:
//   npm run keep-release [CHECKOUT]
// CHECKOUT is a clean checkout of that version with its dependencies installed; default: this one.

const root = join(import.meta.dirname, '..')
const checkout = resolve(process.argv[2] ?? root)
const { version } = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8'))
const { bundleProgram } = await import(join(checkout, 'scripts', 'bundle.mjs'))
const work = await mkdtemp(join(tmpdir(), 'crosscloud-release-'))
try {
  const program = join(work, 'program.cjs')
  await bundleProgram(checkout, program)
  const folder = join(root, 'test', 'upgrade', 'released', version)
  await mkdir(folder, { recursive: true })
  const file = join(folder, 'program.cjs.br')
  const content = await readFile(program)
  const params = {
    [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
  }
  const compressed = brotliCompressSync(content, { params })
  // A released version never changes.
  await writeFile(file, compressed, { flag: 'wx' })
  console.log(`${file}: ${compressed.length} bytes`)
} finally {
  await rm(work, { recursive: true, force: true })
}
