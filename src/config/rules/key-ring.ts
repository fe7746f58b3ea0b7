import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { explain } from '../../core/errors.ts'
import { type KeyRing, parseKeyRing } from './encryption.ts'

/** The keys for encrypted values: `file:PATH`, an absolute path, or the keys themselves. */
export async function openKeyRing(text: string, source: string, folder: string): Promise<KeyRing> {
  // GitLab hands a variable of type File over as a path.
  const path = /^(?:file:|(?=\/))(.+)$/.exec(text)?.[1]
  if (path === undefined) return parseKeyRing(text, source)
  const keys = await readFile(resolve(folder, path), 'utf8').catch((error: unknown) => {
    throw explain(path, error)
  })
  return parseKeyRing(keys, path)
}
