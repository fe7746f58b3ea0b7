import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  type Stats,
} from 'node:fs'
import { join } from 'node:path'
import { replaceFileSync } from '../../../core/files/atomic-file.ts'
import type { CompiledUnit, UnitSource } from './compile.ts'

/** A compiled file, with V8's code cache for it. */
export interface KeptUnit extends CompiledUnit {
  machineCode: Buffer
}

/** Compiled files by content. */
export interface UnitCache {
  keyOf(source: Pick<UnitSource, 'file' | 'bytes' | 'included'>): string
  find(key: string): KeptUnit | undefined
  keep(key: string, unit: KeptUnit): void
  /** Removes old and excess entries, if entries were added since. */
  sweep(): void
}

/**
 * Raise it whenever compiling gives another result than before, or checks more. A test compares the
 * sources of the compiler with it.
 */
const FORMAT = 'crosscloud-unit-2'

const MILLISECONDS_A_DAY = 24 * 3_600_000
/** Entries not used for so long are removed. */
const KEPT = 30 * MILLISECONDS_A_DAY
const LARGEST = 32 * 1024 * 1024
const LARGEST_ALL = 64 * 1024 * 1024
/**
 * An entry, or what a killed process left of it: `.KEY.unit.RANDOM`, before that `KEY.UUID.unit`.
 */
const NAME = /^(?:[0-9a-f]{64}(?:\.[0-9a-f-]{36})?\.unit|\.[0-9a-f]{64}\.unit\.[0-9a-f]{16})$/
const DIGEST = 32
/** The digest, and two lengths of four bytes. */
const HEAD = DIGEST + 8

/**
 * Opens the cache in a folder; `dialect` is everything else that compiling depends on.
 *
 * Entries are executed. A user who can write to this folder runs code as its owner, with access to
 * all secrets of the config centre. So the folder belongs to a single user on a single machine
 * (0700, files 0600); it is never in a working tree (the caller checks that) and never part of a CI
 * cache, which any merge request can fill. Files of another owner, writable by others, or reached
 * by a symbolic link count as absent. So do damaged files: a checksum over the entry and its key
 * finds truncation and mix-ups, but does not protect from users who may write. Errors of the cache
 * are not reported: without it, compiling is only slower.
 *
 * Each entry is a file that appears by a rename: concurrent processes see all of it or nothing.
 */
export function openUnitCache(folder: string, dialect: string): UnitCache | undefined {
  const user = process.getuid?.()
  if (user === undefined) return undefined
  const environment = JSON.stringify([FORMAT, process.version, process.arch, dialect])
  const isSafe = (status: Stats) => status.uid === user && (status.mode & 0o022) === 0
  const path = (key: string) => join(folder, `${key}.unit`)
  const readable = attempt(() => isFolder(folder) && isSafe(lstatSync(folder))) ?? false
  let ready: boolean | undefined
  let kept = false
  return {
    keyOf({ file, bytes, included }) {
      const name = JSON.stringify([environment, file, included])
      return createHash('sha256').update(`${name}\n`).update(bytes).digest('hex')
    },
    find: (key) => (readable ? attempt(() => readEntry(path(key), key, isSafe)) : undefined),
    keep(key, unit) {
      ready ??= attempt(() => makeFolder(folder, user)) ?? false
      if (!ready) return
      attempt(() => {
        const entry = packEntry(key, unit)
        if (entry.length <= LARGEST) replaceFileSync(path(key), entry, 0o600)
      })
      kept = true
    },
    sweep() {
      if (kept) attempt(() => sweep(folder))
      kept = false
    },
  }
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}

function isFolder(path: string): boolean {
  return lstatSync(path).isDirectory()
}

/** If others could write to our folder, its mode is corrected first; their files have their uid. */
function makeFolder(folder: string, user: number): boolean {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  if (!isFolder(folder) || lstatSync(folder).uid !== user) return false
  chmodSync(folder, 0o700)
  return true
}

function packEntry(key: string, { code, machineCode, ...rest }: KeptUnit): Buffer {
  const facts = Buffer.from(JSON.stringify({ key, ...rest }))
  const text = Buffer.from(code)
  const entry = Buffer.concat([Buffer.alloc(HEAD), facts, text, machineCode])
  entry.writeUInt32LE(facts.length, DIGEST)
  entry.writeUInt32LE(text.length, DIGEST + 4)
  digestOf(entry).copy(entry)
  return entry
}

function digestOf(entry: Buffer): Buffer {
  return createHash('sha256').update(entry.subarray(DIGEST)).digest()
}

function readEntry(
  path: string,
  key: string,
  isSafe: (status: Stats) => boolean,
): KeptUnit | undefined {
  const entry = readSafely(path, isSafe)
  if (entry === undefined || !digestOf(entry).equals(entry.subarray(0, DIGEST))) return undefined
  const codeAt = HEAD + entry.readUInt32LE(DIGEST)
  const machineCodeAt = codeAt + entry.readUInt32LE(DIGEST + 4)
  const facts = JSON.parse(entry.toString('utf8', HEAD, codeAt)) as CompiledUnit & { key: string }
  if (facts.key !== key) return undefined
  return {
    needs: facts.needs,
    calls: facts.calls,
    partials: facts.partials,
    code: entry.toString('utf8', codeAt, machineCodeAt),
    machineCode: entry.subarray(machineCodeAt),
  }
}

function readSafely(path: string, isSafe: (status: Stats) => boolean): Buffer | undefined {
  // O_NONBLOCK: opening a pipe must not wait.
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const status = fstatSync(fd)
    const { size } = status
    if (!status.isFile() || !isSafe(status) || size < HEAD || size > LARGEST) return undefined
    const entry = Buffer.allocUnsafeSlow(size)
    for (let done = 0; done < size; ) {
      const read = readSync(fd, entry, done, size - done, done)
      if (read === 0) return undefined
      done += read
    }
    // The mtime is the time of last use, to the day.
    const now = Date.now()
    if (now - status.mtimeMs > MILLISECONDS_A_DAY) futimesSync(fd, now / 1000, now / 1000)
    return entry
  } finally {
    closeSync(fd)
  }
}

/** Removes the oldest entries, and files that killed processes left. */
function sweep(folder: string): void {
  const entries = readdirSync(folder)
    .filter((name) => NAME.test(name))
    .flatMap((name) => {
      const path = join(folder, name)
      const status = attempt(() => lstatSync(path))
      return status ? [{ path, size: status.size, used: status.mtimeMs }] : []
    })
    .sort((a, b) => b.used - a.used)
  const oldest = Date.now() - KEPT
  let total = 0
  for (const { path, size, used } of entries) {
    total += size
    if (total > LARGEST_ALL || used < oldest) attempt(() => rmSync(path, { force: true }))
  }
}
