import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** What starts programs that a machine may lack: servers, gitlab-ci-local, an engine and Maven. */
const STARTERS = ['test/support/servers/server.ts', 'test/support/ci/gitlab.ts', 'src/demo/']
/** A path to what `npm run build` makes. */
const BUILT = /['"`](?:\.\.\/)+dist\b/
const IMPORT = /(?:import\(|import |from )\s*['"](\.[^'"]+)['"]/g

export interface TestFiles {
  /** They need Node and git: no server, no container, no JVM, nothing built. */
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

/** Whether a file, or what it imports of the tests and scripts, starts a program or needs `dist/`. */
export async function needsMore(file: string, seen: Set<string>): Promise<boolean> {
  if (STARTERS.some((starter) => file.startsWith(starter))) return true
  if (seen.has(file) || file.startsWith('src/')) return false
  seen.add(file)
  const path = join(ROOT, file)
  if (!existsSync(path)) return false
  const text = await readFile(path, 'utf8')
  if (BUILT.test(text)) return true
  for (const [, imported = ''] of text.matchAll(IMPORT)) {
    if (await needsMore(relative(ROOT, resolve(path, '..', imported)), seen)) return true
  }
  return false
}
