import { join } from 'node:path'
import Libsql from 'libsql'
import { createConnection } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { hashOfAudit } from '../../../src/ledger/audit-chain.ts'
import type { AuditRecord, Ledger } from '../../../src/ledger/ledger.ts'
import { median } from '../../../src/ledger/measures.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { startMariadb } from '../../support/servers/mariadb.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { act } from '../conformance/audit-log.ts'
import { buildWorkers } from './workers.ts'

const { race, startWorker } = buildWorkers(t)

/** A database, as its administrator reaches it. */
interface Raw {
  url: string
  run(sql: string): Promise<unknown>
  /** Takes the guards and the unique keys away, as an administrator can. */
  unguard(): Promise<void>
}

t.test('SQLite', (t) =>
  suite(t, async (t, name) => {
    const file = join(t.testdirName, `${name}.db`)
    t.testdir({})
    await (await openLedger(file)).close()
    const db = new Libsql(file)
    t.teardown(() => db.close())
    const names = (type: string) =>
      db
        .prepare('select name from sqlite_master where type = ? and sql is not null')
        .all(type)
        .map((row) => (row as { name: string }).name)
    return {
      url: `sqlite:${file}`,
      run: async (sql) => db.exec(sql),
      async unguard() {
        for (const trigger of names('trigger')) db.exec(`drop trigger ${trigger}`)
        // SQLite keeps the unique key in the table itself.
        db.exec('create table copy as select * from audit_log; drop table audit_log;')
        db.exec('alter table copy rename to audit_log')
      },
    }
  }),
)

t.test('MariaDB', missingProgram('mariadbd') ? { skip: missingProgram('mariadbd') } : {}, (t) =>
  startMariadb(t, { flags: ['--innodb-flush-log-at-trx-commit=1'] }).then((server) =>
    suite(t, async (t, name) => {
      await server.query(`create database ${name}`)
      await server.query(`create user '${name}'@'%' identified by 's'`)
      await server.query(`grant all on ${name}.* to '${name}'@'%'`)
      const url = `mysql://${name}:s@127.0.0.1:${server.port}/${name}`
      await (await openLedger(url)).close()
      const sql = await createConnection({ uri: url, multipleStatements: true })
      t.teardown(() => sql.end())
      return {
        url,
        run: (text) => sql.query(text),
        async unguard() {
          const [triggers] = await sql.query('show triggers')
          for (const { Trigger } of triggers as { Trigger: string }[]) {
            await sql.query(`drop trigger ${Trigger}`)
          }
          await sql.query(
            'alter table audit_log drop primary key, drop key audit_log_prev, modify number bigint',
          )
        },
      }
    }),
  ),
)

async function suite(t: Test, fresh: (t: Test, name: string) => Promise<Raw>): Promise<void> {
  await t.test('processes that append at once write one chain', async (t) => {
    const raw = await fresh(t, 'many')
    const took = await race<number[]>(t, raw.url, 'audit', [150, 150, 150, 150])
    const ledger = await openLedger(raw.url)
    t.teardown(() => ledger.close())
    t.match(await ledger.verifyAudit(), { intact: true, count: 600 })
    const [alone = []] = await race<number[]>(t, raw.url, 'audit', [300])
    const [middle, together] = [alone, took.flat()].map((all) => median(all)?.toFixed(2))
    t.comment(`an append: ${middle} ms alone, ${together} ms with four processes (median)`)
    t.match(await ledger.verifyAudit(), { intact: true, count: 900 })
  })

  await t.test('a process that is killed while it appends leaves a whole chain', async (t) => {
    const raw = await fresh(t, 'killed')
    const ledger = await openLedger(raw.url)
    t.teardown(() => ledger.close())
    for (const after of [30, 60, 90]) {
      const worker = startWorker(t, raw.url, 'audit', 100_000)
      worker.result.catch(() => {})
      await worker.ready
      worker.go()
      const { number } = await ledger.auditHead()
      while ((await ledger.auditHead()).number < number + after) await ledger.recordAudit(act())
      worker.kill()
      await worker.exit
      t.match(await ledger.verifyAudit(), { intact: true })
    }
    await ledger.recordAudit(act())
  })

  await t.test('what is written cannot be changed by any account', async (t) => {
    const raw = await fresh(t, 'guarded')
    const ledger = await openLedger(raw.url)
    t.teardown(() => ledger.close())
    await fill(ledger, 3)
    const by = { subject: 'admin', via: 'cli' } as const
    const scope = { verbs: ['view'], apps: ['webapi'], envs: ['test'] }
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString()
    const hash = 'a'.repeat(64)
    await ledger.recordToken({ name: 'jenkins', hash, scope, expiresAt }, by)
    await ledger.revokeToken('jenkins', by)
    for (const sql of [
      "update audit_log set reason = 'x' where number = 2",
      'update audit_log set number = 9 where number = 5',
      'delete from audit_log where number = 5',
      'delete from audit_log',
      'insert into audit_log (number, at, subject, via, verb, decision, prev, hash) ' +
        "values (6, 'x', 'x', 'cli', 'x', 'allowed', 'x', 'x')",
      'insert into audit_log (number, at, subject, via, verb, decision, prev, hash) ' +
        "select 7, at, subject, via, verb, decision, hash, 'x' from audit_log where number = 5",
      'update audit_head set number = 4',
      "update audit_head set hash = 'x'",
      "update audit_head set number = 6, hash = 'x'",
      'delete from audit_head',
      "update api_tokens set expires_at = '2099-01-01T00:00:00.000Z'",
      `update api_tokens set verbs = '["admin"]'`,
      'update api_tokens set revoked_at = null, revoked_by = null',
      "update api_tokens set token_hash = 'x'",
      'delete from api_tokens',
      'insert into api_tokens select 1, name, number, verbs, apps, environments, created_by, ' +
        'created_at, expires_at, null, null, null, null from api_tokens',
    ]) {
      await t.rejects(raw.run(sql), /audit log|one before it|token is|what a token may|head/, sql)
    }
    t.match(await ledger.verifyAudit(), { intact: true, count: 5 })
    t.match(await ledger.tokens(), [{ state: 'revoked', scope }])
  })

  await t.test('the first record that is not as it was written is named', async (t) => {
    const raw = await fresh(t, 'tampered')
    const ledger = await openLedger(raw.url)
    t.teardown(() => ledger.close())
    // More than two pages.
    await fill(ledger, 1010)
    const heads = await ledger.audits({ after: 0, limit: 2000 })
    await raw.unguard()
    t.match(await ledger.verifyAudit(), { intact: true, count: 1010 })
    await raw.run('create table whole as select * from audit_log')
    await raw.run('create table head as select * from audit_head')
    for (const [what, sql, verdict, options] of attacks(heads)) {
      for (const statement of sql) await raw.run(statement)
      const found = await ledger.verifyAudit(options)
      t.match(found, { intact: false, ...verdict }, what)
      await raw.run('delete from audit_log')
      await raw.run('insert into audit_log select * from whole')
      await raw.run('delete from audit_head')
      await raw.run('insert into audit_head select * from head')
    }
    t.match(await ledger.verifyAudit({ head: heads[500]?.hash }), { intact: true })
  })
}

async function fill(ledger: Ledger, count: number): Promise<void> {
  for (let i = 1; i <= count; i++) await ledger.recordAudit(act({ run: `run-${i}` }))
}

type Attack = [
  what: string,
  sql: string[],
  verdict: { problem: string; number: number | undefined },
  options?: { head: string | undefined },
]

/** `records` are those there are, from number 1 on. */
function attacks(records: readonly AuditRecord[]): Attack[] {
  const at = (number: number) => records[number - 1] as AuditRecord
  const shift = (from: number, by: string) =>
    `update audit_log set number = number ${by} where number >= ${from}`
  const copy = (from: number, to: number, more: string, prev: string, hash: string) =>
    `insert into audit_log (number, at, subject, via, verb, app, environment, object, decision, run, prev, hash)
     select ${to}, at, subject, via, verb, app, environment, ${more}, decision, run, '${prev}', '${hash}'
     from audit_log where number = ${from}`
  /** A record that is whole by itself, chained to the one before it. */
  const forged = (number: number, prev: string, run = 'run-x') =>
    hashOfAudit({ ...at(number), number, prev, run })
  const insert = (number: number, prev: string) => {
    const { at: time, subject, via, verb, object, decision } = at(number)
    return `insert into audit_log (number, at, subject, via, verb, app, environment, object, decision, run, prev, hash)
      values (${number}, '${time}', '${subject}', '${via}', '${verb}', '${object.app}',
      '${object.environment}', '${object.text}', '${decision}', 'run-x', '${prev}', '${forged(number, prev)}')`
  }
  const last = records.length
  const fields = [
    'at',
    'subject',
    'via',
    'verb',
    'app',
    'environment',
    'object',
    'decision',
    'rule',
  ]
  const all = [...fields, 'reason', 'plan', 'run', 'request', 'address', 'hash', 'prev']
  return [
    ...all.map(
      (field): Attack => [
        `${field} is changed`,
        [`update audit_log set ${field} = 'x' where number = 700`],
        { problem: 'changed', number: 700 },
      ],
    ),
    [
      'a field becomes another',
      ['update audit_log set rule = run, run = null where number = 2'],
      { problem: 'changed', number: 2 },
    ],
    [
      'the first is changed',
      ["update audit_log set decision = 'refused' where number = 1"],
      { problem: 'changed', number: 1 },
    ],
    [
      'one is changed, and its hash made to fit',
      ['delete from audit_log where number = 800', insert(800, at(799).hash)],
      { problem: 'changed', number: 800 },
    ],
    [
      'one is removed',
      ['delete from audit_log where number = 3'],
      { problem: 'removed', number: 3 },
    ],
    [
      'the first is removed',
      ['delete from audit_log where number = 1'],
      { problem: 'removed', number: 1 },
    ],
    [
      'one is removed, and the others close up',
      ['delete from audit_log where number = 600', shift(601, '- 1')],
      { problem: 'removed', number: 600 },
    ],
    [
      'a page is removed',
      ['delete from audit_log where number between 500 and 1000'],
      { problem: 'removed', number: 500 },
    ],
    [
      'the end is cut off',
      [`delete from audit_log where number > ${last - 5}`],
      { problem: 'removed', number: last - 4 },
    ],
    ['all is removed', ['delete from audit_log'], { problem: 'removed', number: 1 }],
    [
      'the end is cut off, and the head set back',
      [
        `delete from audit_log where number > ${last - 5}`,
        `update audit_head set number = ${last - 5}, hash = '${at(last - 5).hash}'`,
      ],
      { problem: 'head', number: undefined },
      { head: at(last).hash },
    ],
    [
      'a record is put in between',
      [shift(400, '+ 1'), insert(400, at(399).hash)],
      { problem: 'inserted', number: 400 },
    ],
    [
      'a copy is put in between',
      [shift(401, '+ 1'), copy(400, 401, 'object', at(399).hash, at(400).hash)],
      { problem: 'inserted', number: 401 },
    ],
    [
      'a record is put before the first',
      [
        `insert into audit_log (number, at, subject, via, verb, decision, prev, hash)
        values (0, 'x', 'x', 'cli', 'x', 'allowed', 'x', 'x')`,
      ],
      { problem: 'inserted', number: 0 },
    ],
    [
      'a record is added after the head',
      [
        `insert into audit_log (number, at, subject, via, verb, app, environment, object, decision, run, prev, hash)
        select ${last + 1}, at, subject, via, verb, app, environment, object, decision, run, '${at(last).hash}',
        '${hashOfAudit({ ...at(last), number: last + 1, prev: at(last).hash })}' from audit_log where number = ${last}`,
      ],
      { problem: 'inserted', number: last + 1 },
    ],
    [
      'two are exchanged',
      [
        'update audit_log set number = -1 where number = 20',
        'update audit_log set number = 20 where number = 30',
        'update audit_log set number = 30 where number = -1',
      ],
      { problem: 'reordered', number: 20 },
    ],
    [
      'one is moved back',
      [
        'update audit_log set number = -1 where number = 20',
        'update audit_log set number = number - 1 where number between 21 and 30',
        'update audit_log set number = 30 where number = -1',
      ],
      { problem: 'reordered', number: 20 },
    ],
    [
      'the chain goes on from an older record, as of a copied database',
      [`delete from audit_log where number = ${last}`, insert(last, at(last - 2).hash)],
      { problem: 'changed', number: last - 1 },
    ],
    [
      'the end is written anew, with its head',
      [
        `delete from audit_log where number = ${last}`,
        insert(last, at(last - 1).hash),
        `update audit_head set hash = '${forged(last, at(last - 1).hash)}'`,
      ],
      { problem: 'head', number: undefined },
      { head: at(last).hash },
    ],
  ]
}
