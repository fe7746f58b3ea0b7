import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import type { Test } from 'tap'
import { run } from '../../../src/core/process/process.ts'
import { MARIADB_FOLDER } from '../folders.ts'
import { freePort } from './ports.ts'
import { findProgram, type RunningServer, serverFolder, startServer } from './server.ts'

export interface Mariadb {
  port: number
  server: RunningServer
  /** Runs one statement as the administrator, and gives its rows. */
  query(sql: string): Promise<Record<string, unknown>[]>
}

/** A server of its own on 127.0.0.1, in a temporary folder, ended with the test. */
export async function startMariadb(
  t: Test,
  options: { flags?: readonly string[] } = {},
): Promise<Mariadb> {
  const { folder, remove } = await serverFolder('mariadb')
  t.teardown(remove)
  // A server that starts removes what it takes for leftovers in /tmp: another server's tables.
  await mkdir(join(folder, 'tmp'))
  const data = join(folder, 'data')
  await cp(await prepareMariadb(), data, { recursive: true })
  const common = commonFlags(data, join(folder, 'tmp'))
  const port = await freePort()
  const flags = [`--port=${port}`, '--bind-address=127.0.0.1', `--socket=${join(folder, 's')}`]
  flags.push('--innodb-flush-log-at-trx-commit=2', '--skip-log-bin', ...(options.flags ?? []))
  const connectRoot = () => createConnection({ host: '127.0.0.1', port, user: 'root' })
  const server = await startServer('mariadbd', [...common, ...flags], {
    ready: async () => (await connectRoot()).end(),
  })
  t.teardown(() => server.stop())
  const root = await connectRoot()
  t.teardown(() => root.end())
  return {
    port,
    server,
    async query(sql) {
      const [rows] = await root.query(sql)
      return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : []
    },
  }
}

/** The files of an empty server are copied for each that starts: a small redo log is copied fast. */
const commonFlags = (data: string, temporary: string) => [
  '--no-defaults',
  `--tmpdir=${temporary}`,
  `--datadir=${data}`,
  '--innodb-log-file-size=16M',
  ...(process.getuid?.() ? [] : ['--user=root']),
]

const PREPARE = ['--auth-root-authentication-method=normal', '--skip-test-db']

/**
 * The data folder of a server that has never run. It is made once for each version of MariaDB; of
 * several processes that make it at the same time the first one's is kept.
 */
export async function prepareMariadb(): Promise<string> {
  const { stdout: version } = await run(findProgram('mariadbd') ?? 'mariadbd', ['--version'])
  const made = JSON.stringify([version, process.getuid?.(), PREPARE, commonFlags('', '')])
  const kept = join(MARIADB_FOLDER, createHash('sha256').update(made).digest('hex').slice(0, 16))
  if (existsSync(kept)) return kept
  await mkdir(MARIADB_FOLDER, { recursive: true })
  const own = await mkdtemp(join(MARIADB_FOLDER, 'new-'))
  try {
    const [data, temporary] = [join(own, 'data'), join(own, 'tmp')]
    // What it takes for leftovers in /tmp, it removes: another server's tables.
    await mkdir(temporary)
    await run('mariadb-install-db', [...commonFlags(data, temporary), ...PREPARE])
    await rename(data, kept).catch((error: unknown) => {
      if (!existsSync(kept)) throw error
    })
  } finally {
    await rm(own, { recursive: true, force: true })
  }
  return kept
}
