import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Support that listens on a socket or starts a server, and the demo, which starts an engine. */
const SERVERS = /^(?:test\/support\/(?:servers|platforms|setups|ci)|src\/demo)\//
/** What starts processes, and a path to what `npm run build` makes. */
const STARTS = /from 'node:child_[p]rocess'|\/core\/process\/process\.ts'|['"`](?:\.\.\/)+dist\b/
const IMPORT = /(?:import\(|import |from )\s*['"](\.[^'"]+)['"]/g

export interface TestFiles {
  /** They need Node alone: no server, not even of our own, no other process, nothing built. */
  unit: string[]
  /** All others. */
  servers: string[]
}

/** The test files of this checkout; which kind a file is follows from what it imports. */
export async function findTestFiles(): Promise<TestFiles> {
  const names = await readdir(join(ROOT, 'test'), { recursive: true })
  const files = names.filter((name) => name.endsWith('.test.ts')).map((name) => `test/${name}`)
  const found: TestFiles = { unit: [], servers: [] }
  for (const file of files.sort()) {
    const kind = (await needsMore(file, new Set())) ? 'servers' : 'unit'
    found[kind].push(file)
  }
  return found
}

/** Whether a file, or what it imports of the tests and scripts, needs more than Node. */
export async function needsMore(file: string, seen: Set<string>): Promise<boolean> {
  if (SERVERS.test(file)) return true
  if (seen.has(file) || file.startsWith('src/')) return false
  seen.add(file)
  const path = join(ROOT, file)
  if (!existsSync(path)) return false
  const text = await readFile(path, 'utf8')
  if (STARTS.test(text)) return true
  for (const [, imported = ''] of text.matchAll(IMPORT)) {
    if (await needsMore(relative(ROOT, resolve(path, '..', imported)), seen)) return true
  }
  return false
}
