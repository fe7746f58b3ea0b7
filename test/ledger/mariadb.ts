import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection } from 'mysql2/promise'
import type { Test } from 'tap'
import { freePort } from '../support/free-port.ts'

/** Why no MariaDB can be started here, or false. */
export function noMariadb(): string | false {
  try {
    execFileSync('mariadbd', ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'mariadbd is not installed (Debian: mariadb-server)'
  }
}

export interface Mariadb {
  port: number
  /** Runs one statement as the administrator. */
  query(sql: string): Promise<void>
}

/** A server of its own on 127.0.0.1, in a temporary folder, ended with the test. */
export async function startMariadb(t: Test): Promise<Mariadb> {
  const folder = mkdtempSync(join(tmpdir(), 'crosscloud-mariadb-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const data = join(folder, 'data')
  const common = [
    '--no-defaults',
    `--datadir=${data}`,
    ...(process.getuid?.() ? [] : ['--user=root']),
  ]
  execFileSync(
    'mariadb-install-db',
    [...common, '--auth-root-authentication-method=normal', '--skip-test-db'],
    { stdio: 'ignore' },
  )
  const port = await freePort()
  const server = spawn(
    'mariadbd',
    [
      ...common,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      `--socket=${join(folder, 's')}`,
      '--innodb-flush-log-at-trx-commit=2',
      '--skip-log-bin',
    ],
    { stdio: 'ignore' },
  )
  t.teardown(async () => {
    const ended = server.exitCode === null && once(server, 'exit')
    server.kill('SIGTERM')
    await ended
  })
  const root = await connectRoot(port)
  t.teardown(() => root.end())
  return {
    port,
    async query(sql) {
      await root.query(sql)
    },
  }
}

async function connectRoot(port: number) {
  for (let tries = 0; ; tries++) {
    try {
      return await createConnection({ host: '127.0.0.1', port, user: 'root' })
    } catch (error) {
      if (tries > 100) throw error
      await sleep(100)
    }
  }
}
