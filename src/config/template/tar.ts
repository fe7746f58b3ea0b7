import { buffer } from 'node:stream/consumers'
import { contentTime } from '../../core/content-time.ts'
import { sha256 } from '../../core/digest.ts'
import { explain } from '../../core/errors.ts'
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
    // It may be served: a value that changed and kept its length is another file to a browser.
    const mtime = new Date(contentTime(sha256(content)) * 1000)
    archive.entry({ name: path.slice(1), mode, uid, gid, mtime }, content)
  }
  archive.finalize()
  const own = { mode: 0o600, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  try {
    await replaceFile(path, { content: await whole, ...own })
  } catch (error) {
    throw explain(`writing ${path}`, error)
  }
}
