import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { brotliDecompressSync } from 'node:zlib'
import type { Test } from 'tap'
import { extract } from 'tar-stream'
import { temporaryFolder } from '../support/temporary.ts'

const RELEASED = fileURLToPath(new URL('released/', import.meta.url))
const NODE_MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))

/** The versions whose programs are kept in released/. */
export const releasedVersions = (await readdir(RELEASED)).sort()

/** Unpacks a version as its package would be installed; returns the program's file. */
export async function installReleased(t: Pick<Test, 'teardown'>, version: string): Promise<string> {
  const folder = await temporaryFolder(t)
  const packed = await readFile(join(RELEASED, version, 'program.tar.br'))
  const entries = Readable.from([brotliDecompressSync(packed)]).pipe(extract())
  for await (const entry of entries) {
    const file = join(folder, entry.header.name)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, await buffer(entry))
  }
  // SQLite's native module is not kept with it.
  await symlink(NODE_MODULES, join(folder, 'package', 'node_modules'))
  const { bin } = JSON.parse(await readFile(join(folder, 'package', 'package.json'), 'utf8'))
  return join(folder, 'package', bin.crosscloud)
}
