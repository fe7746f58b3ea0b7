import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { StepError } from '../../src/core/errors.ts'
import type { HeldLock } from '../../src/delivery/deployment/lock.ts'
import { withLock } from '../../src/delivery/deployment/lock.ts'
import { recordFailure, recordStart } from '../../src/delivery/deployment/record.ts'
import { digestOf, release } from '../ledger/conformance/samples.ts'
import { testContext } from '../support/context.ts'
import { listen } from '../support/setups/sandbox.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { until } from '../support/until.ts'

const place = { app: 'webapi', environment: 'test', reason: 'deploy', timeout: 0 }
const startOf = (lockToken: number) => ({
  app: 'webapi',
  version: '1.0.0',
  environment: 'test',
  by: 'li',
  reason: undefined,
  lockToken,
  digest: release('1.0.0').digest,
  configRevision: digestOf('config'),
  hosts: [],
})
const revision = { name: digestOf('config'), content: '{}' }

async function open(t: Test) {
  const folder = await temporaryFolder(t)
  await writeFile(join(folder, 'crosscloud.yml'), 'app: webapi\nledger: sqlite:ledger.db\n')
  const logged = listen()
  const context = testContext(t, folder, { log: logged.log })
  const ledger = await context.ledger()
  await ledger.recordRelease(release('1.0.0'))
  const newer = async () => {
    const held = await ledger.findLock('webapi', 'test')
    if (held) await ledger.unlock(held)
    return await ledger.lock('webapi', 'test', 'wang', 'deploy', 60_000)
  }
  return { context, ledger, newer, logged }
}

/** As a clock goes on while a process stands still. */
function standStill(t: Test, milliseconds: number): void {
  const { now } = Date
  Date.now = () => now() + milliseconds
  t.teardown(() => {
    Date.now = now
  })
}

await t.test(
  'a process that stood still checks with the ledger whether it has its lock',
  async (t) => {
    const { context, newer } = await open(t)
    await withLock(place, context, async (lock: HeldLock) => {
      await lock.check()
      await newer()
      await lock.check()
      standStill(t, 61_000)
      await t.rejects(lock.check(), {
        code: 'CONFLICT',
        message: /lost the lock of webapi in test/,
      })
    })
  },
)

await t.test('waiting deployments get the lock in the order in which they came', async (t) => {
  const { context, ledger } = await open(t)
  const held = await ledger.lock('webapi', 'test', 'wang', 'deploy', 60_000)
  const served: string[] = []
  const come = async (reason: string, { signal } = new AbortController()) => {
    const { log, text } = listen()
    const work = async () => served.push(reason)
    const request = { ...place, reason, timeout: 60_000 }
    const done = withLock(request, { ...context, log, signal }, work)
    done.catch(() => {})
    t.ok(await until(() => text().includes('waiting for it')), `${reason} waits`)
    return { done }
  }
  const cancelled = new AbortController()
  const gone = await come('cancelled', cancelled)
  const waiting = [await come('first'), await come('second')]
  cancelled.abort()
  await t.rejects(gone.done, { code: 'CANCELLED' })
  await ledger.unlock(held)
  await Promise.all(waiting.map(({ done }) => done))
  t.same(served, ['first', 'second'])
  const late = await ledger.lock('webapi', 'test', 'chen', 'deploy', 60_000, 0)
  t.equal(late.owner, 'chen', 'nobody is left in the queue')
})

await t.test('a process that stood still and still has its lock goes on', async (t) => {
  const { context, ledger } = await open(t)
  await withLock(place, context, async (lock: HeldLock) => {
    standStill(t, 61_000)
    await lock.check()
    t.match(await ledger.findLock('webapi', 'test'), { token: lock.token }, 'and is extended')
  })
})

await t.test('a deployment that another one came after stays abandoned', async (t) => {
  const { context, ledger, newer, logged } = await open(t)
  const first = await ledger.lock('webapi', 'test', 'li', 'deploy', 60_000)
  const left = await recordStart(startOf(first.token), revision, context)
  await recordStart(startOf((await newer()).token), revision, context)
  const lost = new StepError('CONFLICT', 'another deployment came after this one')
  await recordFailure(left, lost, context)
  t.match(await ledger.findDeployment(left.id), {
    state: 'abandoned',
    error: /never reported its end/,
  })
  t.match(logged.text(), `deployment ${left.id} is abandoned in the ledger, and stays so`)
})
