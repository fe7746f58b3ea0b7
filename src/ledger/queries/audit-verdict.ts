import { setImmediate } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { CHAIN_START, follows, hashOfAudit, numberAsWritten } from '../audit-chain.ts'
import type { Access } from '../database/access.ts'
import type { Schema } from '../database/schema.ts'
import type { AuditHead, AuditProblem, AuditRecord, AuditVerdict } from '../records/audit-record.ts'
import { fromAuditRow } from './audit-rows.ts'

/** Records that are read and checked at once. */
const PAGE = 500

interface Found {
  problem: AuditProblem
  number: number
}

/** Checks the chain page by page; `head` is a hash that was kept elsewhere, and must be in it. */
export async function verifyChain(
  { read }: Access,
  head: string | undefined,
): Promise<AuditVerdict> {
  let last: AuditHead = { number: 0, hash: CHAIN_START }
  let known = head === undefined || head === CHAIN_START
  for (let isFirst = true, more = true; more; isFirst = false) {
    const from = last
    const page = await read('verifying the audit log', async (db) => {
      const records = await pageAfter(db, isFirst ? undefined : from.number)
      let newest: AuditHead = from
      for (const record of records) {
        if (!follows(record, newest)) {
          return { records, newest, isLast: true, found: await explainBreak(db, record, newest) }
        }
        newest = record
      }
      const isLast = records.length < PAGE
      return { records, newest, isLast, found: isLast ? await compareHead(db, newest) : undefined }
    })
    if (page.found) return { intact: false, ...page.found }
    known ||= page.records.some(({ hash }) => hash === head)
    last = { number: page.newest.number, hash: page.newest.hash }
    more = !page.isLast
    // Other requests of this process have their turn between two pages.
    await setImmediate()
  }
  const { number: count, hash } = last
  if (known) return { intact: true, count, head: hash }
  return { intact: false, problem: 'head', number: undefined, count, head: hash }
}

async function pageAfter(db: Kysely<Schema>, number: number | undefined): Promise<AuditRecord[]> {
  let page = db.selectFrom('audit_log').selectAll().orderBy('number').limit(PAGE)
  if (number !== undefined) page = page.where('number', '>', number)
  return (await page.execute()).map(fromAuditRow)
}

/** The head is kept in a row of its own: without it nobody would miss the last records. */
async function compareHead(db: Kysely<Schema>, last: AuditHead): Promise<Found | undefined> {
  const kept = await db
    .selectFrom('audit_head')
    .select(['number', 'hash'])
    .executeTakeFirstOrThrow()
  if (last.number < kept.number) return { problem: 'removed', number: last.number + 1 }
  if (last.number > kept.number) return { problem: 'inserted', number: kept.number + 1 }
  return last.hash === kept.hash ? undefined : { problem: 'changed', number: last.number }
}

/** What was done to the first record that does not follow the one before it. */
async function explainBreak(
  db: Kysely<Schema>,
  record: AuditRecord,
  last: AuditHead,
): Promise<Found> {
  const next = last.number + 1
  if (record.number < next) return { problem: 'inserted', number: record.number }
  const isElsewhere = await isMoved(db, last)
  if (record.number > next) return { problem: isElsewhere ? 'reordered' : 'removed', number: next }
  const written = numberAsWritten(record)
  if (written === undefined) return { problem: isElsewhere ? 'inserted' : 'changed', number: next }
  if (written < next) {
    // Its place is taken: by itself, so this is a copy, or by what was put there.
    const isCopy = (await hashAt(db, written)) === record.hash
    return { problem: 'inserted', number: isCopy ? next : written }
  }
  if (written > next) return { problem: isElsewhere ? 'reordered' : 'removed', number: next }
  // It is whole, but was chained to another record than the one that is before it now.
  if (isElsewhere || last.number === 0) return { problem: 'inserted', number: next }
  return { problem: 'changed', number: last.number }
}

async function hashAt(db: Kysely<Schema>, number: number): Promise<string | undefined> {
  const row = await db
    .selectFrom('audit_log')
    .select('hash')
    .where('number', '=', number)
    .executeTakeFirst()
  return row?.hash
}

/** Whether the record that was written after `last` is there, with another number. */
async function isMoved(db: Kysely<Schema>, last: AuditHead): Promise<boolean> {
  const number = last.number + 1
  const rows = await db
    .selectFrom('audit_log')
    .selectAll()
    .where('prev', '=', last.hash)
    .where('number', '<>', number)
    .execute()
  return rows.some((row) => hashOfAudit({ ...fromAuditRow(row), number }) === row.hash)
}
