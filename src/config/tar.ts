import { buffer } from 'node:stream/consumers'
import { explain } from '../core/errors.ts'
import { type FileToWrite, replaceFile } from './place.ts'

/**
 * Writes the files as one tar archive with owner and mode, the same for the same files. Only we may
 * read it: it holds secrets.
 */
export async function writeArchive(path: string, files: readonly FileToWrite[]): Promise<void> {
  const { pack } = await import('tar-stream')
  const archive = pack()
  const whole = buffer(archive)
  for (const { path, content, mode, uid, gid } of files.toSorted((a, b) =>
    a.path < b.path ? -1 : 1,
  )) {
    archive.entry({ name: path.slice(1), mode, uid, gid, mtime: new Date(0) }, content)
  }
  archive.finalize()
  const own = { mode: 0o600, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  try {
    await replaceFile(path, { content: await whole, ...own })
  } catch (error) {
    throw explain(`writing ${path}`, error)
  }
}
