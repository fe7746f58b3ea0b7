import { mkdir, open } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Dialect, Kysely } from 'kysely'
import { describe, errorCodeOf, explain, StepError, throwIfCancelled } from '../core/errors.ts'
import { type Database, ledgerError, patiently } from './access.ts'
import type { Ledger } from './ledger.ts'
import { migrate } from './migrations.ts'
import { createLedger } from './records.ts'
import type { Schema } from './schema.ts'

export interface SqliteLedgerOptions {
  /** Ends the opening only: who was cancelled still has to close a deployment and give a lock back. */
  signal?: AbortSignal | undefined
  /** How long to try while other processes write, in milliseconds. */
  patience?: number
  /** Milliseconds since 1970. */
  now?: () => number
}

const PATIENCE = 15_000
/** Longer waits are in `patiently`: SQLite sleeps with the whole process. */
const BUSY_TIMEOUT = 20

/**
 * The ledger in one SQLite file on a local disk, made with its folder when there is none; only its
 * owner may read it. Any number of processes of the machine may have it open.
 */
export async function openSqliteLedger(
  path: string,
  { signal, patience = PATIENCE, now = Date.now }: SqliteLedgerOptions = {},
): Promise<Ledger> {
  const file = resolve(path)
  const name = `sqlite:${file}`
  const translate = (error: unknown) => translateSqlite(name, error)
  throwIfCancelled(signal)
  try {
    await createFile(file)
    const db = await connect(file)
    const database: Database = { db, name, contended, translate, close, patience, now }
    async function close() {
      await checkpoint(db).catch(() => {})
      await db.destroy()
    }
    try {
      await patiently(database, () => prepare(db, name), signal)
    } catch (error) {
      await db.destroy()
      throw error
    }
    return createLedger(database)
  } catch (error) {
    throw ledgerError({ translate }, 'opening the ledger', error)
  }
}

/** SQLite gives its -wal and -shm files the mode of the database. */
async function createFile(file: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    await (await open(file, 'a', 0o600)).close()
  } catch (error) {
    throw explain(`ledger sqlite:${file}`, error)
  }
}

async function connect(file: string): Promise<Kysely<Schema>> {
  const { default: Libsql } = await import('libsql').catch((error: unknown) => {
    throw new StepError('UNAVAILABLE', `SQLite cannot be loaded: ${describe(error)}`, {
      hint: 'Install again with optional packages: libsql has a prebuilt one for each system.',
      retryable: false,
      cause: error,
    })
  })
  const { Kysely, CompiledQuery, SqliteDialect } = await import('kysely')
  const sqlite = new SqliteDialect({
    database: () => Promise.resolve(new Libsql(file, { timeout: BUSY_TIMEOUT })),
  })
  const adapter = sqlite.createAdapter()
  // SQLite can roll back its DDL; so a migration is one transaction, which also is its lock.
  Object.defineProperty(adapter, 'supportsTransactionalDdl', { value: true })
  const dialect: Dialect = {
    createAdapter: () => adapter,
    createDriver() {
      const driver = sqlite.createDriver()
      // A plain `begin` that reads before it writes fails, at once, when another wrote between
      // (SQLITE_BUSY_SNAPSHOT, https://www.sqlite.org/isolation.html).
      driver.beginTransaction = async (connection) => {
        await connection.executeQuery(CompiledQuery.raw('begin immediate'))
      }
      return driver
    },
    createQueryCompiler: () => sqlite.createQueryCompiler(),
    createIntrospector: (db) => sqlite.createIntrospector(db),
  }
  return new Kysely<Schema>({ dialect })
}

async function prepare(db: Kysely<Schema>, name: string): Promise<void> {
  await pragma(db, 'journal_mode = wal')
  await pragma(db, 'foreign_keys = on')
  await migrate(db, { name })
}

/** Brings everything into the one file, so that it may be copied or cached alone. */
async function checkpoint(db: Kysely<Schema>): Promise<void> {
  await pragma(db, 'wal_checkpoint(truncate)')
}

async function pragma(db: Kysely<Schema>, text: string): Promise<void> {
  const { CompiledQuery } = await import('kysely')
  await db.executeQuery(CompiledQuery.raw(`pragma ${text}`))
}

/** The part of SQLite's code that names the fault: `SQLITE_BUSY` of `SQLITE_BUSY_SNAPSHOT`. */
function primaryCode(error: unknown): string {
  return /^SQLITE_[A-Z]+/.exec(errorCodeOf(error) ?? '')?.[0] ?? ''
}

function contended(error: unknown): boolean {
  return ['SQLITE_BUSY', 'SQLITE_LOCKED'].includes(primaryCode(error))
}

/** https://www.sqlite.org/rescode.html */
function translateSqlite(name: string, error: unknown): StepError | undefined {
  const fault = (code: StepError['code'], message: string, hint: string) =>
    new StepError(code, `${name} ${message}`, { hint, cause: error })
  const access = 'Check the owner and the mode of the file and of its folder.'
  const backup = 'Move the file away and put a copy of it back.'
  switch (primaryCode(error)) {
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return fault('UNAVAILABLE', 'is busy: another process writes to it', 'Run it again.')
    case 'SQLITE_FULL':
      return fault('COMMAND_FAILED', 'cannot grow: the disk is full', 'Free some space.')
    case 'SQLITE_NOTADB':
      return fault('INPUT_INVALID', 'is not an SQLite database', 'Name another file as ledger.')
    case 'SQLITE_CORRUPT':
      return fault('COMMAND_FAILED', 'is damaged', backup)
    case 'SQLITE_IOERR':
      return fault('COMMAND_FAILED', `cannot be read or written: ${describe(error)}`, access)
    case 'SQLITE_READONLY':
    case 'SQLITE_CANTOPEN':
    case 'SQLITE_PERM':
      return fault('COMMAND_FAILED', `cannot be written: ${describe(error)}`, access)
    default:
      return undefined
  }
}
