import { type FileHandle, open } from 'node:fs/promises'
import type { Entry } from 'yauzl'
import { readChunks } from '../core/digest.ts'
import { describe, errorCodeOf, StepError } from '../core/errors.ts'

/** A file inside the WAR, as the ZIP's central directory tells of it (APPNOTE.TXT 4.3.12). */
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

export interface War {
  path: string
  /** Files only, sorted bytewise by name; directories follow from the names. */
  entries: WarEntry[]
  /** The newest date of an entry. ZIP knows no time zone, so it is taken as UTC everywhere alike. */
  newest: Date
  /** The entry's bytes as they stand in the file, in chunks of at most 1 MiB, each good until the next. */
  readStored(entry: WarEntry): AsyncGenerator<Buffer>
  close(): Promise<void>
}

/** A ceiling against archives made to fill a disk. */
const LARGEST_CONTENT = 8 * 2 ** 30
const METHODS: Record<number, WarEntry['method']> = { 0: 'stored', 8: 'deflated' }

/** Opens a WAR and checks every name in it before anything is read. */
export async function openWar(path: string): Promise<War> {
  const file = await openFile(path)
  try {
    const { entries, newest } = await readDirectory(path, file)
    return {
      path,
      entries,
      newest,
      readStored: (entry) => readRange(path, file, entry),
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

async function readDirectory(path: string, file: FileHandle) {
  const { fromFdPromise, getFileNameLowLevel } = await import('yauzl')
  const entries: WarEntry[] = []
  const problems: string[] = []
  const seen = new Set<string>()
  let newest = new Date(Date.UTC(1980, 0, 1))
  let total = 0
  try {
    const zip = await fromFdPromise(file.fd, {
      autoClose: false,
      lazyEntries: true,
      // Names are decoded below: yauzl would mend backslashes and stop at the first bad name.
      decodeStrings: false,
      validateEntrySizes: true,
    })
    for await (const entry of zip.eachEntry()) {
      const { generalPurposeBitFlag: flags, fileNameRaw, extraFields } = entry
      const name = getFileNameLowLevel(flags, fileNameRaw, extraFields, true)
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
    if (seen.has(`${entry.name}/`) || parents(entry.name).some((parent) => seen.has(parent))) {
      problems.push(`${JSON.stringify(entry.name)} is a file and a folder at once`)
    }
  }
  if (total > LARGEST_CONTENT) problems.push(`unpacks to ${total} bytes, over ${LARGEST_CONTENT}`)
  if (problems.length > 0) throw unsafe(path, problems)
  if (entries.length === 0) throw damaged(path, 'it holds no file')
  entries.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
  return { entries, newest }
}

function parents(name: string): string[] {
  const parts = name.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}

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
  const shown = problems.slice(0, 20).map((problem) => `  ${problem}`)
  if (problems.length > shown.length) shown.push(`  … and ${problems.length - shown.length} more`)
  return new StepError('INPUT_INVALID', `WAR ${path} cannot be baked:\n${shown.join('\n')}`, {
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
