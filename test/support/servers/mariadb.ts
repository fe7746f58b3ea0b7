import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { cp, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createConnection } from 'mysql2/promise'
import type { Test } from 'tap'
import { run } from '../../../src/core/process/process.ts'
import { MARIADB_FOLDER } from '../folders.ts'
import { freePort } from './ports.ts'
import {
  findProgram,
  missingProgram,
  type RunningServer,
  serverFolder,
  startServer,
} from './server.ts'

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
  const prepared = await prepareMariadbData()
  const { folder, remove } = await serverFolder('mariadb')
  t.teardown(remove)
  const data = join(folder, 'data')
  await cp(prepared, data, { recursive: true, mode: constants.COPYFILE_FICLONE })
  // A server that starts removes what it takes for leftovers in /tmp: another server's tables.
  await mkdir(join(folder, 'tmp'))
  const common = [...commonFlags, `--tmpdir=${join(folder, 'tmp')}`, `--datadir=${data}`]
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

/** How the data is made, and how a server of it must be started. */
const commonFlags = [
  '--no-defaults',
  // The redo log is most of the data: 96 MB by default.
  '--innodb-log-file-size=4M',
  ...(process.getuid?.() ? [] : ['--user=root']),
]

const installFlags = ['--auth-root-authentication-method=normal', '--skip-test-db']

/** A data folder as a new server has it, kept: it takes seconds to make one. To be copied, not used. */
export async function prepareMariadbData(): Promise<string> {
  const program = findProgram('mariadbd')
  if (program === undefined) throw new Error(String(missingProgram('mariadbd')))
  const { stdout: version } = await run(program, ['--no-defaults', '--version'])
  const key = createHash('sha256').update([version, ...commonFlags, ...installFlags].join('\n'))
  const kept = join(MARIADB_FOLDER, key.digest('hex').slice(0, 16))
  if (await exists(kept)) return kept
  const { folder, remove } = await serverFolder('mariadb')
  try {
    const data = join(folder, 'data')
    // A server that starts removes what it takes for leftovers in /tmp: another server's tables.
    await mkdir(join(folder, 'tmp'))
    const paths = [`--tmpdir=${join(folder, 'tmp')}`, `--datadir=${data}`]
    await run('mariadb-install-db', [...commonFlags, ...paths, ...installFlags])
    await keepWhole(data, kept)
  } finally {
    await remove()
  }
  return kept
}

/** Another test may make the same at the same time: the first one's is kept. */
async function keepWhole(data: string, kept: string): Promise<void> {
  await mkdir(dirname(kept), { recursive: true })
  const unfinished = await mkdtemp(`${kept}-`)
  try {
    await cp(data, unfinished, { recursive: true })
    await rename(unfinished, kept)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    if (!(await exists(kept))) throw error
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )
