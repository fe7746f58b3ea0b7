import { buffer } from 'node:stream/consumers'
import { contentTime } from '../../core/content-time.ts'
import { sha256 } from '../../core/digest.ts'
import { explain } from '../../core/errors.ts'
import { replaceFile } from '../../core/files/atomic-file.ts'
import type { FileToWrite } from './write-files.ts'

/**
 * Writes the files as a tar archive with owner and mode; the same files give the same archive. Only
 * this user may read it: it holds secrets.
 */
export async function writeArchive(path: string, files: readonly FileToWrite[]): Promise<void> {
  const { pack } = await import('tar-stream')
  const archive = pack()
  const whole = buffer(archive)
  for (const { path, content, mode, uid, gid } of files.toSorted((a, b) =>
    a.path < b.path ? -1 : 1,
  )) {
    // A web server may serve it: a change that keeps the length must change the time.
    const mtime = new Date(contentTime(sha256(content)) * 1000)
    archive.entry({ name: path.slice(1), mode, uid, gid, mtime }, content)
  }
  archive.finalize()
  try {
    await replaceFile(path, await whole, { mode: 0o600 })
  } catch (error) {
    throw explain(`writing ${path}`, error)
  }
}
