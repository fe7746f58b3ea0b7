import { createHash } from 'node:crypto'
import type { AuditHead, AuditRecord } from './records/audit-record.ts'

/** What the first record is chained to. */
export const CHAIN_START = '0'.repeat(64)

/** How far from its place a record is looked for, in numbers. */
const NEAR = 1000

type Unhashed = Omit<AuditRecord, 'hash'>

/** The fields of a record in a single level, as they are exported; those it lacks are left out. */
export function auditFields({ object, ...rest }: Unhashed): Record<string, string | number> {
  const { app, environment, text } = object
  const fields = { ...rest, app, environment, object: text }
  return Object.fromEntries(
    Object.entries(fields)
      .filter((field): field is [string, string | number] => field[1] !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
}

/**
 * SHA-256, in hex, of all other fields as canonical JSON (RFC 8785): names in order, no spaces. Every text
 * is quoted, so what ends one field and begins the next cannot be moved.
 */
export function hashOfAudit(record: Unhashed): string {
  const { hash: _own, ...fields } = auditFields(record)
  return createHash('sha256').update(JSON.stringify(fields)).digest('hex')
}

/** Whether a record is as it was written, and the next after `last`. */
export function follows(record: AuditRecord, last: AuditHead): boolean {
  return (
    record.number === last.number + 1 &&
    record.prev === last.hash &&
    record.hash === hashOfAudit(record)
  )
}

/** The number that a record was written with, if no other field was changed since. */
export function numberAsWritten(record: AuditRecord): number | undefined {
  const { number: here } = record
  const holds = (number: number) => hashOfAudit({ ...record, number }) === record.hash
  for (let distance = 0; distance <= NEAR; distance++) {
    if (holds(here + distance)) return here + distance
    if (holds(here - distance)) return here - distance
  }
  return undefined
}
