import type { Selectable, Transaction } from 'kysely'
import { type Access, holdApplication, nextNumber, timestamp } from '../database/access.ts'
import {
  checkFilled,
  checkLimit,
  checkName,
  checkText,
  checkTime,
  invalid,
} from '../database/names.ts'
import type { AuditEventsTable, Schema } from '../database/schema.ts'
import type { Ledger } from '../ledger.ts'
import { type AuditEvent, type AuditEventStart, type AuditQuery, auditActions } from '../ledger.ts'

type AuditEvents = Pick<Ledger, 'recordEvent' | 'events'>

export function createAuditEvents({ read, write, now }: Access): AuditEvents {
  return {
    async recordEvent(event) {
      checkEvent(event)
      const { app, environment, action } = event
      return await write(`recording "${action}" in ${environment}`, async (trx) => {
        await holdApplication(trx, app, now())
        return await insertEvent(trx, event, timestamp(now()))
      })
    },

    async events(query) {
      checkQuery(query)
      const { app, environment, action, since, limit } = query
      return await read('reading what was done', async (db) => {
        let events = db.selectFrom('audit_events').selectAll().orderBy('number', 'desc')
        if (app !== undefined) events = events.where('app', '=', app)
        if (environment !== undefined) events = events.where('environment', '=', environment)
        if (action !== undefined) events = events.where('action', '=', action)
        if (since !== undefined) events = events.where('done_at', '>=', since)
        return (await events.limit(limit).execute()).map(fromRow)
      })
    },
  }
}

/** The caller holds the application's row. */
export async function insertEvent(
  trx: Transaction<Schema>,
  event: AuditEventStart,
  done_at: string,
): Promise<AuditEvent> {
  const { app, environment, action, by, identity } = event
  const row = {
    number: await nextNumber(trx, 'audit-event'),
    app,
    environment,
    action,
    identity,
    done_at,
    subject: event.subject ?? null,
    done_by: by,
    done_by_id: event.byId ?? null,
    reason: event.reason ?? null,
    job_url: event.jobUrl ?? null,
  }
  await trx.insertInto('audit_events').values(row).execute()
  return fromRow(row)
}

export function checkEvent(event: AuditEventStart): void {
  const { app, environment, action } = event
  checkName('application', app)
  checkName('environment', environment)
  if (!auditActions.includes(action)) throw invalid(`"${action}" is nothing that is recorded`)
  const what = `"${action}" in ${environment}`
  checkText(`${what}: subject`, event.subject)
  checkFilled(`${what}: by`, event.by, 255)
  checkText(`${what}: id`, event.byId, 64)
  checkFilled(`${what}: identity`, event.identity, 255)
  checkText(`${what}: reason`, event.reason)
  checkText(`${what}: job URL`, event.jobUrl)
}

function checkQuery({ app, environment, action, since, limit }: AuditQuery): void {
  if (app !== undefined) checkName('application', app)
  if (environment !== undefined) checkName('environment', environment)
  if (action !== undefined && !auditActions.includes(action)) {
    throw invalid(`"${action}" is nothing that is recorded; known: ${auditActions.join(', ')}`)
  }
  if (since !== undefined) checkTime('since', since)
  checkLimit(limit)
}

function fromRow(row: Selectable<AuditEventsTable>): AuditEvent {
  return {
    id: `e${row.number}`,
    app: row.app,
    environment: row.environment,
    action: row.action,
    subject: row.subject ?? undefined,
    by: row.done_by,
    byId: row.done_by_id ?? undefined,
    identity: row.identity,
    reason: row.reason ?? undefined,
    jobUrl: row.job_url ?? undefined,
    at: row.done_at,
  }
}
