import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openMysqlLedger } from '../../src/ledger/mysql.ts'
import { openLedger } from '../../src/ledger/open.ts'
import { missingProgram } from '../support/server.ts'
import { firstVersions, ledgerConformance } from './ledger-conformance.ts'
import { release } from './ledger-samples.ts'
import { startMariadb } from './mariadb.ts'

const skip = missingProgram('mariadbd')
t.test('MySQL', skip ? { skip } : {}, async (t) => {
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

  await t.test('a broken connection is replaced, and a gone server named', async (t) => {
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

  await t.test('faults are named, without the password', async (t) => {
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
