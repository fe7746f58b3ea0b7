import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliDecompressSync } from 'node:zlib'
import type { Test } from 'tap'
import { temporaryFolder } from '../support/temporary.ts'

const RELEASED = fileURLToPath(new URL('released/', import.meta.url))
const NODE_MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))

/** The versions whose programs are kept in released/. */
export const releasedVersions = (await readdir(RELEASED)).sort()

/** Unpacks a version as its package would be installed; the file to run. */
export async function installReleased(t: Pick<Test, 'teardown'>, version: string): Promise<string> {
  const folder = await temporaryFolder(t)
  const program = join(folder, 'dist', 'cli', 'main.cjs')
  await mkdir(join(folder, 'dist', 'cli'), { recursive: true })
  const packed = await readFile(join(RELEASED, version, 'program.cjs.br'))
  await writeFile(program, brotliDecompressSync(packed))
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'crosscloud', version }))
  // SQLite's native module is in no bundle.
  await symlink(NODE_MODULES, join(folder, 'node_modules'))
  return program
}
