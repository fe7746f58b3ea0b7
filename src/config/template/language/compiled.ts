import { createHash, randomUUID } from 'node:crypto'
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
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { CompiledUnit, UnitSource } from './compile.ts'

/** A compiled file, and V8's own form of its code. */
export interface KeptUnit extends CompiledUnit {
  machineCode: Buffer
}

/** Compiled files by content. */
export interface UnitCache {
  keyOf(source: Pick<UnitSource, 'file' | 'bytes' | 'included'>): string
  find(key: string): KeptUnit | undefined
  keep(key: string, unit: KeptUnit): void
  /** Removes what is old or too much, if anything was kept since. */
  sweep(): void
}

/**
 * Raised whenever compiling gives something else than before, or checks more. A test compares the
 * sources of the compiler with this.
 */
const FORMAT = 'crosscloud-unit-2'

const MILLISECONDS_A_DAY = 24 * 3_600_000
/** Entries not used for so long are removed. */
const KEPT = 30 * MILLISECONDS_A_DAY
const LARGEST = 32 * 1024 * 1024
const LARGEST_ALL = 64 * 1024 * 1024
const NAME = /^[0-9a-f]{64}(?:\.[0-9a-f-]{36})?\.unit$/
const DIGEST = 32
/** The digest, and two lengths of four bytes. */
const HEAD = DIGEST + 8

/**
 * Opens the cache in a folder; `dialect` is everything else that compiling depends on.
 *
 * What is kept here is executed. Whoever can write to this folder runs code as its owner, with all
 * secrets of the config centre at hand. So it is one person's folder on one machine (0700, files
 * 0600), never shared between people, never in a working tree (the caller sees to that) and never
 * part of a CI cache, which a merge request of anybody may fill. Files of another owner, writable by
 * others, or reached by a symbolic link count as absent, as do damaged ones: a checksum over all of
 * it, with the key inside, sees cuts and mix-ups, but protects from no one who may write. No fault of
 * the cache is ever told: it is only slow then.
 *
 * One file an entry, put there by a rename: processes at the same time see all of it or nothing.
 */
export function openUnitCache(folder: string, dialect: string): UnitCache | undefined {
  const user = process.getuid?.()
  if (user === undefined) return undefined
  const surroundings = JSON.stringify([FORMAT, process.version, process.arch, dialect])
  const isSafe = (status: Stats) => status.uid === user && (status.mode & 0o022) === 0
  const path = (key: string) => join(folder, `${key}.unit`)
  const readable = attempt(() => isFolder(folder) && isSafe(lstatSync(folder))) ?? false
  let ready: boolean | undefined
  let kept = false
  return {
    keyOf({ file, bytes, included }) {
      const name = JSON.stringify([surroundings, file, included])
      return createHash('sha256').update(`${name}\n`).update(bytes).digest('hex')
    },
    find: (key) => (readable ? attempt(() => readEntry(path(key), key, isSafe)) : undefined),
    keep(key, unit) {
      ready ??= attempt(() => makeFolder(folder, user)) ?? false
      if (!ready) return
      const staged = join(folder, `${key}.${randomUUID()}.unit`)
      const done = attempt(() => {
        const entry = packEntry(key, unit)
        if (entry.length > LARGEST) return false
        writeFileSync(staged, entry, { mode: 0o600, flag: 'wx' })
        renameSync(staged, path(key))
        return true
      })
      if (done === undefined) attempt(() => rmSync(staged, { force: true }))
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

/** A folder of ours that others could write to is closed first; what they left there has their uid. */
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
  // Not even a pipe may keep us waiting.
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
    // Its mtime is when it was last used, to the day.
    const now = Date.now()
    if (now - status.mtimeMs > MILLISECONDS_A_DAY) futimesSync(fd, now / 1000, now / 1000)
    return entry
  } finally {
    closeSync(fd)
  }
}

/** The oldest go first; so do what killed processes left. */
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
