import { mkdir, open } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Dialect, Kysely } from 'kysely'
import { describe, errorCodeOf, explain, StepError, throwIfCancelled } from '../core/errors.ts'
import { ledgerError, patiently } from './access.ts'
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
/** milliseconds */
const BUSY_TIMEOUT = 5000

type Handle = import('libsql').Database

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
    const connection = await connect(file)
    const { db } = connection
    const close = () => disconnect(connection)
    try {
      await patiently({ contended, patience }, () => prepare(connection, name), signal)
    } catch (error) {
      await close()
      throw error
    }
    return createLedger({ db, name, contended, translate, close, patience, now })
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

interface Connection {
  handle: Handle
  db: Kysely<Schema>
}

async function connect(file: string): Promise<Connection> {
  const { default: Libsql } = await import('libsql').catch((error: unknown) => {
    throw new StepError('UNAVAILABLE', `SQLite cannot be loaded: ${describe(error)}`, {
      hint: 'Install again with optional packages: libsql has a prebuilt one for each system.',
      retryable: false,
      cause: error,
    })
  })
  const { Kysely, SqliteDialect } = await import('kysely')
  const handle = new Libsql(file, { timeout: BUSY_TIMEOUT })
  const sqlite = new SqliteDialect({ database: handle })
  const dialect: Dialect = {
    createAdapter: () => sqlite.createAdapter(),
    createDriver() {
      const driver = sqlite.createDriver()
      driver.beginTransaction = async (_connection, { accessMode }) =>
        accessMode === 'read only' ? beginReading(handle) : beginWriting(handle)
      driver.rollbackTransaction = async () => rollback(handle)
      return driver
    },
    createQueryCompiler: () => sqlite.createQueryCompiler(),
    createIntrospector: (db) => sqlite.createIntrospector(db),
  }
  return { handle, db: new Kysely<Schema>({ dialect }) }
}

/**
 * Takes the write lock first. A plain `begin` that reads before it writes fails when another
 * process wrote between (SQLITE_BUSY_SNAPSHOT, https://www.sqlite.org/isolation.html). It does not
 * wait for the lock: SQLite would sleep with the whole process, and with it another ledger that
 * has the lock; `patiently` waits instead.
 *
 * It is run by `exec`, as everything that may find the file busy: a prepared statement that fails
 * so stays open in libsql 0.5 and spoils the transactions after it
 * (https://github.com/tursodatabase/libsql-client-ts/issues/352).
 */
function beginWriting(handle: Handle): void {
  try {
    handle.exec('pragma busy_timeout = 0; begin immediate')
  } finally {
    handle.exec(`pragma busy_timeout = ${BUSY_TIMEOUT}`)
  }
}

/** Takes the read lock at once, by a first query; readers wait for nobody but a closing process. */
function beginReading(handle: Handle): void {
  handle.exec('begin')
  try {
    handle.exec('select 1 from counters')
  } catch (error) {
    rollback(handle)
    throw error
  }
}

/** SQLite itself has rolled back after some faults, such as a full disk. */
function rollback(handle: Handle): void {
  if (handle.inTransaction) handle.exec('rollback')
}

/** SQLite can roll back its DDL, so one transaction is all the lock that migrations need. */
async function prepare({ handle, db }: Connection, name: string): Promise<void> {
  handle.exec('pragma journal_mode = wal; pragma foreign_keys = on')
  await db.connection().execute(async (connection) => {
    beginWriting(handle)
    try {
      await migrate(connection, { name })
      handle.exec('commit')
    } catch (error) {
      rollback(handle)
      throw error
    }
  })
}

/** Brings everything into the one file, so that it may be copied or cached alone. */
async function disconnect({ handle, db }: Connection): Promise<void> {
  try {
    handle.exec('pragma busy_timeout = 0; pragma wal_checkpoint(truncate)')
  } catch {
    // Another process reads or writes; the last one to close does it.
  }
  await db.destroy()
  if (handle.open) handle.close()
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
