import type { Selectable, Transaction } from 'kysely'
import { type Access, holdApplication, nextNumber, timestamp } from '../database/access.ts'
import {
  checkFilled,
  checkLimit,
  checkName,
  checkPlace,
  checkText,
  checkTime,
  checkVersion,
} from '../database/names.ts'
import type { MarksTable, Schema } from '../database/schema.ts'
import type { Ledger, Mark, MarkQuery } from '../ledger.ts'
import { standingMark } from '../standing-marks.ts'

type Marks = Pick<Ledger, 'mark' | 'marks' | 'markHistory' | 'findMark'>

/** Whether people and scans hold a release for bad in an environment. */
export function createMarks({ read, write, now }: Access): Marks {
  return {
    async mark(mark) {
      checkMark(mark)
      const { app, environment, version } = mark
      return await write(`marking ${app}@${version} in ${environment}`, async (trx) => {
        await holdApplication(trx, app, now())
        return await insertMark(trx, mark, timestamp(now()))
      })
    },

    async marks(app, version) {
      checkName('application', app)
      checkVersion(version)
      const rows = await read(`reading the marks of ${app}@${version}`, (db) =>
        db
          .selectFrom('marks')
          .selectAll()
          .where('app', '=', app)
          .where('version', '=', version)
          .orderBy('number')
          .execute(),
      )
      return rows.map(fromMarkRow)
    },

    async markHistory(query) {
      checkMarkQuery(query)
      const { app, environment, version, since, until, limit } = query
      const rows = await read('reading what was marked', (db) => {
        let marks = db.selectFrom('marks').selectAll().orderBy('number', 'desc').limit(limit)
        if (app !== undefined) marks = marks.where('app', '=', app)
        if (environment !== undefined) marks = marks.where('environment', '=', environment)
        if (version !== undefined) marks = marks.where('version', '=', version)
        if (since !== undefined) marks = marks.where('marked_at', '>=', since)
        if (until !== undefined) marks = marks.where('marked_at', '<', until)
        return marks.execute()
      })
      return rows.map(fromMarkRow)
    },

    async findMark(app, environment, version) {
      checkPlace(app, environment, version)
      const rows = await read(`looking up the mark of ${app}@${version}`, (db) =>
        db
          .selectFrom('marks')
          .selectAll()
          .where('app', '=', app)
          .where('environment', '=', environment)
          .where('version', '=', version)
          .orderBy('number')
          .execute(),
      )
      return standingMark(rows.map(fromMarkRow))
    },
  }
}

/** The caller holds the application's row. */
export async function insertMark(
  trx: Transaction<Schema>,
  { app, environment, version, bad, by, identity, reason }: Omit<Mark, 'at'>,
  marked_at: string,
): Promise<Mark> {
  const number = await nextNumber(trx, 'mark')
  const row = {
    number,
    app,
    environment,
    version,
    reason,
    bad: bad ? 1 : 0,
    marked_by: by,
    marked_at,
    identity: identity ?? null,
  }
  await trx.insertInto('marks').values(row).execute()
  return fromMarkRow(row)
}

export function checkMark(mark: Omit<Mark, 'at' | 'bad'>): void {
  const { app, environment, version, by, identity, reason } = mark
  checkPlace(app, environment, version)
  const what = `the mark of ${app}@${version} in ${environment}`
  checkFilled(`${what}: by`, by, 255)
  checkText(`${what}: identity`, identity, 255)
  checkFilled(`${what}: reason`, reason)
}

function checkMarkQuery({ app, environment, version, since, until, limit }: MarkQuery): void {
  if (app !== undefined) checkName('application', app)
  if (environment !== undefined) checkName('environment', environment)
  if (version !== undefined) checkVersion(version)
  if (since !== undefined) checkTime('since', since)
  if (until !== undefined) checkTime('until', until)
  checkLimit(limit)
}

function fromMarkRow(row: Selectable<MarksTable>) {
  return {
    app: row.app,
    environment: row.environment,
    version: row.version,
    bad: row.bad === 1,
    by: row.marked_by,
    identity: row.identity ?? undefined,
    reason: row.reason,
    at: row.marked_at,
  }
}
