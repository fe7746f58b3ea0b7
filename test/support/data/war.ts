import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { crc32, deflateRawSync } from 'node:zlib'
import { ZipFile } from 'yazl'

/** Writes a WAR with these files; the same content always gives the same bytes. */
export async function writeWar(
  path: string,
  files: Readonly<Record<string, string | Buffer>>,
  options: { compress?: boolean | ((name: string) => boolean); date?: Date } = {},
): Promise<void> {
  const { compress = true, date = new Date('2026-01-02T03:04:06Z') } = options
  const zip = new ZipFile()
  for (const [name, content] of Object.entries(files)) {
    zip.addBuffer(Buffer.from(content), name, {
      compress: typeof compress === 'boolean' ? compress : compress(name),
      mtime: date,
      mode: 0o100644,
      forceDosTimestamp: true,
    })
  }
  zip.end()
  await pipeline(zip.outputStream, createWriteStream(path))
}

/** An entry with every field free to be wrong. */
export interface RawEntry {
  name: string | Buffer
  content?: string | Buffer
  /** 0 stored, 8 deflated, others as they come; default 8 */
  method?: number
  /** General purpose bits; default 0x800, UTF-8 names */
  flags?: number
  /** Unix mode; default 0o100644 */
  mode?: number
  crc32?: number
  /** What the directory says of the plain size. */
  size?: number
  /** The bytes as they stand in the file; default: what the method makes of the content. */
  stored?: Buffer
  /** Sizes and CRC follow the bytes, as a writer that streams does it (APPNOTE 4.3.9). */
  descriptor?: boolean
  /** Extra fields of the directory's entry. */
  extra?: Buffer
  /** Where the directory says that the entry begins; default: where it does. */
  at?: number
}

/** A ZIP made by hand (APPNOTE.TXT 4.3), for what no honest writer makes; offsets count a prefix. */
export function rawZip(entries: readonly RawEntry[], prefix = ''): Buffer {
  const files: Buffer[] = [Buffer.from(prefix)]
  const directory: Buffer[] = []
  let offset = Buffer.byteLength(prefix)
  for (const entry of entries) {
    const { local, central } = rawEntry(entry, offset)
    files.push(local)
    directory.push(central)
    offset += local.length
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(size, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...files, ...directory, end])
}

function rawEntry(entry: RawEntry, offset: number): { local: Buffer; central: Buffer } {
  const { method = 8, mode = 0o100644, extra = Buffer.alloc(0) } = entry
  const name = Buffer.from(entry.name)
  const content = Buffer.from(entry.content ?? '')
  const stored = entry.stored ?? (method === 8 ? deflateRawSync(content) : content)
  const flags = (entry.flags ?? 0x800) | (entry.descriptor ? 8 : 0)
  const common = Buffer.alloc(26)
  common.writeUInt16LE(20, 0)
  common.writeUInt16LE(flags, 2)
  common.writeUInt16LE(method, 4)
  common.writeUInt16LE(0x1883, 6)
  common.writeUInt16LE(0x5c22, 8)
  common.writeUInt32LE((entry.crc32 ?? crc32(content)) >>> 0, 10)
  common.writeUInt32LE(stored.length, 14)
  common.writeUInt32LE(entry.size ?? content.length, 18)
  common.writeUInt16LE(name.length, 22)
  const own = Buffer.from(common)
  const central = Buffer.from(common)
  central.writeUInt16LE(extra.length, 24)
  const descriptor = Buffer.alloc(entry.descriptor ? 16 : 0)
  if (entry.descriptor) {
    descriptor.writeUInt32LE(0x08074b50, 0)
    common.copy(descriptor, 4, 10, 22)
    own.fill(0, 10, 22)
  }
  const attributes = Buffer.alloc(14)
  attributes.writeUInt32LE((mode << 16) >>> 0, 6)
  attributes.writeUInt32LE(entry.at ?? offset, 10)
  const localMark = Buffer.from('PK\x03\x04', 'latin1')
  const centralMark = Buffer.from([0x50, 0x4b, 1, 2, 20, 3])
  return {
    local: Buffer.concat([localMark, own, name, stored, descriptor]),
    central: Buffer.concat([centralMark, central, attributes, name, extra]),
  }
}
