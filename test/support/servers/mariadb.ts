import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import type { Test } from 'tap'
import { run } from '../../../src/core/process/process.ts'
import { freePort } from './ports.ts'
import { type RunningServer, serverFolder, startServer } from './server.ts'

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
  const common = [
    '--no-defaults',
    `--tmpdir=${join(folder, 'tmp')}`,
    `--datadir=${join(folder, 'data')}`,
    ...(process.getuid?.() ? [] : ['--user=root']),
  ]
  const prepare = ['--auth-root-authentication-method=normal', '--skip-test-db']
  await run('mariadb-install-db', [...common, ...prepare])
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
    ...{ port, server },
    async query(sql) {
      const [rows] = await root.query(sql)
      return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : []
    },
  }
}
