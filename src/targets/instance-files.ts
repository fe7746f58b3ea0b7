import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pLimit from 'p-limit'
import { type Extract, extract } from 'tar-stream'
import { cancelled, isStepError, StepError } from '../core/errors.ts'

/** Opens a path of one instance as a tar stream; NOT_FOUND when it has none. */
export type ReadPath = (path: string) => Promise<Readable>

/** All paths are relative to the root, sorted. */
export interface FileComparison {
  /** Files that were expected and are there unchanged. */
  files: number
  changed: string[]
  missing: string[]
  extra: string[]
}

/** Path → MD5 in hex, or undefined for what is not a plain file. */
type Contents = Map<string, string | undefined>

/**
 * Reads `root` (a folder, or one file) out of an instance and compares every file's MD5, in hex,
 * with what is expected. The expected path of a root that is one file is the file's name.
 * `extraAllowed`: paths that may be there though they are not expected.
 */
export async function compareFiles(
  read: ReadPath,
  root: string,
  expected: ReadonlyMap<string, string>,
  options: { extraAllowed: ReadonlySet<string>; signal: AbortSignal },
): Promise<FileComparison> {
  const contents = await readContents(read, root, options.signal)
  const changed: string[] = []
  const missing: string[] = []
  for (const [path, md5] of expected) {
    if (!contents.has(path)) missing.push(path)
    else if (contents.get(path) !== md5) changed.push(path)
  }
  const extra = [...contents.keys()].filter(
    (path) => !expected.has(path) && !options.extraAllowed.has(path),
  )
  return {
    files: expected.size - missing.length - changed.length,
    changed: changed.sort(),
    missing: missing.sort(),
    extra: extra.sort(),
  }
}

/** Files of one instance that are read at once. */
const CONCURRENT_READS = 4

/**
 * Compares files at absolute paths, wherever in the instance, with the MD5, in hex, that is
 * expected of each. Other files of their folders are not read.
 */
export async function compareEach(
  read: ReadPath,
  expected: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<Pick<FileComparison, 'changed' | 'missing'>> {
  const changed: string[] = []
  const missing: string[] = []
  const limit = pLimit(CONCURRENT_READS)
  await limit.map(expected, async ([path, md5]) => {
    try {
      const found = await readContents(read, path, signal)
      if (found.size !== 1 || found.get(posix.basename(path)) !== md5) changed.push(path)
    } catch (error) {
      if (!isStepError(error, 'NOT_FOUND')) throw error
      missing.push(path)
    }
  })
  return { changed: changed.sort(), missing: missing.sort() }
}

async function readContents(read: ReadPath, root: string, signal: AbortSignal): Promise<Contents> {
  const contents: Contents = new Map()
  await eachEntry(await read(root), signal, async (entry) => {
    const { name, type, linkname } = entry.header
    if (type === 'directory') return false
    const path = belowRoot(name)
    if (type === 'file' || type === 'contiguous-file') {
      const hash = createHash('md5')
      for await (const chunk of entry) hash.update(chunk as Buffer)
      contents.set(path, hash.digest('hex'))
    } else {
      // A hard link has no bytes of its own in a tar: they came with its first name.
      contents.set(
        path,
        type === 'link' && linkname ? contents.get(belowRoot(linkname)) : undefined,
      )
    }
    return false
  })
  return contents
}

/** Entries are named from the root's own last part on: `ROOT/index.html`, or `ROOT.war`. */
function belowRoot(name: string): string {
  const path = name.replace(/^(?:\.?\/)+/, '')
  const slash = path.indexOf('/')
  return slash < 0 ? path : path.slice(slash + 1)
}

/** One plain file of an instance. NOT_FOUND when there is none, CONFLICT above `maxBytes`. */
export async function readInstanceFile(
  read: ReadPath,
  path: string,
  maxBytes: number,
): Promise<Buffer> {
  const signal = AbortSignal.timeout(60_000)
  let content: Buffer | undefined
  await eachEntry(await read(path), signal, async (entry) => {
    const { type, size = 0 } = entry.header
    if (type !== 'file' || posix.basename(entry.header.name) !== posix.basename(path)) {
      throw new StepError('NOT_FOUND', `${path} is a ${type ?? 'special file'}, not a plain file`, {
        hint: 'Give the path of the file itself.',
      })
    }
    if (size > maxBytes) {
      throw new StepError('CONFLICT', `${path} has ${size} bytes, more than ${maxBytes}`, {
        hint: 'See that this is the right file.',
      })
    }
    const chunks: Buffer[] = []
    for await (const chunk of entry) chunks.push(chunk as Buffer)
    content = Buffer.concat(chunks)
    return true
  })
  if (content) return content
  throw new StepError('NOT_FOUND', `${path} is not there`, { hint: 'Check the path.' })
}

type Entry = Extract extends AsyncIterable<infer Each> ? Each : never

/** Calls `visit` for each entry until it returns true. */
export async function eachEntry(
  archive: Readable,
  signal: AbortSignal,
  visit: (entry: Entry) => Promise<boolean>,
): Promise<void> {
  const entries = extract()
  let isEnough = false
  const read = async () => {
    for await (const entry of entries) {
      isEnough = await visit(entry)
      if (isEnough) return
      entry.resume()
    }
  }
  const feed = pipeline(archive, entries, { signal }).catch((error: unknown) => {
    if (!isEnough) throw error
  })
  try {
    await Promise.all([read(), feed])
  } catch (error) {
    throw signal.aborted ? cancelled(signal) : error
  } finally {
    archive.destroy()
  }
}
