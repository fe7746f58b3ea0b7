import { join } from 'node:path'
import Libsql from 'libsql'
import t from 'tap'
import { openLedger } from '../../../src/ledger/open.ts'
import { absent, kept, setOf } from '../conformance/config-changes.ts'
import { digestOf, release, start } from '../conformance/samples.ts'
import { bringsUpToDate, releasedLedgers } from './released-ledgers.ts'

/** The schema as each migration leaves it; a released one's digest never changes. */
const SCHEMAS: Record<string, string> = {
  '0001-first': 'sha256:493cba58e8fc361e974c0b830243197c7c968dcb668f982fdf8c72dc25031b8b',
  '0002-config-changes': 'sha256:1a636b402b595e6a45eacfda5121289da17811668bfe3b987754eb7c5c7ff751',
  '0003-deployment-life': 'sha256:f26b1ebb24b4a87175ff18bf4298258aae4786e3b383c4ff1ecff7ddfbd170b8',
  '0004-trust': 'sha256:289765c10ad7bc4228738aadfa2daa9baa4181b30712d409482b735bd0adaf7a',
  '0005-audit': 'sha256:c98b1fed413389dac041bcaa6cf4eb00e2ded16e9ce28897659a2448936a6b1a',
}
const NEWEST = Object.keys(SCHEMAS).at(-1) ?? ''

function schemaOf(db: Libsql.Database): string {
  const rows = db.prepare('select sql from sqlite_master where sql is not null order by name').all()
  return rows.map((row) => (row as { sql: string }).sql).join('\n')
}

t.test('the released schemas are never edited, and brought up to date', async (t) => {
  const at = (name: string) => join(t.testdirName, name)
  t.testdir({})
  await (await openLedger(at('new.db'))).close()
  const fresh = new Libsql(at('new.db'))
  t.teardown(() => fresh.close())
  t.equal(digestOf(schemaOf(fresh)), SCHEMAS[NEWEST], 'write a new migration instead')
  const released = releasedLedgers('sqlite')
  t.same([...released.map(({ schema }) => schema), NEWEST], Object.keys(SCHEMAS))
  for (const { schema, sql } of released) {
    await t.test(schema, async (t) => {
      const old = new Libsql(at(`${schema}.db`))
      t.teardown(() => old.close())
      old.exec(sql)
      t.equal(digestOf(schemaOf(old)), SCHEMAS[schema], 'as it was released')
      await bringsUpToDate(t, at(`${schema}.db`))
      t.equal(schemaOf(old), schemaOf(fresh))
    })
  }
})

t.test('a number is taken from its counter', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const ledger = await openLedger(file)
  const db = new Libsql(file)
  t.teardown(() => Promise.all([ledger.close(), db.close()]))
  const made = release('1.0.0')
  const place = { app: 'webapi', environment: 'test', version: '1.0.0' }
  const person = { by: 'li', identity: 'x', reason: 'x' }
  await ledger.recordRelease(made)
  await start(ledger, made, 'test')
  await ledger.mark({ ...place, ...person, bad: true })
  await ledger.recordEvent({ ...place, ...person, action: 'hosts stop' })
  const decision = 'approved' as const
  await ledger.recordApproval({ ...place, ...person, decision, digest: made.digest, groups: [] })
  await ledger.recordConfigChange(setOf([{ key: '/a', before: absent, after: kept('b') }]))
  for (const [table, others] of [
    ['marks', ''],
    ['audit_events', ''],
    ['approvals', ''],
    ['config_changes', ''],
    ['deployments', ", id = 'd9'"],
    ['releases', ", version = '9.9.9'"],
  ] as const) {
    // The row again, with another number.
    const copy = (number: number) =>
      db.exec(`create temp table copy as select * from ${table} limit 1;
        update copy set number = ${number}${others};
        insert into ${table} select * from copy`)
    t.throws(() => copy(1_000_000), /a number is taken from its counter/, table)
    db.exec('drop table copy; update counters set value = 2')
    t.doesNotThrow(() => copy(2), table)
    db.exec('drop table copy')
  }
  await ledger.mark({ ...place, ...person, bad: true })
  t.match(await ledger.findMark('webapi', 'test', '1.0.0'), { bad: true })
})

t.test('a config change is recorded whole or not at all', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const ledger = await openLedger(file)
  const other = new Libsql(file)
  t.teardown(() => Promise.all([ledger.close(), other.close()]))
  other.exec(`create trigger fail before insert on config_change_keys when new.position = 1500
    begin select raise(abort, 'no'); end`)
  const keys = Array.from({ length: 1600 }, (_, i) => `/webapi/${i}`)
  const changes = keys.map((key) => ({ key, before: absent, after: kept(key) }))
  await t.rejects(ledger.recordConfigChange(setOf(changes)))
  t.same(await ledger.configChanges({ limit: 10 }), [])
  t.same(other.prepare('select * from config_change_keys').all(), [])
  other.exec('drop trigger fail')
  t.match(await ledger.recordConfigChange(setOf(changes)), { id: 'c1' })
})

t.test('queries of the history use an index', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const ledger = await openLedger(file)
  t.teardown(() => ledger.close())
  await ledger.recordRelease(release('1.0.0'))
  const db = new Libsql(file)
  t.teardown(() => db.close())
  db.exec(`
    update counters set value = 30000 where name = 'deployment';
    insert into deployments (id, number, app, environment, version, digest, config_revision,
      started_by, state, started_at, verified)
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
    select 'x' || i, i, 'webapi', 'e' || (i % 5), '1.0.0', '', '', 'li',
      case when i % 3 then 'succeeded' else 'failed' end, '', 1 from n;
    insert into current_deployments
    select app, environment, max(number) from deployments
    where state = 'succeeded' group by app, environment`)
  const timed = async (what: string, query: () => Promise<unknown[]>, rows: number) => {
    const begin = performance.now()
    t.equal((await query()).length, rows, what)
    const took = performance.now() - begin
    t.ok(took < 250, `${what}: ${took.toFixed(1)} ms of 30000 deployments`)
  }
  await timed('current', () => ledger.current(), 5)
  await timed('current of one', () => ledger.current('webapi'), 5)
  await timed('newest', () => ledger.deployments({ limit: 20 }), 20)
  await timed('none', () => ledger.deployments({ app: 'nobody', limit: 20 }), 0)
  const environment = { environment: 'e1', state: 'failed', limit: 20 } as const
  await timed('one environment', () => ledger.deployments(environment), 20)
})

t.test('queries of config changes use an index', async (t) => {
  const file = join(t.testdir(), 'ledger.db')
  const ledger = await openLedger(file)
  const db = new Libsql(file)
  t.teardown(() => Promise.all([ledger.close(), db.close()]))
  await ledger.nextVersion('webapi')
  const hash = (key: string) => digestOf(key).slice('sha256:'.length)
  db.exec(`
    update counters set value = 30000 where name = 'config-change';
    insert into config_changes (number, app, environment, changed_by, changed_at)
    with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
    select i, 'webapi', case when i % 5 then 'test' else 'staging' end, 'li', '' from n;
    insert into config_change_keys
    select number, 0, '/k', case when number % 1000 = 7 then '${hash('/k')}' else number end,
      'absent', null, 'kept', 'v' from config_changes`)
  const place = { app: 'webapi', environment: 'test' }
  for (const [query, count] of [
    [{ ...place, limit: 20 }, 20],
    [{ ...place, key: '/k', limit: 20 }, 20],
    [{ ...place, key: '/none', limit: 20 }, 0],
    [{ ...place, after: 'c29990', limit: 100 }, 8],
    [{ app: 'nobody', limit: 20 }, 0],
    [{ limit: 10_000 }, 10_000],
  ] as const) {
    const begin = performance.now()
    t.equal((await ledger.configChanges(query)).length, count, JSON.stringify(query))
    const took = performance.now() - begin
    if (count <= 100) t.ok(took < 100, `${took.toFixed(1)} ms of 30000 sets`)
  }
})
