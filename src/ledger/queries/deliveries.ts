import type { Kysely } from 'kysely'
import { type Access, timestamp } from '../database/access.ts'
import { checkName, checkTime } from '../database/names.ts'
import type { Schema } from '../database/schema.ts'
import type { Delivery, Ledger, StatusQuery } from '../ledger.ts'
import { standingByKey } from '../standing-marks.ts'
import { firstSince, isLost, livingTokens } from './deployment-history.ts'

type Deliveries = Pick<Ledger, 'deliveries'>

interface Window extends StatusQuery {
  since: string
}

/** Numbers read at once: so few that no database prefers to read the whole table. */
const STRIDE = 10_000

export function createDeliveries({ read, now }: Access): Deliveries {
  return {
    async deliveries(window) {
      const { since, app, environment } = window
      checkTime('since', since)
      if (app !== undefined) checkName('application', app)
      if (environment !== undefined) checkName('environment', environment)
      return await read('reading what was delivered', async (db) => {
        const first = await firstSince(db, since)
        if (first === undefined) return []
        const last = await lastNumber(db)
        const bad = await badReleases(db, app)
        const living = await livingTokens(db, timestamp(now()))
        const found: Delivery[] = []
        for (let from = first; from <= last; from += STRIDE) {
          for (const row of await rowsOf(db, window, from)) {
            found.push({
              id: row.id,
              app: row.app,
              environment: row.environment,
              version: row.version,
              state: isLost(row, living) ? 'abandoned' : row.state,
              kind: row.kind,
              replaced: row.replaced ?? undefined,
              startedAt: row.started_at,
              finishedAt: row.finished_at ?? undefined,
              committedAt: row.committed_at ?? undefined,
              bakedAt: row.baked_at,
              bad: bad.has(keyOf(row)),
              isFirst: false,
            })
          }
        }
        await markFirst(db, found, since)
        return found
      })
    },
  }
}

const keyOf = ({ app, environment, version }: Pick<Delivery, 'app' | 'environment' | 'version'>) =>
  `${app} ${environment} ${version}`

async function lastNumber(db: Kysely<Schema>): Promise<number> {
  const newest = db.selectFrom('deployments').select('number').orderBy('number', 'desc').limit(1)
  return (await newest.executeTakeFirst())?.number ?? 0
}

async function badReleases(db: Kysely<Schema>, app: string | undefined): Promise<Set<string>> {
  let query = db
    .selectFrom('marks')
    .select(['app', 'environment', 'version', 'bad', 'marked_by', 'identity'])
  if (app !== undefined) query = query.where('app', '=', app)
  const rows = await query.orderBy('number').execute()
  const bad = new Set<string>()
  for (const [key, mark] of standingByKey(rows, keyOf)) if (mark.bad) bad.add(key)
  return bad
}

async function rowsOf(db: Kysely<Schema>, { since, app, environment }: Window, from: number) {
  let query = db
    .selectFrom('deployments as d')
    .innerJoin('releases as r', (join) =>
      join.onRef('r.app', '=', 'd.app').onRef('r.version', '=', 'd.version'),
    )
    .select(['d.id', 'd.app', 'd.environment', 'd.version', 'd.state', 'd.kind', 'd.lock_token'])
    .select(['d.replaced', 'd.started_at', 'd.finished_at', 'r.committed_at', 'r.baked_at'])
    .where('d.number', '>=', from)
    .where('d.number', '<', from + STRIDE)
    .where('d.started_at', '>=', since)
    .orderBy('d.number')
  if (app !== undefined) query = query.where('d.app', '=', app)
  if (environment !== undefined) query = query.where('d.environment', '=', environment)
  return await query.execute()
}

/**
 * Marks the first success of each release in each environment. A release that was baked before
 * `since` may have succeeded before it, too.
 */
async function markFirst(db: Kysely<Schema>, found: Delivery[], since: string): Promise<void> {
  const seen = new Set<string>()
  const older = new Map<string, Delivery>()
  for (const delivery of found) {
    const key = keyOf(delivery)
    if (seen.has(key)) continue
    delivery.isFirst = true
    if (delivery.bakedAt < since) older.set(key, delivery)
    if (delivery.state === 'succeeded') seen.add(key)
  }
  const versions = new Map<string, Set<string>>()
  for (const { app, version } of older.values()) {
    versions.set(app, (versions.get(app) ?? new Set()).add(version))
  }
  const before = new Set<string>()
  for (const [app, ofApp] of versions) {
    const rows = await db
      .selectFrom('deployments')
      .select(['app', 'environment', 'version'])
      .distinct()
      .where('app', '=', app)
      .where('version', 'in', [...ofApp])
      .where('state', '=', 'succeeded')
      .where('started_at', '<', since)
      .execute()
    for (const row of rows) before.add(keyOf(row))
  }
  for (const delivery of found) if (before.has(keyOf(delivery))) delivery.isFirst = false
}
