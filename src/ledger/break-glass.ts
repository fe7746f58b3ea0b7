import type { Kysely, Selectable } from 'kysely'
import type { AuditEventsTable, Schema } from './database/schema.ts'
import type { BreakGlass, Unsigned } from './ledger.ts'

/** How long a second person has to look at what was done past a gate. */
const SIGN_OFF_WITHIN = 24 * 3_600_000

type Row = Selectable<AuditEventsTable>

/**
 * What was done past a gate, by the deployment's id. The event of the person who
 * started the deployment comes first: with another's they could sign off their own.
 */
export async function breakGlassOf(
  db: Kysely<Schema>,
  deployments: readonly { id: string; app: string; started_by: string }[],
): Promise<ReadonlyMap<string, BreakGlass>> {
  const apps = [...new Set(deployments.map(({ app }) => app))]
  const rows = await db
    .selectFrom('audit_events')
    .selectAll()
    .where('app', 'in', apps)
    .where('action', 'in', ['break-glass', 'sign-off'])
    .where(
      'subject',
      'in',
      deployments.map(({ id }) => id),
    )
    .orderBy('number')
    .execute()
  const signOffOf = signOffsIn(rows)
  const startedBy = new Map(deployments.map(({ id, started_by }) => [id, started_by]))
  const isStarter = (row: Row) => row.done_by === startedBy.get(row.subject ?? '')
  // Of a key that comes twice, a map keeps the last.
  const ordered = [
    ...rows.filter((row) => !isStarter(row)).reverse(),
    ...rows.filter(isStarter).reverse(),
  ]
  return new Map(
    ordered.flatMap((row): [string, BreakGlass][] =>
      row.action === 'break-glass' && row.subject !== null
        ? [[row.subject, toBreakGlass(row, signOffOf(row))]]
        : [],
    ),
  )
}

function toBreakGlass(row: Row, signOff: Row | undefined): BreakGlass {
  return {
    by: row.done_by,
    byId: row.done_by_id ?? undefined,
    identity: row.identity,
    reason: row.reason ?? '',
    at: row.done_at,
    due: dueAt(row),
    signedOff: signOff && {
      by: signOff.done_by,
      identity: signOff.identity,
      reason: signOff.reason ?? undefined,
      at: signOff.done_at,
    },
  }
}

/** What nobody has signed off, oldest first; there are few such events, and each is read. */
export async function selectUnsigned(
  db: Kysely<Schema>,
  { app, environment }: { app?: string | undefined; environment?: string | undefined },
): Promise<Unsigned[]> {
  let query = db
    .selectFrom('audit_events')
    .selectAll()
    .where('action', 'in', ['break-glass', 'sign-off'])
    .orderBy('number')
  if (app !== undefined) query = query.where('app', '=', app)
  if (environment !== undefined) query = query.where('environment', '=', environment)
  const rows = await query.execute()
  const signOffOf = signOffsIn(rows)
  return rows
    .filter((row) => row.action === 'break-glass' && signOffOf(row) === undefined)
    .map((row) => ({
      app: row.app,
      environment: row.environment,
      deployment: row.subject ?? '',
      by: row.done_by,
      reason: row.reason ?? '',
      at: row.done_at,
      due: dueAt(row),
    }))
}

/**
 * The first sign-off after each break-glass event; `rows` are in the order of their numbers. An earlier sign-off
 * does not count: the account of deployments could sign in advance what nobody has looked at.
 */
function signOffsIn(rows: readonly Row[]): (event: Row) => Row | undefined {
  const next = new Map<string, Row>()
  const signOffs = new Map<number, Row | undefined>()
  for (const row of rows.toReversed()) {
    if (row.action === 'sign-off') next.set(keyOf(row), row)
    else signOffs.set(row.number, next.get(keyOf(row)))
  }
  return ({ number }) => signOffs.get(number)
}

const keyOf = ({ app, environment, subject }: Row) => `${app} ${environment} ${subject}`

const dueAt = ({ done_at }: Row) => new Date(Date.parse(done_at) + SIGN_OFF_WITHIN).toISOString()
