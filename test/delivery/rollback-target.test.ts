import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SCAN } from '../../src/core/scanner.ts'
import { findRollbackTarget } from '../../src/delivery/rollback-target.ts'
import { openSqliteLedger } from '../../src/ledger/database/sqlite.ts'
import { digestOf, ended, outcome, release, start } from '../ledger/conformance/samples.ts'
import { temporaryFolder } from '../support/temporary.ts'

async function createHistory(t: Test) {
  const folder = await temporaryFolder(t)
  let time = Date.parse('2026-05-01T12:00:00.000Z')
  const now = () => ++time
  const ledger = await openSqliteLedger(join(folder, 'ledger.db'), { now })
  t.teardown(() => ledger.close())
  const put = async (version: string, configRevision = digestOf('config')) => {
    await ledger.recordRelease(release(version))
    const { id } = await start(ledger, release(version), 'test', { configRevision })
    const finishedAt = new Date(now()).toISOString()
    return ledger.endDeployment(id, { ...ended('succeeded', [outcome('app-01')]), finishedAt })
  }
  const mark = (version: string, reason: string, identity = 'unverified') =>
    ledger.mark({
      ...{ app: 'webapi', environment: 'test', version, bad: true },
      ...{ by: 'li', identity, reason },
    })
  const back = async (to?: string) => {
    const current = await ledger.currentDeployment('webapi', 'test')
    if (current === undefined) throw new Error('nothing runs')
    return findRollbackTarget(current, to ? { app: 'webapi', version: to } : undefined, ledger)
  }
  return { put, mark, back }
}

t.test('a rollback names each release that it skips once, with its mark', async (t) => {
  const { put, mark, back } = await createHistory(t)
  for (const version of ['1.0.0', '1.1.0', '1.2.0', '1.1.0', '1.3.0']) await put(version)
  t.match(await back(), { deployment: { version: '1.1.0' }, skipped: [] })
  await mark('1.1.0', 'orders fail')
  await mark('1.2.0', 'the search is empty')
  const { deployment, skipped } = await back()
  t.equal(deployment.version, '1.0.0')
  t.strictSame(
    skipped.map(({ version, by, reason }) => [version, by, reason]),
    [
      ['1.1.0', 'li', 'orders fail'],
      ['1.2.0', 'li', 'the search is empty'],
    ],
  )
  t.match(await back('1.0.0'), { deployment: { version: '1.0.0' } })
  t.strictSame((await back('1.2.0')).skipped, [], 'what is asked for skips nothing')
})

t.test('where all are marked bad, the error names them and the way to force one', async (t) => {
  const { put, mark, back } = await createHistory(t)
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await put(version)
  await mark('1.0.0', 'CVE-2026-1', SCAN)
  await mark('1.1.0', 'orders fail')
  await t.rejects(back(), {
    code: 'NOT_FOUND',
    message:
      /^no good release but 1\.2\.0 ever ran in test\nwebapi@1\.1\.0 is marked bad by li since 2026-\S+ orders fail\nwebapi@1\.0\.0 is marked bad/,
    hint: '`crosscloud rollback --env test --reason "…" --to webapi@1.1.0 --force` goes back to it all the same.',
  })
})

t.test('a way back names all that the command needs', async (t) => {
  const { put, back } = await createHistory(t)
  await put('1.0.0', digestOf('other config'))
  await put('1.0.0')
  await t.rejects(back(), {
    code: 'NOT_FOUND',
    hint: 'To bring back its config of before: `crosscloud rollback --env test --reason "…" --to webapi@1.0.0`.',
  })
  await t.rejects(back('9.9.9'), { message: 'webapi@9.9.9 never ran in test' })
})
