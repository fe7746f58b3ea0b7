/**
 * The little of protobuf's encoding that BuildKit's messages need; groups and fixed-width numbers do not
 * occur in them: https://protobuf.dev/programming-guides/encoding/
 */

/** Values by field: bytes of texts and messages, and numbers. */
export type Fields = Map<number, (Buffer | number)[]>

const TEXT = 2

export function decodeFields(bytes: Buffer): Fields {
  const fields: Fields = new Map()
  let at = 0
  const varint = () => {
    let value = 0
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++] ?? 0
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
    }
    return value
  }
  while (at < bytes.length) {
    const tag = varint()
    const value = varint()
    const isText = (tag & 7) === TEXT
    const found = isText ? bytes.subarray(at, at + value) : value
    if (isText) at += value
    fields.set(tag >> 3, [...(fields.get(tag >> 3) ?? []), found])
  }
  return fields
}

/** The texts, or messages, of a field. */
export function bytesOf(fields: Fields, field: number): Buffer[] {
  return (fields.get(field) ?? []).filter((value) => typeof value !== 'number')
}

export function textOf(fields: Fields, field: number): string {
  return bytesOf(fields, field).at(-1)?.toString() ?? ''
}

/** A message whose fields, from 1 on, are texts. */
export function encodeTexts(texts: readonly string[]): Buffer {
  const parts = texts.flatMap((text, index) => {
    const bytes = Buffer.from(text)
    return [Buffer.from([((index + 1) << 3) | TEXT, ...varint(bytes.length)]), bytes]
  })
  return Buffer.concat(parts)
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)]
}
