import type { Transaction } from 'kysely'
import { withoutControls } from '../../core/plain-text.ts'
import { hashOfAudit } from '../audit-chain.ts'
import { type Access, timestamp } from '../database/access.ts'
import {
  checkAmount,
  checkFilled,
  checkLimit,
  checkName,
  checkText,
  checkTime,
  invalid,
} from '../database/names.ts'
import type { Schema } from '../database/schema.ts'
import type { Ledger } from '../ledger.ts'
import {
  type AuditLogQuery,
  type AuditRecord,
  type AuditStart,
  auditDecisions,
  auditVias,
} from '../records/audit-record.ts'
import { fromAuditRow, toAuditRow } from './audit-rows.ts'
import { verifyChain } from './audit-verdict.ts'

type AuditLog = Pick<Ledger, 'recordAudit' | 'audits' | 'auditHead' | 'verifyAudit'>

/** Of a reason, or of what an act was done to. */
const LONGEST_TEXT = 64 * 1024

export function createAuditLog(access: Access): AuditLog {
  const { read, write, now } = access
  return {
    async recordAudit(start) {
      const entry = readEntry(start)
      return await write(`recording "${entry.verb}" in the audit log`, (trx) =>
        appendAudit(trx, entry, timestamp(now())),
      )
    },

    async audits(query) {
      checkQuery(query)
      const { app, environment, by, verb, decision, since, before, after, limit } = query
      return await read('reading the audit log', async (db) => {
        const order = after === undefined ? 'desc' : 'asc'
        let records = db.selectFrom('audit_log').selectAll().orderBy('number', order)
        if (app !== undefined) records = records.where('app', '=', app)
        if (environment !== undefined) records = records.where('environment', '=', environment)
        if (by !== undefined) records = records.where('subject', '=', by)
        if (verb !== undefined) records = records.where('verb', '=', verb)
        if (decision !== undefined) records = records.where('decision', '=', decision)
        if (since !== undefined) records = records.where('at', '>=', since)
        if (before !== undefined) records = records.where('number', '<', before)
        if (after !== undefined) records = records.where('number', '>', after)
        return (await records.limit(limit).execute()).map(fromAuditRow)
      })
    },

    auditHead: () =>
      read('reading the head of the audit log', (db) =>
        db.selectFrom('audit_head').select(['number', 'hash']).executeTakeFirstOrThrow(),
      ),

    async verifyAudit({ head } = {}) {
      return await verifyChain(access, head === undefined ? undefined : readHash(head))
    },
  }
}

/** Takes the row of the head until the transaction ends: whoever appends waits for all others. */
export async function holdHead(trx: Transaction<Schema>): Promise<void> {
  await trx
    .updateTable('audit_head')
    .set((row) => ({ number: row.ref('number') }))
    .execute()
}

/** Adds a record after the newest. The chain never forks, however many processes append. */
export async function appendAudit(
  trx: Transaction<Schema>,
  entry: AuditStart,
  at: string,
): Promise<AuditRecord> {
  await holdHead(trx)
  const last = await trx
    .selectFrom('audit_head')
    .select(['number', 'hash'])
    .executeTakeFirstOrThrow()
  const { subject, via, verb, decision, rule, reason, plan, run, request, address } = entry
  const { app, environment, text } = entry.object
  const number = last.number + 1
  const optional = { rule, reason, plan, run, request, address }
  const object = { app, environment, text }
  const chained = { number, at, subject, via, verb, object, decision, ...optional, prev: last.hash }
  const record = { ...chained, hash: hashOfAudit(chained) }
  await trx.insertInto('audit_log').values(toAuditRow(record)).execute()
  await trx.updateTable('audit_head').set({ number, hash: record.hash }).execute()
  return record
}

/** A refused act is recorded as well, whatever characters it came with: those of no text are left out. */
export function readEntry(start: AuditStart): AuditStart {
  const { object, ...rest } = start
  const entry = { ...plainFields(rest), object: plainFields(object) }
  const { app, environment, text } = entry.object
  if (!auditVias.includes(entry.via)) throw invalid(`via "${entry.via}" is not known`)
  if (!auditDecisions.includes(entry.decision)) {
    throw invalid(`decision "${entry.decision}" is not known`)
  }
  if (app !== undefined) checkName('application', app)
  if (environment !== undefined) checkName('environment', environment)
  checkFilled('the verb', entry.verb, 64)
  const what = `"${entry.verb}" in the audit log`
  checkFilled(`${what}: subject`, entry.subject, 255)
  checkText(`${what}: object`, text, LONGEST_TEXT)
  checkText(`${what}: reason`, entry.reason, LONGEST_TEXT)
  for (const name of ['rule', 'plan', 'run', 'request', 'address'] as const) {
    checkText(`${what}: ${name}`, entry[name], 255)
  }
  return entry
}

/** A lone half of a surrogate pair is kept by no database: its hash would not hold. */
function plainFields<T extends object>(fields: T): T {
  const plain = Object.entries(fields).map(([name, value]) => [
    name,
    typeof value === 'string' ? Buffer.from(withoutControls(value)).toString() : value,
  ])
  return Object.fromEntries(plain) as T
}

function checkQuery({ app, environment, by, verb, since, ...query }: AuditLogQuery): void {
  if (app !== undefined) checkName('application', app)
  if (environment !== undefined) checkName('environment', environment)
  checkText('by', by)
  checkText('the verb', verb)
  if (since !== undefined) checkTime('since', since)
  const { decision, before, after, limit } = query
  if (decision !== undefined && !auditDecisions.includes(decision)) {
    throw invalid(`decision "${decision}" is not known`)
  }
  for (const number of [before, after]) {
    if (number !== undefined) checkAmount('the number of a record', number)
  }
  if (before !== undefined && after !== undefined) throw invalid('before or after, not both')
  checkLimit(limit)
}

function readHash(head: string): string {
  const hash = head.trim().toLowerCase()
  if (/^[0-9a-f]{64}$/.test(hash)) return hash
  throw invalid('the head is no hash of a record: it has 64 of 0-9 and a-f')
}
