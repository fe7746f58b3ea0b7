import { createReadStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { brotliCompressSync, constants, createGunzip } from 'node:zlib'
import { extract, pack } from 'tar-stream'

// Keeps the program of a released version for test/upgrade, once for each version:
//   npm run keep-release crosscloud-X.Y.Z-standalone.tgz
// The tarball is the one that `npm run package` made. Its native modules are left out: the tests take
// them from node_modules.

const RELEASED = join(import.meta.dirname, '..', 'test', 'upgrade', 'released')
const PROGRAM = /^package\/(?:package\.json|dist\/.+)$/

const [, , tarball] = process.argv
if (tarball === undefined) throw new Error('name the tarball of the released version')
const program = pack()
let manifest = ''
const entries = createReadStream(tarball).pipe(createGunzip()).pipe(extract())
for await (const entry of entries) {
  const { name, mode } = entry.header
  const content = await buffer(entry)
  if (!PROGRAM.test(name)) continue
  if (name === 'package/package.json') manifest = content.toString()
  program.entry({ name, mode: mode ?? 0o644, mtime: new Date(0) }, content)
}
program.finalize()
const { version } = JSON.parse(manifest) as { version: string }
const compressed = brotliCompressSync(await buffer(program), {
  params: { [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS },
})
await mkdir(join(RELEASED, version), { recursive: true })
const file = join(RELEASED, version, 'program.tar.br')
// A released version never changes.
await writeFile(file, compressed, { flag: 'wx' })
console.log(`${file}: ${compressed.length} bytes`)
