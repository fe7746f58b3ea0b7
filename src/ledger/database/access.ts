import type { Kysely, Transaction } from 'kysely'
import { explain, StepError, toStepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import { invalid } from './names.ts'
import type { Counter, Schema } from './schema.ts'

export type Dialect = 'mysql' | 'sqlite'

/** What differs between the databases a ledger can live in. */
export interface Database {
  db: Kysely<Schema>
  dialect: Dialect
  /** How people call it, without any secret: `sqlite:/srv/crosscloud/ledger.db`. */
  name: string
  /** Another process held the rows or the file; nothing was written, and the same may be tried again. */
  contended(error: unknown): boolean
  /** A library's error as a StepError; undefined when it is not a known error. */
  translate(error: unknown): StepError | undefined
  /** The same database by the approvals' account, opened when it is first asked for. */
  approvals?: (() => Promise<Kysely<Schema>>) | undefined
  /** Nothing may be written. */
  readOnly?: boolean | undefined
  close(): Promise<void>
  /** Milliseconds since 1970. */
  now(): number
  /** How long contended work is tried, in milliseconds. */
  timeout: number
}

/** How queries reach the database: errors are translated, contended work is tried again. */
export interface Access {
  /** All queries of one call see one moment. `what` begins the message of a failure. */
  read<T>(what: string, query: (db: Kysely<Schema>) => Promise<T>): Promise<T>
  /** All or nothing. `change` may run more than once. */
  write<T>(what: string, change: (trx: Transaction<Schema>) => Promise<T>): Promise<T>
  now(): number
}

export function accessTo(
  database: Database,
  isClosed: () => boolean,
  open = async () => database.db,
): Access {
  const run = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    if (isClosed()) throw invalid(`${what}: ledger ${database.name} is closed`)
    try {
      return await retryContended(database, work)
    } catch (error) {
      throw ledgerError(database, what, error)
    }
  }
  return {
    read: (what, query) =>
      run(what, async () =>
        (await open())
          .transaction()
          .setIsolationLevel('repeatable read')
          .setAccessMode('read only')
          .execute(query),
      ),
    async write(what, change) {
      if (database.readOnly) throw isReadOnly(what, database.name)
      return run(what, async () => (await open()).transaction().execute(change))
    },
    now: database.now,
  }
}

function isReadOnly(what: string, name: string): StepError {
  return new StepError('FORBIDDEN', `${what}: ledger ${name} is open for reading only`)
}

type Contended = Pick<Database, 'contended' | 'timeout'>

/**
 * Runs `work` again while it is contended. The pauses are made here and not by the database: its
 * own waiting would block the whole process, and with it another ledger that holds the file.
 */
export async function retryContended<T>(
  { contended, timeout }: Contended,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const deadline = performance.now() + timeout
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!contended(error) || performance.now() > deadline) throw error
      await wait(2 + Math.random() * 30, signal)
    }
  }
}

/** Keeps a StepError as it is; other errors are translated, with what was being done. */
export function ledgerError(
  { translate }: Pick<Database, 'translate'>,
  what: string,
  error: unknown,
): StepError {
  const known = toStepError(error)
  return known === error ? known : explain(what, translate(error) ?? known)
}

/**
 * Takes the next number of a counter. The row stays ours until the transaction ends, so numbers
 * have no gap and later ones were begun later. An update comes before the read on purpose: it
 * takes the row in every database.
 */
export async function nextNumber(trx: Transaction<Schema>, counter: Counter): Promise<number> {
  await trx
    .updateTable('counters')
    .set((row) => ({ value: row('value', '+', 1) }))
    .where('name', '=', counter)
    .execute()
  const row = await trx
    .selectFrom('counters')
    .select('value')
    .where('name', '=', counter)
    .executeTakeFirstOrThrow()
  return row.value
}

/** Locks an application's row until the transaction ends; returns its highest version. */
export async function holdApplication(
  trx: Transaction<Schema>,
  app: string,
  now: number,
): Promise<string | null> {
  const held = await trx
    .updateTable('applications')
    .set((row) => ({ name: row.ref('name') }))
    .where('name', '=', app)
    .executeTakeFirst()
  if (held.numUpdatedRows === 0n) {
    const created_at = timestamp(now)
    // When another process inserts it first, this fails as contended, and is tried again.
    await trx
      .insertInto('applications')
      .values({ name: app, last_version: null, created_at })
      .execute()
    return null
  }
  const row = await trx
    .selectFrom('applications')
    .select('last_version')
    .where('name', '=', app)
    .executeTakeFirstOrThrow()
  return row.last_version
}

/** ISO 8601 in UTC with milliseconds. */
export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
