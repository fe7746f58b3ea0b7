import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from 'yauzl'
import { type FileDigests, readChunks } from '../../core/digest.ts'
import { describe, errorCodeOf, StepError, throwIfCancelled } from '../../core/errors.ts'
import { indentedLines } from '../../core/lists.ts'
import { foldersAbove } from '../paths.ts'
import { decodeName, type NameCharset, showBytes } from './names.ts'

/** A file inside the WAR, from the ZIP's central directory (APPNOTE.TXT 4.3.12). */
export interface WarEntry {
  /** Relative, with `/`, checked: no `..`, no absolute path, no control character. */
  name: string
  /** Stored as it is, or a raw deflate stream. */
  method: 'stored' | 'deflated'
  crc32: number
  storedSize: number
  size: number
  /** Where the entry's bytes begin in the file. */
  offset: number
}

/** The digests of the WAR, and by name of each entry the SHA-256 (hex) of its bytes in the file. */
export interface WarDigests extends FileDigests {
  stored: ReadonlyMap<string, string>
}

export interface War {
  path: string
  /** Files only, sorted bytewise by name; folders are implied by the names. */
  entries: WarEntry[]
  /** The folders at its top: `WEB-INF`, `META-INF`… */
  folders: ReadonlySet<string>
  /** The newest date of an entry. ZIP has no time zone, so UTC is assumed on every machine. */
  newest: Date
  /**
   * The entry's bytes as they are in the file, in chunks of at most 1 MiB, each valid until the
   * next.
   */
  readStored(entry: WarEntry): AsyncGenerator<Buffer>
  /** Reads the whole file, once. */
  digest(signal?: AbortSignal): Promise<WarDigests>
  close(): Promise<void>
}

/** A limit against archives made to fill a disk. */
const LARGEST_CONTENT = 8 * 2 ** 30
const METHODS: Record<number, WarEntry['method']> = { 0: 'stored', 8: 'deflated' }

const NAMES_HINT = '; war.names says in what its names are, when a ZIP does not'

/** Opens a WAR and checks every name in it before any content is read. */
export async function openWar(path: string, names: NameCharset = 'utf-8'): Promise<War> {
  const file = await openFile(path)
  try {
    const { entries, folders, newest } = await readDirectory(path, file, names)
    return {
      path,
      entries,
      folders,
      newest,
      readStored: (entry) => readRange(path, file, entry),
      digest: (signal) => digestAll(file, entries, signal),
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    const file = await open(path, 'r')
    if ((await file.stat()).isFile()) return file
    await file.close()
    throw new StepError('INPUT_INVALID', `WAR ${path} is not a file`, {
      hint: 'Name the .war file. For an exploded folder, zip it first.',
    })
  } catch (error) {
    if (errorCodeOf(error) !== 'ENOENT') throw error
    throw new StepError('NOT_FOUND', `WAR ${path} does not exist`, {
      hint: 'Run `crosscloud build-war` first, or set war.path in crosscloud.yml.',
    })
  }
}

/**
 * Headers are read synchronously: there are hundreds, and the thread pool costs more than the read.
 */
async function openZip(file: FileHandle): Promise<ZipFile> {
  class SyncReader extends RandomAccessReader {
    override read(
      buffer: Buffer,
      offset: number,
      length: number,
      position: number,
      callback: (error: Error | null, bytesRead?: number) => void,
    ): void {
      callback(null, readSync(file.fd, buffer, offset, length, position))
    }
  }
  return fromRandomAccessReaderPromise(new SyncReader(), (await file.stat()).size, {
    autoClose: false,
    lazyEntries: true,
    // Names are decoded later: yauzl would replace backslashes and stop at the first bad name.
    decodeStrings: false,
    validateEntrySizes: true,
  })
}

async function readDirectory(path: string, file: FileHandle, charset: NameCharset) {
  const entries: WarEntry[] = []
  const problems: string[] = []
  const seen = new Set<string>()
  let newest = new Date(Date.UTC(1980, 0, 1))
  let total = 0
  try {
    const zip = await openZip(file)
    for await (const entry of zip.eachEntry()) {
      const name = decodeName(entry, charset)
      if (name === undefined) {
        problems.push(`"${showBytes(entry.fileNameRaw)}" is no text in ${charset}${NAMES_HINT}`)
        continue
      }
      const date = entry.getLastModDate({ timezone: 'UTC', forceDosFormat: true })
      if (date > newest) newest = date
      const isFile = !name.endsWith('/')
      const problem =
        problemOf(name, entry) ?? (isFile && seen.has(name) ? 'is there twice' : undefined)
      seen.add(name)
      if (problem) problems.push(`${JSON.stringify(name)} ${problem}`)
      if (problem || !isFile) continue
      const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true })
      total += entry.uncompressedSize
      entries.push({
        name,
        method: METHODS[entry.compressionMethod] ?? 'stored',
        crc32: entry.crc32,
        storedSize: entry.compressedSize,
        size: entry.uncompressedSize,
        offset: fileDataStart,
      })
    }
  } catch (error) {
    throw damaged(path, describe(error), error)
  }
  for (const entry of entries) {
    if (seen.has(`${entry.name}/`) || foldersAbove(entry.name).some((parent) => seen.has(parent))) {
      problems.push(`${JSON.stringify(entry.name)} is a file and a folder at once`)
    }
  }
  const byOffset = entries.toSorted((a, b) => a.offset - b.offset)
  for (const [index, entry] of byOffset.entries()) {
    const next = byOffset[index + 1]
    if (!next || next.offset >= entry.offset + entry.storedSize) continue
    problems.push(`${JSON.stringify(next.name)} shares bytes with ${JSON.stringify(entry.name)}`)
  }
  if (total > LARGEST_CONTENT) problems.push(`unpacks to ${total} bytes, over ${LARGEST_CONTENT}`)
  if (problems.length > 0) throw unsafe(path, problems)
  if (entries.length === 0) throw damaged(path, 'it holds no file')
  entries.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
  const folders = new Set([...seen].filter((name) => name.includes('/')).map(firstPart))
  return { entries, folders, newest }
}

/**
 * Refuses an archive without WEB-INF/: a server would serve all of it, classes and settings
 * included (Jakarta Servlet 6.0, 10.5).
 */
export function requireWebApplication(
  { path, folders }: War,
  { staticFiles }: { staticFiles: boolean },
): void {
  if (folders.has('WEB-INF')) return
  if (folders.has('BOOT-INF')) {
    throw new StepError('INPUT_INVALID', `${path} is a Spring Boot jar, not a WAR`, {
      hint: 'A server would hand out its classes and settings. Build it with the packaging war.',
    })
  }
  if (staticFiles) return
  throw new StepError('INPUT_INVALID', `${path} has no WEB-INF/: it is not a WAR`, {
    hint: 'Name the WAR that the build leaves. If it holds nothing but files to be served, set war.static: true.',
  })
}

const firstPart = (name: string) => name.slice(0, name.indexOf('/'))

function problemOf(name: string, entry: Entry): string | undefined {
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name)) return 'is an absolute path'
  if (name.includes('\\')) return 'has a backslash'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
  if (/[\x00-\x1f\x7f]/.test(name)) return 'has a control character'
  const parts = name.replace(/\/$/, '').split('/')
  if (parts.includes('..')) return 'leads out of the archive with ".."'
  if (parts.includes('.') || parts.includes('')) return 'has an empty or "." part'
  // OCI image-spec, layer.md, "Whiteouts".
  if (parts.some((part) => part.startsWith('.wh.'))) return 'would be a deletion mark in a layer'
  if (Buffer.byteLength(name) > 4096) return 'is longer than 4096 bytes'
  if (entry.isEncrypted()) return 'is encrypted'
  if (METHODS[entry.compressionMethod] === undefined) {
    return `uses compression method ${entry.compressionMethod}; only stored and deflate are known`
  }
  const unixMode = entry.externalFileAttributes >>> 16
  const madeByUnix = entry.versionMadeBy >> 8 === 3
  if (madeByUnix && (unixMode & 0o170000) === 0o120000) return 'is a symbolic link'
  return undefined
}

function unsafe(path: string, problems: string[]): StepError {
  const lines = indentedLines(problems, 20)
  return new StepError('INPUT_INVALID', `WAR ${path} cannot be baked:\n${lines}`, {
    hint: 'Build the WAR anew with Maven or Gradle; do not repack it by hand.',
  })
}

function damaged(path: string, why: string, cause?: unknown): StepError {
  return new StepError('INPUT_INVALID', `WAR ${path} is not a readable ZIP file: ${why}`, {
    hint: 'Build it again. If it was downloaded, compare its MD5 with the source.',
    cause,
  })
}

async function* readRange(path: string, file: FileHandle, entry: WarEntry): AsyncGenerator<Buffer> {
  let read = 0
  for await (const chunk of readChunks(file.fd, entry.offset, entry.storedSize)) {
    read += chunk.length
    yield chunk
  }
  if (read < entry.storedSize) throw damaged(path, `${entry.name} ends too early`)
}

/** Computes all digests in a single pass over the file. */
async function digestAll(
  file: FileHandle,
  entries: readonly WarEntry[],
  signal: AbortSignal | undefined,
): Promise<WarDigests> {
  const { size } = await file.stat()
  const whole = { md5: createHash('md5'), sha256: createHash('sha256') }
  const stored = new Map<string, string>()
  const waiting = entries.toSorted((a, b) => b.offset - a.offset)
  let hash = createHash('sha256')
  let start = 0
  for await (const chunk of readChunks(file.fd, 0, size)) {
    throwIfCancelled(signal)
    whole.md5.update(chunk)
    whole.sha256.update(chunk)
    const end = start + chunk.length
    for (let entry = waiting.at(-1); entry && entry.offset < end; entry = waiting.at(-1)) {
      const entryEnd = entry.offset + entry.storedSize
      hash.update(chunk.subarray(Math.max(entry.offset - start, 0), entryEnd - start))
      if (entryEnd > end) break
      stored.set(entry.name, hash.digest('hex'))
      hash = createHash('sha256')
      waiting.pop()
    }
    start = end
  }
  return { size, md5: whole.md5.digest('hex'), sha256: whole.sha256.digest('hex'), stored }
}
