import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Ledger } from '../../../src/ledger/ledger.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { runHere } from '../../support/program.ts'
import { startMariadb } from '../../support/servers/mariadb.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { kept, setOf, withheld } from '../conformance/config-changes.ts'
import {
  digestOf,
  ended,
  HOSTILE,
  MINUTE,
  outcome,
  release,
  start,
} from '../conformance/samples.ts'

t.test('a ledger moves from database to database, unchanged', async (t) => {
  const folder = await temporaryFolder(t)
  let files = 0
  const sqlite = async () => keep(t, await openLedger(join(folder, `${++files}.db`)))
  const first = await sqlite()
  await fill(first)
  const text = await exported(first)
  t.equal(text.trim().split('\n').length, 2 + sum((await first.facts()).rows))
  t.notMatch(text, '"table":"locks"')

  const second = await sqlite()
  const { rows } = await second.importRecords(lines(text))
  t.equal(rows, sum((await first.facts()).rows))
  t.equal(await exported(second), text, 'to the last byte')
  t.strictSame(await second.current(), await first.current())
  t.strictSame(await second.configChanges({ limit: 99 }), await first.configChanges({ limit: 99 }))
  t.equal(await second.nextVersion('webapi'), await first.nextVersion('webapi'))
  const token = async (ledger: Ledger) =>
    await ledger.lock('webapi', 'production', 'li', 'go on', MINUTE)
  t.match(await token(second), { token: (await token(first)).token })
  await t.rejects(second.importRecords(lines(text)), {
    code: 'CONFLICT',
    message: /the ledger has records already, of shop/,
  })

  await t.test(
    'nothing is lost by way of MySQL',
    { skip: missingProgram('mariadbd') },
    async (t) => {
      const server = await startMariadb(t)
      await server.query('create database ledger')
      await server.query("create user 'c'@'%' identified by 's'")
      await server.query("grant all on ledger.* to 'c'@'%'")
      const url = `mysql://c:s@127.0.0.1:${server.port}/ledger`
      const cwd = await temporaryFolder(t)
      await writeFile(
        join(cwd, 'crosscloud.yml'),
        `app: webapi\nledger: ${url}\nenvironments: {}\n`,
      )
      await writeFile(join(cwd, 'ledger.jsonl'), text)
      t.match(await runHere(['ledger', 'import', 'ledger.jsonl'], { cwd }), { code: 0 })
      const mysql = keep(t, await openLedger(url))
      const there = await exported(mysql)
      t.equal(there, text)
      const back = await sqlite()
      await back.importRecords(lines(there))
      t.equal(await exported(back), text)
    },
  )

  await t.test('a file that is not whole, or not ours, leaves nothing', async (t) => {
    const all = text.trimEnd().split('\n')
    const changed = all.map((line) => line.replace('fixes the search', 'fixes nothing'))
    const cases: [string, string[], RegExp][] = [
      ['nothing', [], /line 0 is the last one/],
      ['torn', all.slice(0, -1), /is the last one, and no closing line is there/],
      ['torn in a line', [...all.slice(0, 5), all[5]?.slice(0, 9) ?? ''], /line 6 is not JSON/],
      ['changed', changed, /does not fit what came before/],
      ['a row less', all.toSpliced(7, 1), /does not fit what came before/],
      ['more', [...all, all[3] ?? ''], /comes after the closing line/],
      ['another file', ['{"a":1}'], /line 1 is not the head of an exported ledger/],
      ['a strange table', [all[0] ?? '', '{"table":"locks","row":{}}'], /is of no table/],
      ['a strange row', [all[0] ?? '', '{"table":"marks","row":{"a":1}}'], /is no row of marks/],
      ['a newer one', [(all[0] ?? '').replace(/000\d/, '0009')], /the export has schema 0009-/],
    ]
    for (const [name, given, message] of cases) {
      const ledger = await sqlite()
      const error = ledger.importRecords(lines(given.join('\n')))
      await t.rejects(error, { code: 'INPUT_INVALID', message }, name)
      t.equal(sum((await ledger.facts()).rows), 8, `${name}: nothing was written`)
    }
  })
})

function keep(t: Test, ledger: Ledger): Ledger {
  t.teardown(() => ledger.close())
  return ledger
}

async function exported(ledger: Ledger): Promise<string> {
  let text = ''
  await ledger.exportRecords((line) => {
    text += line
  })
  return text
}

async function* lines(text: string) {
  if (text) yield* text.trimEnd().split('\n')
}

const sum = (rows: Record<string, number>) => Object.values(rows).reduce((a, b) => a + b, 0)

/** Something in every table, and more than a page of it. */
async function fill(ledger: Ledger): Promise<void> {
  await ledger.recordRelease(release('1.0.0', { app: 'shop', reason: HOSTILE }))
  for (let i = 0; i < 3; i++) await ledger.recordRelease(release(`1.0.${i}`, { reason: HOSTILE }))
  await ledger.recordRelease(release('1.0.3'))
  const place = { app: 'webapi', environment: 'test', version: '1.0.0' }
  await ledger.recordApproval({
    ...place,
    digest: release('1.0.0').digest,
    decision: 'approved',
    by: HOSTILE,
    groups: [HOSTILE],
    identity: 'unverified',
    reason: undefined,
  })
  await ledger.mark({ ...place, bad: true, by: 'li', reason: HOSTILE })
  for (let i = 0; i < 620; i++) {
    const { id } = await start(ledger, release(`1.0.${i % 3}`), i % 2 ? 'test' : 'staging', {
      reason: HOSTILE,
      lockToken: i + 1,
      approvals: i === 0 ? ['a1'] : [],
      hosts: [{ name: HOSTILE, address: 'unix:///x' }],
    })
    if (i === 619) continue
    const hosts = [outcome('app-01', { url: HOSTILE }), outcome(HOSTILE)]
    await ledger.endDeployment(id, ended(i % 5 ? 'succeeded' : 'failed', hosts))
  }
  await ledger.recordConfigRevision('r', HOSTILE)
  await ledger.recordConfigRevision(digestOf('x'), '')
  const changes = [
    { key: HOSTILE, before: withheld, after: kept(HOSTILE) },
    { key: '/nul', before: kept('a\0b'), after: kept('') },
  ]
  await ledger.recordConfigChange({ ...setOf(changes), request: 'r-1' })
  await ledger.lock('webapi', 'test', 'li', 'not kept', MINUTE)
}
