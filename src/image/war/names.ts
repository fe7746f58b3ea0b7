import { crc32 } from 'node:zlib'
import { getFileNameLowLevel } from 'yauzl'

/** Character sets for names without the UTF-8 flag; all but CP437 are labels of TextDecoder. */
export const nameCharsets = [
  'utf-8',
  'gbk',
  'big5',
  'shift_jis',
  'euc-kr',
  'windows-1252',
  'cp437',
] as const
export type NameCharset = (typeof nameCharsets)[number]

/** APPNOTE.TXT 4.4.4, bit 11. */
const UTF8_FLAG = 0x800
/** APPNOTE.TXT 4.6.9, Info-ZIP Unicode Path. */
const UNICODE_PATH = 0x7075

export interface RawName {
  generalPurposeBitFlag: number
  fileNameRaw: Buffer
  extraFields: { id: number; data: Buffer }[]
}

/**
 * An entry's name; undefined when its bytes are invalid in the character set. Java and servers read
 * every name as UTF-8, flagged or not, and `zip` writes UTF-8 without the flag: so UTF-8 is the
 * default, not APPNOTE's CP437.
 */
export function decodeName(
  { generalPurposeBitFlag: flags, fileNameRaw: raw, extraFields }: RawName,
  charset: NameCharset,
): string | undefined {
  if (flags & UTF8_FLAG) return decode(raw, 'utf-8')
  if (charset === 'utf-8') return decode(raw, charset) ?? unicodePath(raw, extraFields)
  return unicodePath(raw, extraFields) ?? decode(raw, charset)
}

function decode(bytes: Uint8Array, charset: NameCharset): string | undefined {
  if (charset === 'cp437') return getFileNameLowLevel(0, Buffer.from(bytes), [], true)
  try {
    return new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** The UTF-8 name from the extra field, if its CRC belongs to this raw name. */
function unicodePath(raw: Buffer, extraFields: RawName['extraFields']): string | undefined {
  const data = extraFields.find(({ id }) => id === UNICODE_PATH)?.data
  if (!data || data.length < 6 || data[0] !== 1 || data.readUInt32LE(1) !== crc32(raw))
    return undefined
  return decode(data.subarray(5), 'utf-8')
}

/** The bytes of a name for display. */
export function showBytes(raw: Buffer): string {
  return raw
    .toString('latin1')
    .replace(/[^\x20-\x7e]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
