import { sha256 } from '../../core/digest.ts'
import { StepError } from '../../core/errors.ts'
import type { Ledger } from '../ledger.ts'
import { createApiTokens } from '../queries/api-tokens.ts'
import { createApprovals } from '../queries/approvals.ts'
import { createAuditEvents } from '../queries/audit-events.ts'
import { createAuditLog } from '../queries/audit-log.ts'
import { createConfigChanges } from '../queries/config-changes.ts'
import { createDeliveries } from '../queries/deliveries.ts'
import { createDeployments } from '../queries/deployments.ts'
import { createLocks } from '../queries/locks.ts'
import { createMarks } from '../queries/marks.ts'
import { createReleases } from '../queries/releases.ts'
import { createStatus } from '../queries/status.ts'
import { type Access, accessTo, type Database, timestamp } from './access.ts'
import { createExchange } from './exchange.ts'
import { createGuarding } from './guards.ts'
import { checkFilled, checkText } from './names.ts'

/** The ledger in a database whose schema is the newest. Knows no dialect. */
export function createLedger(database: Database): Ledger {
  let closing: Promise<void> | undefined
  const isClosed = () => closing !== undefined
  const access = accessTo(database, isClosed)
  return {
    name: database.name,
    ...createReleases(access),
    ...createDeployments(access),
    ...createConfigRevisions(access),
    ...createConfigChanges(access),
    ...createLocks(access),
    approvalsApart: database.approvals !== undefined,
    ...createApprovals(access, accessTo(database, isClosed, database.approvals)),
    ...createMarks(access),
    ...createAuditEvents(access),
    ...createAuditLog(access),
    ...createApiTokens(access),
    ...createStatus(access),
    ...createDeliveries(access),
    ...createExchange(access),
    ...createGuarding(access, database),
    close() {
      closing ??= database.close()
      return closing
    },
  }
}

type ConfigRevisions = Pick<Ledger, 'recordConfigRevision' | 'findConfigRevision'>

function createConfigRevisions({ read, write, now }: Access): ConfigRevisions {
  return {
    async recordConfigRevision(revision, content) {
      checkRevision(revision)
      checkText(`config revision ${revision}`, content)
      await write(`recording config revision ${revision}`, async (trx) => {
        const known = await trx
          .selectFrom('config_revisions')
          .select('content')
          .where('revision', '=', revision)
          .executeTakeFirst()
        if (known?.content === content) return
        if (known) throw differs(revision, known.content, content)
        const recorded_at = timestamp(now())
        await trx
          .insertInto('config_revisions')
          .values({ revision, content, recorded_at })
          .execute()
      })
    },

    async findConfigRevision(revision) {
      checkRevision(revision)
      const row = await read(`looking up config revision ${revision}`, (db) =>
        db
          .selectFrom('config_revisions')
          .select('content')
          .where('revision', '=', revision)
          .executeTakeFirst(),
      )
      return row?.content
    },
  }
}

function checkRevision(revision: string): void {
  checkFilled('the name of a config revision', revision, 128)
}

function differs(revision: string, known: string, content: string): StepError {
  return new StepError(
    'CONFLICT',
    `config revision ${revision} is recorded with content ${sha256(known)}, not ${sha256(content)}`,
    { hint: 'A revision is the hash of its content; check how it was computed.' },
  )
}
