import { createHash } from 'node:crypto'
import { crc32, createInflateRaw } from 'node:zlib'
import { deflateSync } from 'fflate'
import { errorCodeOf, StepError } from '../core/errors.ts'

/**
 * RFC 1952: a gzip file may have many members, and a member's body is a raw deflate stream. A
 * deflated entry of the WAR becomes a member's body unchanged. Tar headers and small texts are
 * deflated by fflate, whose output does not depend on the machine's zlib.
 */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])
/** RFC 1951, 3.2.4: a stored block holds at most 65,535 bytes. */
const STORED_BLOCK = 65_535
/** Larger entries that the WAR stores uncompressed stay uncompressed. */
const SMALL = 64 * 1024

function trailer(crc: number, size: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(crc >>> 0, 0)
  bytes.writeUInt32LE(size % 2 ** 32, 4)
  return bytes
}

/** A complete member for plain bytes. */
export function deflatedMember(bytes: Uint8Array): Buffer {
  const memory = bytes.length < 4096 ? 4 : 8
  const body = deflateSync(bytes, { level: 6, mem: memory })
  return Buffer.concat([HEADER, body, trailer(crc32(bytes), bytes.length)])
}

export interface MemberSource {
  name: string
  method: 'stored' | 'deflated'
  /** From the WAR's directory; undefined when there is none. */
  crc32: number | undefined
  size: number
  storedSize: number
  read(): AsyncGenerator<Buffer>
}

/** Receives a layer in both forms: the bytes of the blob, and those of the tar inside it. */
export interface LayerSink {
  blob(bytes: Buffer): Promise<void>
  tar(bytes: Buffer): void
}

export function isSmall(source: MemberSource): boolean {
  return source.method === 'stored' && source.size <= SMALL
}

/**
 * Writes one entry as a member of its own and returns the MD5 of its content. Inflates once, to
 * hash the tar and to compare length and CRC-32 with the WAR's directory.
 */
export async function writeMember(source: MemberSource, sink: LayerSink): Promise<string> {
  const md5 = createHash('md5')
  let size = 0
  let crc = 0
  const take = (plain: Buffer) => {
    size += plain.length
    crc = crc32(plain, crc)
    md5.update(plain)
    sink.tar(plain)
  }
  await sink.blob(HEADER)
  try {
    if (source.method === 'deflated') await writeDeflated(source, sink, take)
    else await writeStored(source, sink, take)
  } catch (error) {
    // Errors of zlib come from a damaged WAR; others, such as a full disk, do not.
    if (!/^(Z|ERR_STREAM)_/.test(errorCodeOf(error) ?? '')) throw error
    throw broken(source, error)
  }
  requireWhole(source, size, crc)
  await sink.blob(trailer(crc, size))
  return md5.digest('hex')
}

/**
 * The MD5 of one entry's content, after length and CRC-32 were compared with the WAR's directory.
 */
export function contentMd5(source: MemberSource): Promise<string> {
  return writeMember(source, { blob: async () => {}, tar: () => {} })
}

async function writeDeflated(
  source: MemberSource,
  sink: LayerSink,
  take: (plain: Buffer) => void,
): Promise<void> {
  const inflate = createInflateRaw({ chunkSize: 256 * 1024 })
  const taken = (async () => {
    for await (const plain of inflate as AsyncIterable<Buffer>) take(plain)
  })()
  const fed = (async () => {
    for await (const chunk of source.read()) {
      await sink.blob(chunk)
      // The next chunk reuses the buffer, so this chunk must be consumed first.
      await new Promise<void>((resolve, reject) => {
        inflate.write(chunk, (error) => (error ? reject(error) : resolve()))
      })
    }
    inflate.end()
  })()
  try {
    await Promise.all([fed, taken])
  } finally {
    inflate.destroy()
  }
  // Bytes after the end of the deflate stream would make the member unreadable.
  if (inflate.bytesWritten !== source.storedSize) throw broken(source)
}

async function writeStored(
  source: MemberSource,
  sink: LayerSink,
  take: (plain: Buffer) => void,
): Promise<void> {
  let left = source.storedSize
  if (left === 0) await sink.blob(Buffer.from([1, 0, 0, 0xff, 0xff]))
  for await (const chunk of source.read()) {
    take(chunk)
    for (let from = 0; from < chunk.length; from += STORED_BLOCK) {
      const block = chunk.subarray(from, from + STORED_BLOCK)
      left -= block.length
      const head = Buffer.alloc(5)
      head[0] = left === 0 ? 1 : 0
      head.writeUInt16LE(block.length, 1)
      head.writeUInt16LE(~block.length & 0xffff, 3)
      await sink.blob(Buffer.concat([head, block]))
    }
  }
}

/** Compares length and CRC-32 with the WAR's directory. */
export function requireWhole(source: MemberSource, size: number, crc: number): void {
  const { crc32: promised } = source
  if (size === source.size && (promised === undefined || crc >>> 0 === promised >>> 0)) return
  throw broken(source)
}

function broken(source: MemberSource, cause?: unknown): StepError {
  return new StepError(
    'INPUT_INVALID',
    `the WAR is damaged: ${source.name} does not match its length or CRC-32`,
    { hint: 'Build the WAR again.', cause },
  )
}
