import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Support that listens on a socket or starts a server, and the demo, which starts an engine. */
const SERVERS = /^(?:test\/support\/(?:servers|platforms|setups|ci)|src\/demo)\//
/** Of these, what has servers in this process alone. */
const WITHIN = /^test\/support\/servers\/(?:embedded-registry|http|ports|browser)\.ts$/
/** What starts processes of any kind, and a path to what `npm run build` makes. */
const STARTS = /from 'node:child_[p]rocess'|['"`](?:\.\.\/)+dist\b/
/** What runs a program to its end. */
const RUNS = /\/core\/process\/process\.ts'/
const IMPORT = /(?:import\(|import |from )\s*['"](\.[^'"]+)['"]/g

export interface TestFiles {
  /** They need Node alone: no server, not even of our own, no other process, nothing built. */
  unit: string[]
  /** Servers in their own process, and programs that end, such as tar and git. */
  local: string[]
  /** All others. */
  servers: string[]
}

/** The test files of this checkout; which kind a file is follows from what it imports. */
export async function findTestFiles(): Promise<TestFiles> {
  const names = await readdir(join(ROOT, 'test'), { recursive: true })
  const files = names.filter((name) => name.endsWith('.test.ts')).map((name) => `test/${name}`)
  const found: TestFiles = { unit: [], local: [], servers: [] }
  for (const file of files.sort()) found[await kindOf(file)].push(file)
  return found
}

/** The kind of a test that is this file, or imports it. */
export async function kindOf(
  file: string,
  seen: Set<string> = new Set(),
): Promise<keyof TestFiles> {
  if (WITHIN.test(file)) return 'local'
  if (SERVERS.test(file)) return 'servers'
  if (seen.has(file) || file.startsWith('src/')) return 'unit'
  seen.add(file)
  const path = join(ROOT, file)
  if (!existsSync(path)) return 'unit'
  const text = await readFile(path, 'utf8')
  if (STARTS.test(text)) return 'servers'
  let kind: keyof TestFiles = RUNS.test(text) ? 'local' : 'unit'
  for (const [, imported = ''] of text.matchAll(IMPORT)) {
    const below = await kindOf(relative(ROOT, resolve(path, '..', imported)), seen)
    if (below === 'servers') return below
    if (below === 'local') kind = below
  }
  return kind
}
