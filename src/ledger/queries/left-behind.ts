import type { Kysely } from 'kysely'
import type { Schema } from '../database/schema.ts'
import type { StatusCell } from '../ledger.ts'

export interface Place {
  app: string
  environment: string
}

export interface PlaceAfter extends Place {
  /** The number of a deployment: those after it count. */
  after: number
}

interface Left extends Place, Pick<StatusCell, 'partial' | 'unsettled'> {
  /** Hosts that what runs was put on. */
  hosts: string[]
}

/** What deployments that did not succeed have left on hosts, after the last that did, or where none ever did. */
export async function findLeft(db: Kysely<Schema>, places: readonly PlaceAfter[]): Promise<Left[]> {
  const found: Left[] = []
  for (let at = 0; at < places.length; at += RANGES_A_QUERY) {
    const some = places.slice(at, at + RANGES_A_QUERY)
    const rows = byPlace(await selectAfter(db, some))
    const changed = some.filter((place) => rows.has(keyOf(place)))
    const before = byPlace(changed.length > 0 ? await selectBefore(db, changed) : [])
    for (const place of changed) {
      const key = keyOf(place)
      found.push({ ...place, ...leftOn(before.get(key) ?? [], rows.get(key) ?? []) })
    }
  }
  return found
}

/** Ranges that a database looks up one by one in its index. */
export const RANGES_A_QUERY = 200

const keyOf = ({ app, environment }: Place) => `${app} ${environment}`

function byPlace<Row extends Place>(rows: readonly Row[]): Map<string, Row[]> {
  const groups = new Map<string, Row[]>()
  for (const row of rows) groups.set(keyOf(row), [...(groups.get(keyOf(row)) ?? []), row])
  return groups
}

type Before = Awaited<ReturnType<typeof selectBefore>>[number]
type After = Awaited<ReturnType<typeof selectAfter>>[number]

/** A host is as before, or as a deployment was left there, if it has an instance that is known from then. */
function leftOn(before: readonly Before[], after: readonly After[]): Omit<Left, keyof Place> {
  const known = new Set(before.map(({ container_id }) => container_id))
  const ours = new Set(before.map(({ host }) => host))
  const [partial, unsettled] = [new Map<string, Entry>(), new Map<string, Entry>()]
  for (const { id: deployment, version, state, host, ok, container_id } of after) {
    if (host === null) {
      const cut = state === 'abandoned' ? ours : []
      for (const each of cut) unsettled.set(each, { host: each, deployment, version })
    } else if (ok === 1 && state === 'failed') {
      partial.set(host, { host, deployment, version })
      unsettled.delete(host)
      known.add(container_id)
    } else if (known.has(container_id)) {
      unsettled.delete(host)
    } else if (ours.has(host)) {
      unsettled.set(host, { host, deployment, version })
    }
  }
  return { hosts: [...ours].sort(), partial: sorted(partial), unsettled: sorted(unsettled) }
}

type Entry = StatusCell['partial'][number]

const sorted = (entries: ReadonlyMap<string, Entry>) =>
  [...entries.values()].sort((a, b) => (a.host < b.host ? -1 : 1))

/** The instances that what runs was put on. */
function selectBefore(db: Kysely<Schema>, places: readonly PlaceAfter[]) {
  return db
    .selectFrom('deployments as d')
    .innerJoin('deployment_hosts as h', 'h.deployment', 'd.id')
    .select(['d.app', 'd.environment', 'h.host', 'h.container_id'])
    .where('h.ok', '=', 1)
    .where(
      'd.number',
      'in',
      places.map(({ after }) => after),
    )
    .execute()
}

function selectAfter(db: Kysely<Schema>, places: readonly PlaceAfter[]) {
  return db
    .selectFrom('deployments as d')
    .leftJoin('deployment_hosts as h', 'h.deployment', 'd.id')
    .select(['d.app', 'd.environment', 'd.id', 'd.version', 'd.state'])
    .select(['h.host', 'h.ok', 'h.container_id'])
    .where('d.state', 'in', ['failed', 'abandoned', 'running'])
    .where((row) =>
      row.or(
        places.map(({ app, environment, after }) =>
          row.and([
            row('d.app', '=', app),
            row('d.environment', '=', environment),
            row('d.number', '>', after),
          ]),
        ),
      ),
    )
    .orderBy('d.number')
    .execute()
}
