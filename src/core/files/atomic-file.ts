import { randomBytes } from 'node:crypto'
import { constants, renameSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** The content of a file, or what writes it. */
export type FileContent = string | Uint8Array | ((file: FileHandle) => Promise<void>)

export interface FileAttributes {
  mode: number
  /** Set only where this process may: as root. */
  owner?: { uid: number; gid: number }
  /** Whether it must outlast a power cut; a cache need not. Default true. */
  durable?: boolean
}

export const isRoot = () => process.getuid?.() === 0

/**
 * Writes a file under a temporary name beside `final`, ready to be renamed: created 0600, then
 * owner and mode. Returns that name; after a failure nothing is left.
 */
export async function stageFile(
  final: string,
  content: FileContent,
  { mode, owner, durable = true }: FileAttributes,
): Promise<string> {
  const staged = stagedPath(final)
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants
  let file: FileHandle | undefined
  try {
    file = await open(staged, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
    if (typeof content === 'function') await content(file)
    else await file.writeFile(content)
    if (owner && isRoot()) await file.chown(owner.uid, owner.gid)
    await file.chmod(mode)
    if (durable) await file.sync()
  } catch (error) {
    if (file) await rm(staged, { force: true })
    throw error
  } finally {
    await file?.close()
  }
  return staged
}

function stagedPath(final: string): string {
  const unique = randomBytes(8).toString('hex')
  return join(dirname(final), `.${basename(final).slice(0, 100)}.${unique}`)
}

/**
 * Puts a file in its place in one step, whatever was there before: others see it whole or not at
 * all.
 */
export async function replaceFile(
  final: string,
  content: FileContent,
  attributes: FileAttributes,
): Promise<void> {
  const staged = await stageFile(final, content, attributes)
  try {
    await rename(staged, final)
  } catch (error) {
    await rm(staged, { force: true })
    throw error
  }
  if (attributes.durable ?? true) await syncFolder(dirname(final))
}

/** The same, for a cache where a trip to the thread pool for each file would take longest. */
export function replaceFileSync(final: string, content: Uint8Array, mode: number): void {
  const staged = stagedPath(final)
  try {
    writeFileSync(staged, content, { mode, flag: 'wx' })
    renameSync(staged, final)
  } catch (error) {
    rmSync(staged, { force: true })
    throw error
  }
}

/** Makes renames in a folder last through a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
