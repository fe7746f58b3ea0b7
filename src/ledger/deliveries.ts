import { type Access, timestamp } from './access.ts'
import type { Delivery, Ledger } from './ledger.ts'
import { checkName, checkTime } from './names.ts'

type Deliveries = Pick<Ledger, 'deliveries'>

export function createDeliveries({ read, now }: Access): Deliveries {
  return {
    async deliveries({ since, app, environment }) {
      checkTime('since', since)
      if (app !== undefined) checkName('application', app)
      if (environment !== undefined) checkName('environment', environment)
      return await read('reading what was delivered', async (db) => {
        let query = db
          .selectFrom('deployments as d')
          .innerJoin('releases as r', (join) =>
            join.onRef('r.app', '=', 'd.app').onRef('r.version', '=', 'd.version'),
          )
          .select(['d.id', 'd.app', 'd.environment', 'd.version', 'd.state', 'd.kind'])
          .select(['d.replaced', 'd.started_at', 'd.finished_at', 'r.committed_at', 'r.baked_at'])
          .select('d.lock_token')
          .select((row) =>
            row
              .exists(
                row
                  .selectFrom('deployments as e')
                  .select('e.number')
                  .whereRef('e.app', '=', 'd.app')
                  .whereRef('e.version', '=', 'd.version')
                  .whereRef('e.number', '<', 'd.number')
                  .whereRef('e.environment', '=', 'd.environment')
                  .where('e.state', '=', 'succeeded'),
              )
              .as('again'),
          )
          .where('d.started_at', '>=', since)
          .orderBy('d.started_at')
          .orderBy('d.number')
        let marks = db
          .selectFrom('marks')
          .select(['app', 'environment', 'version', 'bad'])
          .orderBy('number')
        if (app !== undefined) {
          query = query.where('d.app', '=', app)
          marks = marks.where('app', '=', app)
        }
        if (environment !== undefined) query = query.where('d.environment', '=', environment)
        const bad = new Set<string>()
        for (const mark of await marks.execute()) {
          const key = `${mark.app} ${mark.environment} ${mark.version}`
          if (mark.bad === 1) bad.add(key)
          else bad.delete(key)
        }
        const locks = db.selectFrom('locks').select('token')
        const held = await locks.where('expires_at', '>', timestamp(now())).execute()
        const living = new Set(held.map(({ token }) => token))
        const isLost = (state: string, token: number | null) =>
          state === 'running' && token !== null && !living.has(token)
        const rows = await query.execute()
        return rows.map(
          (row): Delivery => ({
            id: row.id,
            app: row.app,
            environment: row.environment,
            version: row.version,
            state: isLost(row.state, row.lock_token) ? 'abandoned' : row.state,
            isFirst: !row.again,
            kind: row.kind,
            replaced: row.replaced ?? undefined,
            startedAt: row.started_at,
            finishedAt: row.finished_at ?? undefined,
            committedAt: row.committed_at ?? undefined,
            bakedAt: row.baked_at,
            bad: bad.has(`${row.app} ${row.environment} ${row.version}`),
          }),
        )
      })
    },
  }
}
