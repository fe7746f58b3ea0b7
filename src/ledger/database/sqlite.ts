import { randomUUID } from 'node:crypto'
import { access, constants, link, mkdir, open, rm, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Dialect, Kysely } from 'kysely'
import { describe, errorCodeOf, explain, StepError, throwIfCancelled } from '../../core/errors.ts'
import type { Ledger } from '../ledger.ts'
import { isMigrated, migrate, requireMigrated } from '../migrations/migrate.ts'
import { ledgerError, retryContended } from './access.ts'
import { createLedger } from './ledger.ts'
import type { Schema } from './schema.ts'

export interface SqliteLedgerOptions {
  /** Ends the opening only: who was cancelled still has to close a deployment and give a lock back. */
  signal?: AbortSignal | undefined
  /** How long to try while other processes write, in milliseconds. */
  timeout?: number
  /** Milliseconds since 1970. */
  now?: () => number
  /** Opens what is there, as it is: nothing is made, migrated or written. */
  readOnly?: boolean | undefined
}

const TIMEOUT = 15_000
/** milliseconds */
const BUSY_TIMEOUT = 5000

type Handle = import('libsql').Database

/**
 * The ledger in one SQLite file on a local disk, made with its folder when there is none; only its
 * owner may read it. Any number of processes of the machine may have it open.
 */
export async function openSqliteLedger(
  path: string,
  { signal, timeout = TIMEOUT, now = Date.now, readOnly = false }: SqliteLedgerOptions = {},
): Promise<Ledger> {
  const file = resolve(path)
  const name = `sqlite:${file}`
  const translate = (error: unknown) => translateSqlite(name, error)
  throwIfCancelled(signal)
  try {
    if (readOnly) await assureReadable(file, name)
    else await assureFile(file, name)
    const connection = await connect(file)
    const { db } = connection
    const close = () => (readOnly ? leave(connection) : disconnect(connection))
    const opening = () => (readOnly ? prepareReading : prepare)(connection, name)
    try {
      await retryContended({ contended, timeout }, opening, signal)
    } catch (error) {
      await close()
      throw error
    }
    const common = { db, dialect: 'sqlite', name, contended, translate } as const
    return createLedger({ ...common, close, timeout, now, readOnly })
  } catch (error) {
    throw ledgerError({ translate }, 'opening the ledger', error)
  }
}

/**
 * Makes the ledger if there is none. An existing ledger is not opened to try it: closing a file
 * drops all locks this process has on it, another ledger's too (https://sqlite.org/howtocorrupt.html).
 */
async function assureFile(file: string, name: string): Promise<void> {
  try {
    const isFolder = (await stat(file)).isDirectory()
    if (!isFolder) return await access(file, constants.R_OK | constants.W_OK)
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return await createFile(file, name)
    throw explain(`ledger ${name}`, error)
  }
  throw new StepError('INPUT_INVALID', `ledger ${name} is a folder`, {
    hint: 'Name a file in it: sqlite:path/ledger.db.',
  })
}

async function assureReadable(file: string, name: string): Promise<void> {
  await access(file, constants.R_OK).catch((error: unknown) => {
    throw explain(`ledger ${name}`, error)
  })
}

/**
 * A new ledger is made in memory and appears at its path whole or not at all: a failure leaves no
 * file, and nobody opens a half-made one. Of two processes that make it at once, the first one's file stays.
 * SQLite gives its -wal and -shm files the mode of the database.
 */
async function createFile(file: string, name: string): Promise<void> {
  const memory = await connect(':memory:')
  const made = `${file}.${randomUUID()}.new`
  try {
    await prepare(memory, name)
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    const handle = await open(made, 'wx', 0o600)
    try {
      memory.handle.prepare('vacuum into ?').run(made)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await publish(made, file)
  } catch (error) {
    // SQLite's errors are translated where all of them are.
    throw primaryCode(error) ? error : explain(`ledger ${name}`, error)
  } finally {
    await disconnect(memory)
    await rm(made, { force: true })
  }
}

/** Gives the file its name unless it is taken. Some file systems cannot: there it begins empty. */
async function publish(made: string, file: string): Promise<void> {
  try {
    await link(made, file)
  } catch (error) {
    const code = errorCodeOf(error) ?? ''
    if (code === 'EEXIST') return
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code)) throw error
    await (await open(file, 'a', 0o600)).close()
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
 * has the lock; `retryContended` waits instead.
 *
 * It is run by `exec`, as everything that may find the file busy: a prepared statement that fails
 * so stays open in libsql 0.5 and spoils the transactions after it
 * (https://github.com/tursodatabase/libsql-client-ts/issues/352).
 */
function beginWriting(handle: Handle): void {
  atOnce(handle, 'begin immediate')
}

function atOnce(handle: Handle, sql: string): void {
  try {
    handle.exec(`pragma busy_timeout = 0; ${sql}`)
  } finally {
    handle.exec(`pragma busy_timeout = ${BUSY_TIMEOUT}`)
  }
}

/** Takes the read lock at once, by a first query; readers wait for nobody but a closing process. */
function beginReading(handle: Handle): void {
  handle.exec('begin')
  try {
    handle.exec('select 1 from sqlite_schema')
  } catch (error) {
    rollback(handle)
    throw error
  }
}

/** SQLite itself has rolled back after some errors, such as a full disk. */
function rollback(handle: Handle): void {
  if (handle.inTransaction) handle.exec('rollback')
}

/** SQLite can roll back its DDL, so a transaction is all the lock that migrations need. */
async function prepare({ handle, db }: Connection, name: string): Promise<void> {
  await db.connection().execute(async (connection) => {
    // Another program's file is not changed, and the journal's mode is written into it.
    const done = await within(handle, beginReading, () => isMigrated(connection, name))
    // Changing the mode takes all locks: a reader in this process could not end while SQLite slept.
    atOnce(handle, 'pragma journal_mode = wal')
    handle.exec('pragma foreign_keys = on')
    if (done) return
    await within(handle, beginWriting, () => migrate(connection, { name, dialect: 'sqlite' }))
  })
}

/** From here on SQLite refuses every change. */
async function prepareReading({ handle, db }: Connection, name: string): Promise<void> {
  handle.exec('pragma query_only = on')
  await db.connection().execute((connection) => requireMigrated(connection, name))
}

async function within<T>(
  handle: Handle,
  begin: (handle: Handle) => void,
  work: () => Promise<T>,
): Promise<T> {
  begin(handle)
  try {
    const result = await work()
    handle.exec('commit')
    return result
  } catch (error) {
    rollback(handle)
    throw error
  }
}

/** Brings everything into the one file, so that it may be copied or cached alone. */
async function disconnect({ handle, db }: Connection): Promise<void> {
  try {
    handle.exec('pragma busy_timeout = 0; pragma wal_checkpoint(truncate)')
  } catch {
    // Another process reads or writes; the last process to close does it.
  }
  await leave({ handle, db })
}

async function leave({ handle, db }: Connection): Promise<void> {
  await db.destroy()
  if (handle.open) handle.close()
}

/** The part of SQLite's code that names the error: `SQLITE_BUSY` of `SQLITE_BUSY_SNAPSHOT`. */
function primaryCode(error: unknown): string {
  return /^SQLITE_[A-Z]+/.exec(errorCodeOf(error) ?? '')?.[0] ?? ''
}

function contended(error: unknown): boolean {
  return ['SQLITE_BUSY', 'SQLITE_LOCKED'].includes(primaryCode(error))
}

/** https://www.sqlite.org/rescode.html */
function translateSqlite(name: string, error: unknown): StepError | undefined {
  const problem = (code: StepError['code'], message: string, hint: string) =>
    new StepError(code, `${name} ${message}`, { hint, cause: error })
  const access = 'Check the owner and the mode of the file and of its folder.'
  const backup = 'Move the file away and put a copy of it back.'
  switch (primaryCode(error)) {
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return problem('UNAVAILABLE', 'is busy: another process writes to it', 'Run it again.')
    case 'SQLITE_FULL':
      return problem('COMMAND_FAILED', 'cannot grow: the disk is full', 'Free some space.')
    case 'SQLITE_NOTADB':
      return problem('INPUT_INVALID', 'is not an SQLite database', 'Name another file as ledger.')
    case 'SQLITE_CORRUPT':
      return problem('COMMAND_FAILED', 'is damaged', backup)
    case 'SQLITE_IOERR':
      return problem('COMMAND_FAILED', `cannot be read or written: ${describe(error)}`, access)
    case 'SQLITE_READONLY':
    case 'SQLITE_CANTOPEN':
    case 'SQLITE_PERM':
      return problem('COMMAND_FAILED', `cannot be written: ${describe(error)}`, access)
    default:
      return undefined
  }
}
