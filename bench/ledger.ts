import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import Libsql from 'libsql'
import { createConnection } from 'mysql2/promise'
import { table } from '../src/cli/output.ts'
import { StepError } from '../src/core/errors.ts'
import { run } from '../src/core/process/process.ts'
import type { Ledger } from '../src/ledger/ledger.ts'
import { openLedger } from '../src/ledger/open.ts'
import { freePort } from '../test/support/servers/ports.ts'
import { missingProgram, serverFolder, startServer } from '../test/support/servers/server.ts'
import { median, time } from './measure.ts'

const ROUNDS = 5
const DEPLOYMENTS = 1_000_000
const APPS = 500
const ENVIRONMENTS = ['test', 'staging', 'preview', 'production']
const RELEASES = 100
/** Three years. */
const SECONDS_BETWEEN = 94
const BEGIN = Date.parse('2023-11-23T00:00:00.000Z')
const END = BEGIN + DEPLOYMENTS * SECONDS_BETWEEN * 1000
const NINETY_DAYS = new Date(END - 90 * 24 * 3_600_000).toISOString()
const DIGEST = `sha256:${'0'.repeat(64)}`

interface Case {
  name: string
  /** Milliseconds: on MariaDB, on SQLite. */
  goals: readonly [number, number | undefined]
  query(ledger: Ledger): Promise<unknown[]>
}

const page = (query: object) => (ledger: Ledger) => ledger.deployments({ limit: 50, ...query })
const cases: readonly Case[] = [
  { name: 'status', goals: [100, 200], query: (ledger) => ledger.status() },
  { name: 'history', goals: [50, undefined], query: page({}) },
  { name: 'history --app', goals: [50, undefined], query: page({ app: 'app-7' }) },
  { name: 'history --env', goals: [50, undefined], query: page({ environment: 'production' }) },
  {
    name: 'history --app --env',
    goals: [50, undefined],
    query: page({ app: 'app-7', environment: 'production' }),
  },
  { name: 'history --by', goals: [50, undefined], query: page({ by: 'person-3' }) },
  { name: 'history --state failed', goals: [50, undefined], query: page({ state: 'failed' }) },
  {
    name: 'history --release',
    goals: [50, undefined],
    query: page({ app: 'app-7', version: '1.4.2' }),
  },
  { name: 'history --since', goals: [50, undefined], query: page({ since: NINETY_DAYS }) },
  { name: 'history --before', goals: [50, undefined], query: page({ before: 'd500000' }) },
  {
    name: 'report --since 90d',
    goals: [2000, undefined],
    query: (ledger) => ledger.deliveries({ since: NINETY_DAYS }),
  },
]

/** A million deployments of 500 applications: the queries that people wait for, on real databases. */
export async function benchLedger() {
  const missing = missingProgram('mariadbd')
  if (missing) throw new StepError('NOT_FOUND', `the bench ${missing}`)
  const { folder, remove } = await serverFolder('bench')
  try {
    const mariadb = await onMariadb(folder)
    const sqlite = await onSqlite(folder, mariadb.statements)
    return report(mariadb, sqlite)
  } finally {
    await remove()
  }
}

interface Measured {
  times: Map<string, { middle: number; rows: number }>
  /** `status: deployments by deployments_newest, 50 rows` */
  plans: string[]
  scans: string[]
}

async function measure(ledger: Ledger): Promise<Measured['times']> {
  const times: Measured['times'] = new Map()
  for (const { name, query } of cases) {
    const rounds: number[] = []
    let rows = 0
    for (let round = 0; round <= ROUNDS; round++) {
      const took = await time(async () => {
        rows = (await query(ledger)).length
      })
      // The first one fills the caches.
      if (round > 0) rounds.push(took)
    }
    times.set(name, { middle: median(rounds), rows })
  }
  return times
}

async function onMariadb(folder: string) {
  await mkdir(join(folder, 'tmp'))
  const own = [`--datadir=${join(folder, 'data')}`, `--tmpdir=${join(folder, 'tmp')}`]
  const data = ['--no-defaults', ...own, '--user=root']
  const prepare = ['--auth-root-authentication-method=normal', '--skip-test-db']
  await run('mariadb-install-db', [...data, ...prepare])
  const port = await freePort()
  const flags = [
    ...[`--port=${port}`, '--bind-address=127.0.0.1', `--socket=${join(folder, 's')}`],
    ...['--innodb-buffer-pool-size=1G', '--innodb-flush-log-at-trx-commit=0', '--skip-log-bin'],
  ]
  const connect = (database?: string) =>
    createConnection({ host: '127.0.0.1', port, user: 'root', ...(database && { database }) })
  const server = await startServer('mariadbd', [...data, ...flags], {
    ready: async () => (await connect()).end(),
  })
  try {
    const root = await connect()
    await root.query('create database ledger')
    await root.query("create user 'c'@'%' identified by 's'")
    await root.query("grant all on ledger.* to 'c'@'%'")
    const ledger = await openLedger(`mysql://c:s@127.0.0.1:${port}/ledger`)
    await root.query('use ledger')
    await root.query('set foreign_key_checks = 0, unique_checks = 0')
    // History is made up here: what guards it against being made up must not look.
    const [triggers] = await root.query(
      "select trigger_name as name from information_schema.triggers where trigger_schema = 'ledger'",
    )
    for (const { name } of triggers as { name: string }[]) await root.query(`drop trigger ${name}`)
    const numbers = (count: number) => `(select seq as i from seq_0_to_${count - 1}) as n`
    const moment = `date_format(date_add('2023-11-23', interval i * ${SECONDS_BETWEEN} second), '%Y-%m-%dT%H:%i:%s.000Z')`
    for (const sql of fillStatements(
      numbers,
      moment,
      (...parts) => `concat(${parts.join(', ')})`,
    )) {
      await root.query(sql)
    }
    await root.query('analyze table deployments, releases, current_deployments')
    const times = await measure(ledger)
    await root.query("set global log_output = 'TABLE', global general_log = 1")
    for (const { query } of cases) await query(ledger)
    await root.query('set global general_log = 0')
    const [log] = await root.query(
      "select convert(argument using utf8mb4) as sql_text from mysql.general_log where command_type = 'Query' and argument like 'select%from%'",
    )
    const statements = (log as { sql_text: string }[])
      .map(({ sql_text }) => sql_text)
      .filter((sql) => /`(deployments|releases|current_deployments|marks|locks)`/.test(sql))
    const plans: string[] = []
    const scans: string[] = []
    for (const statement of statements) {
      const [rows] = await root.query(`explain ${statement}`)
      for (const row of rows as Record<string, string | number | null>[]) {
        const line = `${row.table} by ${row.key ?? 'no index'} (${row.type}), ${row.rows} rows`
        plans.push(line)
        if (row.type === 'ALL' && Number(row.rows) > 10_000) scans.push(`${line}: ${statement}`)
      }
    }
    await ledger.close()
    await root.end()
    return { times, plans: [...new Set(plans)], scans, statements }
  } finally {
    await server.stop()
  }
}

async function onSqlite(folder: string, statements: readonly string[]): Promise<Measured> {
  const file = join(folder, 'ledger.db')
  const ledger = await openLedger(file)
  const db = new Libsql(file)
  try {
    db.exec('pragma foreign_keys = off; pragma synchronous = off')
    const triggers = db.prepare("select name from sqlite_master where type = 'trigger'").all()
    for (const { name } of triggers as { name: string }[]) db.exec(`drop trigger ${name}`)
    const numbers = (count: number) =>
      `(with recursive n(i) as (select 0 union all select i + 1 from n where i < ${count - 1}) select i from n) as n`
    const moment = `strftime('%Y-%m-%dT%H:%M:%S.000Z', '2023-11-23', (i * ${SECONDS_BETWEEN}) || ' seconds')`
    for (const sql of fillStatements(numbers, moment, (...parts) => parts.join(' || ')))
      db.exec(sql)
    db.exec('analyze')
    const times = await measure(ledger)
    const plans: string[] = []
    const scans: string[] = []
    for (const statement of statements) {
      const rows = db.prepare(`explain query plan ${statement}`).all() as { detail: string }[]
      for (const { detail } of rows) {
        plans.push(detail)
        if (/^SCAN (deployments|d|e|releases|ours|newer|deployment_hosts)( |$)/.test(detail)) {
          if (!detail.includes('USING')) scans.push(`${detail}: ${statement}`)
        }
      }
    }
    return { times, plans: [...new Set(plans)], scans }
  } finally {
    await ledger.close()
    db.close()
    await rm(file, { force: true })
  }
}

/** In every environment the releases come in order; each later environment is a release behind. */
function* fillStatements(
  numbers: (count: number) => string,
  moment: string,
  join: (...parts: string[]) => string,
) {
  const div = (a: string, b: number) =>
    `cast(floor(${a} / ${b}) as ${join('a', 'b').includes('concat') ? 'signed' : 'integer'})`
  const app = (n: string) => join("'app-'", n)
  const version = (n: string) => join("'1.'", div(n, 10), "'.'", `(${n} % 10)`)
  yield `insert into applications select ${app('i')}, '1.9.9', '' from ${numbers(APPS)}`
  const release = `i % ${APPS}`
  yield `insert into releases (app, version, number, digest, war_md5, war_sha256, war_size, repository,
      baked_by, baked_at, recorded_at, committed_at)
    select ${app(`(${release})`)}, ${version(div('i', APPS))}, i + 1, '${DIGEST}', '', '', 1, 'r', 'ci',
      ${moment}, '', null from ${numbers(APPS * RELEASES)}`
  const round = div('i', APPS)
  const rounds = DEPLOYMENTS / APPS
  const place = `(${round} % ${ENVIRONMENTS.length})`
  const environment = `case ${place} ${ENVIRONMENTS.map((name, n) => `when ${n} then '${name}'`).join(' ')} end`
  const number = `${div(round, rounds / RELEASES)}`
  const late = `(case when ${number} > ${place} then ${number} - ${place} else 0 end)`
  yield `insert into deployments (id, number, app, environment, version, digest, config_revision, started_by,
      state, started_at, finished_at, verified, lock_token)
    select ${join("'d'", '(i + 1)')}, i + 1, ${app(`(${release})`)}, ${environment}, ${version(late)}, '${DIGEST}', 'r',
      ${join("'person-'", '(i % 40)')}, case when i % 13 = 0 then 'failed' else 'succeeded' end, ${moment}, ${moment}, 1, i + 1
    from ${numbers(DEPLOYMENTS)}`
  yield `insert into deployment_hosts select id, 0, 'app-01', 'new', 'old', null, 1, 4000 from deployments`
  yield `insert into current_deployments select app, environment, max(number) from deployments
    where state = 'succeeded' group by app, environment`
}

function report(mariadb: Measured, sqlite: Measured) {
  const scans = [...mariadb.scans, ...sqlite.scans]
  const rows = cases.map(({ name, goals }) => {
    const measured = [mariadb, sqlite].flatMap(({ times }, index) => {
      const { middle, rows: count } = times.get(name) ?? { middle: Number.NaN, rows: 0 }
      const goal = goals[index]
      const verdict =
        goal === undefined ? '' : middle <= goal ? `≤ ${goal} met` : `≤ ${goal} NOT met`
      return index === 0 ? [`${count}`, middle.toFixed(1), verdict] : [middle.toFixed(1), verdict]
    })
    return [name, ...measured]
  })
  const lines = [
    `${DEPLOYMENTS} deployments of ${APPS} applications in ${ENVIRONMENTS.length} environments; milliseconds, median of ${ROUNDS}`,
    table(['', 'rows', 'MariaDB', 'goal', 'SQLite', 'goal'], rows),
    '',
    'MariaDB reads',
    ...mariadb.plans.map((line) => `  ${line}`),
    'SQLite reads',
    ...sqlite.plans.map((line) => `  ${line}`),
    '',
    scans.length === 0 ? 'No query scans a table whole.' : `FULL SCANS:\n${scans.join('\n')}`,
  ]
  if (scans.length > 0) process.exitCode = 1
  return { json: { rows, scans, plans: [mariadb.plans, sqlite.plans] }, text: lines.join('\n') }
}
