import type { Kysely } from 'kysely'
import type { Schema } from '../database/schema.ts'
import { type Place, type PlaceAfter, RANGES_A_QUERY } from './left-behind.ts'

interface Behind extends Place {
  behind: number
}

/**
 * How many releases were recorded after the one that runs; `after` is that release's number. A join
 * would read all releases of an application for each of its environments: ranges read the newer ones.
 */
export async function countNewer(
  db: Kysely<Schema>,
  running: readonly PlaceAfter[],
): Promise<Behind[]> {
  const oldest = new Map<string, number>()
  for (const { app, after } of running) {
    oldest.set(app, Math.min(after, oldest.get(app) ?? after))
  }
  const newer = await selectNewer(db, [...oldest])
  return running.map(({ app, environment, after }) => {
    const behind = (newer.get(app) ?? []).filter((number) => number > after).length
    return { app, environment, behind }
  })
}

/** Numbers of releases by application. */
async function selectNewer(
  db: Kysely<Schema>,
  oldest: readonly (readonly [app: string, number: number])[],
): Promise<Map<string, number[]>> {
  const numbers = new Map(oldest.map(([app]) => [app, [] as number[]]))
  for (let at = 0; at < oldest.length; at += RANGES_A_QUERY) {
    const some = oldest.slice(at, at + RANGES_A_QUERY)
    const rows = await db
      .selectFrom('releases')
      .select(['app', 'number'])
      .where((row) =>
        row.or(
          some.map(([app, number]) => row.and([row('app', '=', app), row('number', '>', number)])),
        ),
      )
      .execute()
    for (const { app, number } of rows) numbers.get(app)?.push(Number(number))
  }
  return numbers
}
