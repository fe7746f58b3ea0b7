import { StepError } from '../core/errors.ts'

/** A file or folder of a layer. */
export interface TarEntry {
  /** Without a leading `/`; folders without a trailing one. */
  path: string
  type: 'file' | 'directory'
  mode: number
  /** Default 0: root. */
  uid?: number
  gid?: number
  /** bytes; 0 for folders */
  size: number
  /** Seconds since 1970; default FOLDER_TIME. */
  time?: number
}

export const BLOCK = 512
/** One second after the epoch: some tools take 0 for "unknown". Folders are never served. */
const FOLDER_TIME = 1
const NAME_LENGTH = 100
const LARGEST_SIZE = 0o77777777777
const LARGEST_ID = 0o7777777

/**
 * The header blocks of an entry: POSIX ustar, preceded by a pax header where the path is longer
 * than 100 bytes or not ASCII, or a number needs more octal digits than its field has
 * (POSIX.1-2001, pax). Owners have no names, so that equal content gives equal bytes.
 */
export function tarHeader(entry: TarEntry): Buffer {
  const path = entry.type === 'directory' ? `${entry.path}/` : entry.path
  const records: string[] = []
  if (Buffer.byteLength(path) > NAME_LENGTH || !/^[\x20-\x7e]*$/.test(path)) {
    records.push(paxRecord('path', path))
  }
  for (const [key, value, largest] of [
    ['size', entry.size, LARGEST_SIZE],
    ['uid', entry.uid ?? 0, LARGEST_ID],
    ['gid', entry.gid ?? 0, LARGEST_ID],
  ] as const) {
    if (value > largest) records.push(paxRecord(key, String(value)))
  }
  const header = ustar(path, entry, entry.type === 'directory' ? '5' : '0')
  if (records.length === 0) return header
  const body = Buffer.from(records.join(''))
  const pax = ustar('PaxHeaders/entry', { path, type: 'file', mode: 0o644, size: body.length }, 'x')
  return Buffer.concat([pax, body, padding(body.length), header])
}

/** The zeros that follow a file's content up to the next block. */
export function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)
}

/** The two empty blocks that end an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK)
}

function ustar(path: string, entry: TarEntry, typeflag: string): Buffer {
  const header = Buffer.alloc(BLOCK)
  Buffer.from(path).copy(header, 0, 0, NAME_LENGTH)
  octal(header, entry.mode, 100, 8)
  octal(header, Math.min(entry.uid ?? 0, LARGEST_ID), 108, 8)
  octal(header, Math.min(entry.gid ?? 0, LARGEST_ID), 116, 8)
  octal(header, Math.min(entry.size, LARGEST_SIZE), 124, 12)
  octal(header, entry.time ?? FOLDER_TIME, 136, 12)
  header.fill(' ', 148, 156)
  header.write(typeflag, 156)
  header.write('ustar\x0000', 257, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

function octal(header: Buffer, value: number, offset: number, length: number): void {
  const text = value.toString(8).padStart(length - 1, '0')
  if (text.length > length - 1) throw new StepError('INTERNAL', `tar field too small for ${value}`)
  header.write(`${text}\0`, offset, 'latin1')
}

/** `<length> <key>=<value>\n`, the length counting itself. */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`)
  let length = rest + String(rest).length
  if (rest + String(length).length !== length) length = rest + String(length).length
  return `${length} ${key}=${value}\n`
}
