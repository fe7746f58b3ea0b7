import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { contentTime } from '../core/content-time.ts'
import { readChunks } from '../core/digest.ts'
import { StepError, throwIfCancelled } from '../core/errors.ts'
import type { IgnoreRules } from './ignore.ts'

/** Crosscloud's own folder: images and a ledger lie there. It is never taken from the context. */
export const RESERVED = '.crosscloud'

/** Something that goes into a build's context; `path` has `/` between its parts. */
export type ContextEntry = { path: string } & (
  | { kind: 'folder' }
  | { kind: 'link'; target: string }
  | { kind: 'file'; source: string }
  | { kind: 'text'; content: Buffer }
)

/**
 * Everything below a folder that is not ignored, sorted by path. Symbolic links are sent as links,
 * never followed; sockets and devices are left out.
 */
export async function listContext(
  folder: string,
  rules: IgnoreRules,
  signal: AbortSignal,
): Promise<ContextEntry[]> {
  const found: ContextEntry[] = []
  const walk = async (below: string) => {
    throwIfCancelled(signal)
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`
      if (path === RESERVED) continue
      const ignored = rules.ignores(path)
      if (entry.isDirectory()) {
        if (!ignored) found.push({ kind: 'folder', path })
        if (!ignored || rules.hasExceptions) await walk(path)
      } else if (ignored) continue
      else if (entry.isSymbolicLink()) {
        found.push({ kind: 'link', path, target: await readlink(join(folder, path)) })
      } else if (entry.isFile()) found.push({ kind: 'file', path, source: join(folder, path) })
    }
  }
  await walk('')
  return found.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
}

/**
 * The tar of a context. The same files give the same bytes on any machine: owners are root, modes
 * 0755 for what its owner may execute and for folders, else 0644, and times come from contents.
 */
export async function packContext(
  entries: readonly ContextEntry[],
  signal: AbortSignal,
): Promise<Readable> {
  const { pack: createPack } = await import('tar-stream')
  const pack = createPack()
  const write = async () => {
    for (const entry of entries) {
      throwIfCancelled(signal)
      const { path } = entry
      if (entry.kind === 'folder') {
        pack.entry({ name: path, type: 'directory', mode: 0o755, mtime: FIXED })
      } else if (entry.kind === 'link') {
        pack.entry({ name: path, type: 'symlink', linkname: entry.target, mtime: FIXED })
      } else if (entry.kind === 'text') {
        const mtime = timeOf(createHash('sha256').update(entry.content).digest('hex'))
        pack.entry({ name: path, mode: 0o644, mtime }, entry.content)
      } else await packFile(entry.source, path, pack, signal)
    }
    pack.finalize()
  }
  write().catch((error: Error) => pack.destroy(error))
  return Readable.from(pack, { objectMode: false })
}

const FIXED = new Date(1000)
const timeOf = (digest: string) => new Date(contentTime(digest) * 1000)

async function packFile(
  source: string,
  path: string,
  pack: import('tar-stream').Pack,
  signal: AbortSignal,
): Promise<void> {
  const file = await openFile(source)
  try {
    const { size, mode } = await file.stat()
    const mtime = timeOf(await digest(file, size, signal))
    const sink = pack.entry({ name: path, size, mtime, mode: mode & 0o100 ? 0o755 : 0o644 })
    const last = { start: 0, end: size - 1, autoClose: false }
    const content = size === 0 ? Readable.from([]) : file.createReadStream(last)
    await pipeline(content, sink).catch((error: unknown) => {
      throw new StepError('CONFLICT', `${source} changed while it was sent to the engine`, {
        hint: 'Run the command again when nothing else writes there.',
        cause: error,
      })
    })
  } finally {
    await file.close()
  }
}

/** A file that has become a link since it was listed is not followed. */
async function openFile(source: string): Promise<FileHandle> {
  const file = await open(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw new StepError('CONFLICT', `${source} is no longer a file`)
}

async function digest(file: FileHandle, size: number, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of readChunks(file.fd, 0, size)) {
    throwIfCancelled(signal)
    hash.update(chunk)
  }
  return hash.digest('hex')
}
