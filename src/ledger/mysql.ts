import type { Kysely } from 'kysely'
import { describe, errorCodeOf, StepError, throwIfCancelled } from '../core/errors.ts'
import { ledgerError, patiently } from './access.ts'
import type { Ledger } from './ledger.ts'
import { migrate } from './migrations/migrate.ts'
import { createLedger } from './records.ts'
import type { Schema } from './schema.ts'

export interface MysqlLedgerOptions {
  /** Ends the opening only: who was cancelled still has to close a deployment and give a lock back. */
  signal?: AbortSignal | undefined
  /** Milliseconds since 1970; the server's clock when not given. */
  now?: () => number
}

const PATIENCE = 15_000

/**
 * The ledger in a database of its own on MySQL 8 or MariaDB 10.5 and later:
 * `mysql://user:password@host:3306/database`. The server's clock decides when a lock expires.
 */
export async function openMysqlLedger(
  url: string,
  { signal, now }: MysqlLedgerOptions = {},
): Promise<Ledger> {
  const address = parseAddress(url)
  const { name } = address
  const translate = (error: unknown) => translateMysql(name, error)
  throwIfCancelled(signal)
  const db = await connect(address)
  try {
    const { sql } = await import('kysely')
    const tableOptions = sql`engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin`
    const patience = PATIENCE
    await patiently({ contended, patience }, () => migrate(db, { name, tableOptions }), signal)
    return createLedger({
      db,
      name,
      contended,
      translate,
      close: () => db.destroy(),
      patience,
      now: now ?? (await serverClock(db)),
    })
  } catch (error) {
    await db.destroy()
    throw ledgerError({ translate }, 'opening the ledger', error)
  }
}

interface Address {
  name: string
  host: string
  port: number
  user: string
  password: string
  database: string
}

/** Messages never show what is between `mysql://` and `@`: it may be a password. */
function parseAddress(text: string): Address {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const database = decode(url?.pathname.slice(1) ?? '')
  if (!url?.hostname || !url.username || !database || database.includes('/') || url.search) {
    throw new StepError('INPUT_INVALID', 'ledger: this is not the address of a MySQL database', {
      hint: 'Write mysql://user:password@host:3306/database; escape special characters as in URLs.',
    })
  }
  const port = Number(url.port || 3306)
  const user = decode(url.username)
  const name = `mysql://${url.hostname}:${port}/${database}`
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return { name, host, port, user, password: decode(url.password), database }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

async function connect(address: Address): Promise<Kysely<Schema>> {
  const { createPool } = await import('mysql2')
  const { CompiledQuery, Kysely, MysqlDialect } = await import('kysely')
  const { host, port, user, password, database } = address
  const pool = createPool({
    ...{ host, port, user, password, database },
    charset: 'utf8mb4',
    connectionLimit: 4,
    connectTimeout: 10_000,
    supportBigNumbers: true,
  })
  const dialect = new MysqlDialect({
    pool,
    async onCreateConnection(connection) {
      // mysql2 escapes values itself, by the rules of this mode and no other.
      for (const text of [
        `set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'`,
        'set session transaction isolation level read committed',
        'set session innodb_lock_wait_timeout = 5',
        `set session time_zone = '+00:00'`,
      ]) {
        await connection.executeQuery(CompiledQuery.raw(text))
      }
    },
  })
  const createDriver = () => {
    const driver = dialect.createDriver()
    const { rollbackTransaction } = driver
    // It fails when the connection broke; then the server rolls back, and the first fault counts.
    driver.rollbackTransaction = (connection) =>
      rollbackTransaction.call(driver, connection).catch(() => {})
    return driver
  }
  return new Kysely<Schema>({
    dialect: {
      createAdapter: () => dialect.createAdapter(),
      createDriver,
      createQueryCompiler: () => dialect.createQueryCompiler(),
      createIntrospector: (db) => dialect.createIntrospector(db),
    },
  })
}

/** The server's clock as seen once, carried on by ours: machines that share a ledger may differ. */
async function serverClock(db: Kysely<Schema>): Promise<() => number> {
  const { sql } = await import('kysely')
  const before = Date.now()
  const { rows } = await sql<{ now: string }>`
    select cast(round(unix_timestamp(now(3)) * 1000) as char) as now`.execute(db)
  const offset = Number(rows[0]?.now) - (before + Date.now()) / 2
  return () => Math.round(Date.now() + offset)
}

/** Deadlock, lock wait, a row that another inserted first, and MariaDB's changed snapshot. */
function contended(error: unknown): boolean {
  const codes = ['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_DUP_ENTRY', 'ER_CHECKREAD']
  return codes.includes(errorCodeOf(error) ?? '')
}

/** https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html */
function translateMysql(name: string, error: unknown): StepError | undefined {
  const code = errorCodeOf(error) ?? ''
  const fault = (step: StepError['code'], message: string, hint: string) =>
    new StepError(step, `${name} ${message}`, { hint, cause: error })
  if (contended(error)) {
    return fault('UNAVAILABLE', 'is busy: another process writes the same', 'Run it again.')
  }
  switch (code) {
    case 'ER_ACCESS_DENIED_ERROR':
    case 'ER_DBACCESS_DENIED_ERROR':
    case 'ER_TABLEACCESS_DENIED_ERROR':
    case 'ER_ACCESS_DENIED_NO_PASSWORD_ERROR':
      return fault('UNAUTHORIZED', 'refuses the user', 'Check user, password and grants.')
    case 'ER_BAD_DB_ERROR':
      return fault('NOT_FOUND', 'has no such database', 'Create the database first.')
    case 'ER_DISK_FULL':
    case 'ER_RECORD_FILE_FULL':
      return fault('COMMAND_FAILED', 'cannot grow: its disk is full', 'Free some space there.')
    case 'ER_NET_PACKET_TOO_LARGE':
      return fault('INPUT_INVALID', 'takes no packet as large', 'Raise max_allowed_packet there.')
    case 'ER_CON_COUNT_ERROR':
    case 'ER_SERVER_SHUTDOWN':
    case 'PROTOCOL_CONNECTION_LOST':
    case 'ECONNREFUSED':
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EHOSTUNREACH':
    case 'ETIMEDOUT':
      return fault('UNAVAILABLE', `does not answer: ${describe(error)}`, 'Check the server.')
    default:
      return undefined
  }
}
