import type { Selectable } from 'kysely'
import type { AuditLogTable } from '../database/audit-schema.ts'
import type { AuditRecord } from '../records/audit-record.ts'

export function toAuditRow({ object, ...record }: AuditRecord): AuditLogTable {
  const { rule, reason, plan, run, request, address } = record
  return {
    ...record,
    app: object.app ?? null,
    environment: object.environment ?? null,
    object: object.text ?? null,
    rule: rule ?? null,
    reason: reason ?? null,
    plan: plan ?? null,
    run: run ?? null,
    request: request ?? null,
    address: address ?? null,
  }
}

export function fromAuditRow(row: Selectable<AuditLogTable>): AuditRecord {
  return {
    number: row.number,
    at: row.at,
    subject: row.subject,
    via: row.via,
    verb: row.verb,
    object: {
      app: row.app ?? undefined,
      environment: row.environment ?? undefined,
      text: row.object ?? undefined,
    },
    decision: row.decision,
    rule: row.rule ?? undefined,
    reason: row.reason ?? undefined,
    plan: row.plan ?? undefined,
    run: row.run ?? undefined,
    request: row.request ?? undefined,
    address: row.address ?? undefined,
    prev: row.prev,
    hash: row.hash,
  }
}
