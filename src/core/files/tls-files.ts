import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { explain } from '../errors.ts'

/**
 * PEM files as settings name them: the authority's certificate, our own certificate, and its key.
 */
export interface TlsFiles {
  ca?: string | undefined
  cert?: string | undefined
  key?: string | undefined
}

/** The texts of those files. */
export interface TlsTexts {
  ca?: string
  cert?: string
  key?: string
}

interface Place {
  /** Relative paths start from here. */
  folder?: string
  /** The setting that names the files. */
  owner: string
}

const names = ['ca', 'cert', 'key'] as const

/** The same fields with the text of each file. */
export async function readTlsFiles<Name extends keyof TlsFiles>(
  files: Record<Name, string>,
  place: Place,
): Promise<Record<Name, string>>
export async function readTlsFiles(files: TlsFiles, place: Place): Promise<TlsTexts>
export async function readTlsFiles(files: TlsFiles, place: Place): Promise<TlsTexts> {
  const texts: TlsTexts = {}
  for (const name of names) {
    const path = files[name]
    if (path !== undefined) texts[name] = await readPemFile(path, place)
  }
  return texts
}

export async function readPemFile(path: string, { folder = '.', owner }: Place): Promise<string> {
  return readFile(resolve(folder, path), 'utf8').catch((error: unknown) => {
    throw explain(`reading ${path} of ${owner}`, error)
  })
}
