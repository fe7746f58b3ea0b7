import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Digest, digestingStream } from '../core/digest.ts'
import { StepError, throwIfCancelled } from '../core/errors.ts'
import { foldersAbove, tarPath } from './paths.ts'

/** The files of an image below some paths, put together from its layers, lowest first. */
export interface FileTree {
  /** Reads the next layer's tar; returns its diffID. */
  addLayer(tar: AsyncIterable<Buffer>, signal: AbortSignal): Promise<Digest>
  /**
   * What is at a path and below it: absolute path → MD5 of the file, hex, or `link to TARGET`.
   */
  below(path: string): Map<string, string>
}

/** What a layer does to the files below it. */
interface Change {
  /** Paths that go, with all below them. */
  removed: Set<string>
  /** Folders whose content goes. */
  emptied: Set<string>
  folders: Set<string>
  /** Whatever is no folder: nothing from below shows under its path. */
  others: Set<string>
  /** Of these, what is wanted. */
  found: Map<string, string>
}

/** @param wanted absolute paths whose files are looked at; all others are skipped */
export function createFileTree(wanted: readonly string[]): FileTree {
  const roots = wanted.map(tarPath)
  const isWanted = (path: string) => roots.some((root) => isInside(path, root))
  const files = new Map<string, string>()
  return {
    async addLayer(tar, signal) {
      const { change, diffId } = await readChange(tar, isWanted, signal)
      apply(change, files)
      return diffId
    },
    below(path) {
      const root = tarPath(path)
      const inside = [...files].filter(([name]) => isInside(name, root))
      return new Map(inside.map(([name, found]) => [`/${name}`, found]))
    },
  }
}

function apply({ removed, emptied, folders, others, found }: Change, files: Map<string, string>) {
  const gone = (path: string) => {
    const above = foldersAbove(path)
    return (
      removed.has(path) ||
      folders.has(path) ||
      above.some((folder) => removed.has(folder) || emptied.has(folder) || others.has(folder)) ||
      emptied.has('')
    )
  }
  for (const path of files.keys()) if (gone(path)) files.delete(path)
  for (const [path, content] of found) files.set(path, content)
}

async function readChange(
  tar: AsyncIterable<Buffer>,
  isWanted: (path: string) => boolean,
  signal: AbortSignal,
): Promise<{ change: Change; diffId: Digest }> {
  const { extract } = await import('tar-stream')
  const hashed = digestingStream()
  const change: Change = {
    removed: new Set(),
    emptied: new Set(),
    folders: new Set(),
    others: new Set(),
    found: new Map(),
  }
  const unpack = extract()
  const reading = (async () => {
    for await (const entry of unpack) {
      const path = note(entry.header, change)
      if (path === undefined || !isWanted(path)) entry.resume()
      else change.found.set(path, await contentOf(entry, change.found))
    }
  })()
  try {
    const source = Readable.from(tar, { objectMode: false })
    await Promise.all([pipeline(source, hashed.stream, unpack, { signal }), reading])
  } catch (error) {
    throwIfCancelled(signal)
    throw new StepError('INPUT_INVALID', 'a layer is not a readable tar archive', { cause: error })
  }
  return { change, diffId: hashed.result().digest }
}

interface Header {
  name: string
  type?: string | null
  linkname?: string | null
}

/** OCI image-spec, layer.md, "Whiteouts". */
const REMOVED = '.wh.'
const EMPTIED = '.wh..wh..opq'

/** Returns the path of what is neither a folder nor a whiteout. */
function note({ name, type }: Header, change: Change): string | undefined {
  const path = normal(name)
  const file = posix.basename(path)
  const folder = normal(posix.dirname(path))
  if (file === EMPTIED) change.emptied.add(folder)
  else if (file.startsWith(REMOVED)) {
    change.removed.add(posix.join(folder, file.slice(REMOVED.length)))
  } else if (type === 'directory') change.folders.add(path)
  else {
    change.others.add(path)
    return path
  }
  return undefined
}

type Entry = AsyncIterable<unknown> & { header: Header; resume(): unknown }

async function contentOf(entry: Entry, found: ReadonlyMap<string, string>): Promise<string> {
  const { type, linkname } = entry.header
  if (type !== 'file') {
    entry.resume()
    const target = linkname ?? `${type}`
    return (type === 'link' ? found.get(normal(target)) : undefined) ?? `link to ${target}`
  }
  const hash = createHash('md5')
  for await (const chunk of entry) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

const isInside = (path: string, root: string) => path === root || path.startsWith(`${root}/`)

/** Without `./` or `/` at its start, or `/` at its end. */
function normal(name: string): string {
  return tarPath(posix.join('/', name))
}
