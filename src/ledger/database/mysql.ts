import { createConnection, type Socket } from 'node:net'
import type { Kysely } from 'kysely'
import { throwIfCancelled } from '../../core/errors.ts'
import type { TlsTexts } from '../../core/files/tls-files.ts'
import type { Ledger } from '../ledger.ts'
import { isMigrated, migrate, requireMigrated } from '../migrations/migrate.ts'
import { ledgerError, retryContended } from './access.ts'
import { createLedger } from './ledger.ts'
import { type MysqlAddress, parseMysqlAddress } from './mysql-address.ts'
import { openApprovals } from './mysql-approvals.ts'
import { contended, refusesChanges, translateMysql } from './mysql-errors.ts'
import type { Schema } from './schema.ts'

export interface MysqlLedgerOptions {
  /** Ends the opening only: who was cancelled still has to close a deployment and give a lock back. */
  signal?: AbortSignal | undefined
  /** Milliseconds since 1970; the server's clock when not given. */
  now?: () => number
  /** The URL of the same database for the account that approvals are kept by; asked for on first use. */
  approvals?: (() => string) | undefined
  /** What TLS needs beside the system's own authorities; PEM texts. */
  tls?: TlsTexts | undefined
  /** How long a response may take, in milliseconds. */
  timeout?: number
  /** Opens it as it is: nothing is migrated or written. */
  readOnly?: boolean | undefined
}

const TIMEOUT = 15_000
const RESPONSE_TIMEOUT = 30_000
const MIGRATING = 6 * 3_600_000

/**
 * The ledger in a database of its own on MySQL 8 or MariaDB 10.5 and later:
 * `mysql://user:password@host:3306/database`, or `mysqls://` for TLS. The server's clock decides
 * when a lock expires.
 */
export async function openMysqlLedger(
  url: string,
  {
    signal,
    now,
    tls,
    timeout: responseTimeout = RESPONSE_TIMEOUT,
    approvals,
    readOnly = false,
  }: MysqlLedgerOptions = {},
): Promise<Ledger> {
  const address = parseMysqlAddress(url, tls)
  const { name } = address
  const translate = (error: unknown) => translateMysql(name, error)
  throwIfCancelled(signal)
  const db = await connect(address, responseTimeout)
  try {
    const { sql } = await import('kysely')
    const tableOptions = sql`engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin`
    const timeout = TIMEOUT
    const schema = { name, dialect: 'mysql', tableOptions, refusesChanges } as const
    if (readOnly) await requireMigrated(db, name)
    else if (!(await isMigrated(db, name))) {
      // An index on a large table takes long, and the server sends nothing meanwhile.
      const patient = await connect(address, MIGRATING)
      await retryContended({ contended, timeout }, () => migrate(patient, schema), signal).finally(
        () => patient.destroy(),
      )
    }
    const main = { db, address, tls, connect: (to: MysqlAddress) => connect(to, responseTimeout) }
    const apart = approvals && openApprovals(approvals, main)
    return createLedger({
      db,
      dialect: 'mysql',
      approvals: apart?.open,
      name,
      contended,
      translate,
      readOnly,
      async close() {
        await Promise.all([apart?.close(), db.destroy()])
      },
      timeout,
      now: now ?? (await serverClock(db)),
    })
  } catch (error) {
    await db.destroy()
    throw ledgerError({ translate }, 'opening the ledger', error)
  }
}

async function connect(address: MysqlAddress, responseTimeout: number): Promise<Kysely<Schema>> {
  const { createPool } = await import('mysql2')
  const { CompiledQuery, Kysely, MysqlDialect } = await import('kysely')
  const { host, port, user, password, database, ssl } = address
  const pool = createPool({
    host,
    port,
    user,
    password,
    database,
    ...(ssl && { ssl }),
    charset: 'utf8mb4',
    connectionLimit: 4,
    connectTimeout: 10_000,
    supportBigNumbers: true,
    stream: () => openSocket(address, responseTimeout),
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
    // It fails when the connection broke; then the server rolls back, and the first error counts.
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

/** A server that is frozen, or behind a network that drops all, must not keep a deployment waiting. */
function openSocket({ host, port }: MysqlAddress, responseTimeout: number): Socket {
  const socket = createConnection({ host, port, noDelay: true, keepAlive: true })
  return socket.setTimeout(responseTimeout, () => {
    const error = new Error(`no response for ${responseTimeout / 1000} s`)
    socket.destroy(Object.assign(error, { code: 'ETIMEDOUT' }))
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
