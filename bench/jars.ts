import { readdir, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { StepError } from '../src/core/errors.ts'

const JARS = '/usr/share/java'

/** Every jar once: many names in the folder are links to the same file. */
export async function readJars(): Promise<Map<string, Buffer>> {
  const names = await readdir(JARS).catch(() => [])
  const jars = new Map<string, Buffer>()
  const seen = new Set<string>()
  for (const name of names.filter((name) => name.endsWith('.jar')).sort()) {
    const path = await realpath(join(JARS, name))
    if (seen.has(path)) continue
    seen.add(path)
    jars.set(name, await readFile(path))
  }
  if (jars.size >= 100) return jars
  throw new StepError('NOT_FOUND', `${JARS} holds ${jars.size} jars; the bench needs 100 or more`, {
    hint: 'apt-get install maven maven-debian-helper',
  })
}
