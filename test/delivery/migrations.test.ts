import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findCrossed } from '../../src/delivery/deployment/migrations.ts'
import { openSqliteLedger } from '../../src/ledger/database/sqlite.ts'
import type { EnvironmentSettings } from '../../src/settings.ts'
import { ended, outcome, release, start } from '../ledger/conformance/samples.ts'
import { temporaryFolder } from '../support/temporary.ts'

const place = { app: 'webapi', environment: 'test' }
const environment = { name: 'test' } as EnvironmentSettings

async function createHistory(t: Test) {
  const folder = await temporaryFolder(t)
  let time = Date.parse('2026-05-01T12:00:00.000Z')
  const now = () => ++time
  const ledger = await openSqliteLedger(join(folder, 'ledger.db'), { now })
  t.teardown(() => ledger.close())
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await ledger.recordRelease(release(version))
  interface Course {
    ran?: boolean
    fails?: boolean
    on?: string[]
  }
  const put = async (version: string, { ran, fails, on }: Course = {}) => {
    const { id } = await start(ledger, release(version), 'test')
    if (ran) {
      const who = { by: 'li', identity: 'unverified' }
      await ledger.recordEvent({ ...place, ...who, action: 'command', subject: id })
    }
    const hosts = (on ?? (fails ? [] : ['app-01'])).map((host) => outcome(host))
    const finishedAt = new Date(now()).toISOString()
    await ledger.endDeployment(id, { ...ended(fails ? 'failed' : 'succeeded', hosts), finishedAt })
    return id
  }
  const crossed = async (version: string) => {
    const found = await findCrossed({ release: release(version), environment }, ledger)
    return found.map(({ id }) => id)
  }
  return { put, crossed }
}

t.test('going back crosses the younger releases that have run a command since', async (t) => {
  const { put, crossed } = await createHistory(t)
  await put('1.0.0', { ran: true })
  t.same(await crossed('1.1.0'), [], 'going on crosses nothing')
  const second = await put('1.1.0', { ran: true })
  t.same(await crossed('1.0.0'), [second])
  const third = await put('1.2.0', { ran: true })
  t.same(await crossed('1.0.0'), [second, third])
  t.same(await crossed('1.1.0'), [third])
  t.same(await crossed('1.2.0'), [], 'what runs')
  await put('1.0.0')
  t.same(await crossed('1.0.0'), [], 'it was meant once')
  t.same(await crossed('1.2.0'), [])
})

t.test('releases without a command are crossed freely', async (t) => {
  const { put, crossed } = await createHistory(t)
  await put('1.0.0', { ran: true })
  await put('1.1.0')
  t.same(await crossed('1.0.0'), [])
})

t.test('a command of a deployment that failed counts, but not for what still runs', async (t) => {
  const { put, crossed } = await createHistory(t)
  await put('1.0.0')
  await put('1.1.0')
  const failed = await put('1.2.0', { ran: true, fails: true })
  t.same(await crossed('1.1.0'), [], 'it may be deployed again')
  t.same(await crossed('1.0.0'), [failed])
  const partly = await put('1.2.0', { ran: true, fails: true, on: ['app-01'] })
  t.same(await crossed('1.1.0'), [partly], 'hosts run the younger release')
})
