import { createHash } from 'node:crypto'

/** 1 January 2025: recent, because browsers cache old files for longer (RFC 9111, 4.2.2). */
const FIRST = Date.UTC(2025, 0, 1) / 1000
/** 194 days. Two contents of one length have the same time once in 16 million. */
const SECONDS = 2 ** 24

/**
 * A modification time derived from a file's content, in seconds since 1970: the same content has
 * the same time on every machine, and changed content has another. Web servers make ETags of length
 * and time, so that browsers fetch exactly the files that changed.
 * @param content identifies the content, such as its digest
 */
export function contentTime(content: string): number {
  return FIRST + (createHash('sha256').update(content).digest().readUInt32BE(0) % SECONDS)
}
