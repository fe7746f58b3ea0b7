import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection } from 'mysql2/promise'
import t from 'tap'
import { openMysqlLedger } from '../../../src/ledger/database/mysql.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { startMariadb } from '../../support/servers/mariadb.ts'
import { startCuttingProxy } from '../../support/servers/proxies/cutting-proxy.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { absent, kept, setOf } from '../conformance/config-changes.ts'
import { firstVersions, ledgerConformance } from '../conformance/ledger.ts'
import { release } from '../conformance/samples.ts'
import { bringsUpToDate, releasedLedgers } from './released-ledgers.ts'

const skip = missingProgram('mariadbd')
t.test('MySQL is a ledger as every other', skip ? { skip } : {}, async (t) => {
  const server = await startMariadb(t)
  await server.query(`create user 'c c'@'%' identified by 'p@:/ss'`)
  let databases = 0
  const newDatabase = async () => {
    const database = `ledger_${++databases}`
    // The worst default there is for our keys, and it must not matter.
    await server.query(`create database ${database} character set latin1`)
    await server.query(`grant all on ${database}.* to 'c c'@'%'`)
    return `mysql://c%20c:p%40%3A%2Fss@127.0.0.1:${server.port}/${database}`
  }

  await ledgerConformance(t, 'mysql', async () => {
    const url = await newDatabase()
    return (options) => openMysqlLedger(url, options)
  })

  await t.test('many open an empty database at once and allot 100 versions', async (t) => {
    const url = await newDatabase()
    const ledgers = await Promise.all(Array.from({ length: 8 }, () => openLedger(url)))
    t.teardown(() => Promise.all(ledgers.map((ledger) => ledger.close())))
    const calls = Array.from({ length: 100 }, (_, i) => ledgers[i % 8]?.nextVersion('webapi'))
    t.same((await Promise.all(calls)).sort(), firstVersions(100))
  })

  const tablesOf = async (database: string) => {
    const tables = await server.query(`show full tables from ${database}`)
    const names = tables.map((row) => String(Object.values(row)[0])).sort()
    const created = names.map((name) => server.query(`show create table ${database}.${name}`))
    return (await Promise.all(created)).map(([row]) => row)
  }
  for (const { schema, sql } of releasedLedgers('mysql')) {
    await t.test(`a ledger of ${schema} is brought up to date`, async (t) => {
      const fresh = await newDatabase()
      await (await openLedger(fresh)).close()
      const newest = await tablesOf(`ledger_${databases}`)
      const url = await newDatabase()
      const database = `ledger_${databases}`
      const loader = await createConnection({ uri: url, multipleStatements: true })
      await loader.query(sql)
      await loader.end()
      await bringsUpToDate(t, url)
      t.same(await tablesOf(database), newest, 'and is like a new one')
    })
  }

  await t.test('migrations that were cut off at any statement are run again', async (t) => {
    const fresh = await newDatabase()
    const proxy = await startCuttingProxy(t, server.port)
    const through = (url: string) => url.replace(/:\d+\//, `:${proxy.port}/`)
    proxy.arm(0)
    await (await openLedger(through(fresh))).close()
    const newest = await tablesOf(`ledger_${databases}`)
    const statements = [...proxy.statements()]
    t.ok(statements.length > 60, `${statements.length} statements`)
    for (let at = 1; at <= statements.length; at++) {
      const url = await newDatabase()
      proxy.arm(at, at % 2 ? 'after' : 'before')
      const cut = await openLedger(through(url)).catch(() => undefined)
      await cut?.close()
      await (await openLedger(url)).close()
      const database = `ledger_${databases}`
      t.same(await tablesOf(database), newest, `cut at ${at}: ${statements[at - 1]}`)
      t.equal((await server.query(`select * from ${database}.counters`)).length, 7)
      t.equal((await server.query(`select * from ${database}.facts`)).length, 1)
      await server.query(`drop database ${database}`)
    }
  })

  await t.test('a thousand keys are few inserts, and found by index', async (t) => {
    const ledger = await openLedger(await newDatabase())
    t.teardown(() => ledger.close())
    const database = `ledger_${databases}`
    const inserts = async () => {
      const [row] = await server.query(`show global status like 'Com_insert'`)
      return Number(row?.Value)
    }
    const before = await inserts()
    const keys = Array.from({ length: 1000 }, (_, i) => `/webapi/${i}`)
    const changes = keys.map((key) => ({ key, before: absent, after: kept(key) }))
    await ledger.recordConfigChange(setOf(changes))
    t.equal((await inserts()) - before, 3, 'the application, the set and its keys')

    await server.query(`update ${database}.counters set value = 30000 where name = 'config-change'`)
    await server.query(`insert into ${database}.config_changes
      select seq, 'webapi', if(seq % 5, 'test', 'staging'), 'li', null, '', null, null from ${database}.seq_2_to_30000`)
    await server.query(`insert into ${database}.config_change_keys
      select seq, 0, 'k', sha2(concat('/k/', seq % 1000), 256), 'absent', null, 'kept', 'v'
      from ${database}.seq_2_to_30000`)
    const place = { app: 'webapi', environment: 'test' }
    for (const [query, count] of [
      [{ ...place, limit: 20 }, 20],
      [{ ...place, key: '/webapi/7', limit: 20 }, 1],
      [{ ...place, key: '/k/7', limit: 20 }, 20],
      [{ ...place, after: 'c29990', limit: 100 }, 8],
      [{ app: 'nobody', limit: 20 }, 0],
    ] as const) {
      const begin = performance.now()
      t.equal((await ledger.configChanges(query)).length, count, JSON.stringify(query))
      const took = performance.now() - begin
      t.ok(took < 250, `${took.toFixed(1)} ms of 30000 sets`)
    }
  })

  await t.test('a broken connection is replaced, and a stopped server named', async (t) => {
    const url = await newDatabase()
    const ledger = await openLedger(url)
    t.teardown(() => ledger.close())
    t.equal(await ledger.nextVersion('webapi'), '1.0.0')
    await server.query(`kill user 'c c'`)
    t.equal(await ledger.nextVersion('webapi'), '1.0.1')

    await server.query(`lock tables ledger_${databases}.counters write`)
    const lost = { code: 'UNAVAILABLE', message: /does not answer: / }
    const refused = t.rejects(ledger.recordRelease(release('1.0.0')), lost)
    await sleep(300)
    await server.query(`kill user 'c c'`)
    await refused
    await server.query('unlock tables')
    await ledger.recordRelease(release('1.0.0'))
    t.strictSame(await ledger.findRelease('webapi', '1.0.0'), release('1.0.0'))
  })

  await t.test('errors are named, without the password', async (t) => {
    const url = await newDatabase()
    const ledger = await openLedger(url)
    t.equal(ledger.name, `mysql://127.0.0.1:${server.port}/ledger_${databases}`)
    await ledger.recordRelease(release('1.0.0'))
    await ledger.close()
    const cases: [string, string, RegExp][] = [
      [url.replace('p%40', 'secret'), 'UNAUTHORIZED', /refuses the user$/],
      [url.replace('ledger_', 'other_'), 'UNAUTHORIZED', /refuses the user$/],
      [url.replace(/:\d+\//, ':1/'), 'UNAVAILABLE', /does not answer: .*ECONNREFUSED/],
      [url.replace(/:\d+\/.*/, ':1'), 'INPUT_INVALID', /not the address of a MySQL database/],
      ['mysql://secret@', 'INPUT_INVALID', /not the address/],
    ]
    for (const [wrong, code, message] of cases) {
      const error = await openLedger(wrong).catch((error: unknown) => error)
      t.match(error, { code, message })
      t.notMatch(String(error), /secret|ss@/)
    }
    t.match(await openLedger('mysql://127.0.0.1/x').catch((error: unknown) => error), {
      hint: /mysql:\/\/user:password@host:3306\/database/,
    })
    const root = url.replace(/c%20c:[^@]*/, 'root')
    await t.rejects(openLedger(root.replace('ledger_', 'no_')), { code: 'NOT_FOUND' })
  })
})
