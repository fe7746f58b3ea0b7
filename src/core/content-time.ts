import { createHash } from 'node:crypto'

/** 1 January 2025: late, because browsers keep the longer what is old (RFC 9111, 4.2.2). */
const FIRST = Date.UTC(2025, 0, 1) / 1000
/** 194 days. That another content of the same length has the same time happens once in 16 million. */
const SECONDS = 2 ** 24

/**
 * The time of a file by what it holds, in seconds since 1970: another content has another time, and
 * the same content has the same time on every machine. Web servers make their ETag of length and
 * time, so that a file which changed is sent again, and no other.
 * @param content what stands for the content, such as its digest
 */
export function contentTime(content: string): number {
  return FIRST + (createHash('sha256').update(content).digest().readUInt32BE(0) % SECONDS)
}
