import t from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import { parseRedisUrl } from '../../../src/redis/address.ts'
import { openLeases } from '../../../src/server/agents/leases.ts'
import { accessQueue, queueOptions } from '../../../src/server/queue/access.ts'
import { openQueueRedis } from '../../../src/server/queue/connection.ts'
import { queueSettings } from '../../../src/server/queue/settings.ts'
import { openLogReader } from '../../../src/server/runs/lines.ts'
import type { RunRecord } from '../../../src/server/runs/run.ts'
import { openRunStore } from '../../../src/server/runs/store.ts'
import { startRedis } from '../../support/servers/redis.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { until } from '../../support/until.ts'

const TERM = 400
const places = [
  { app: 'webapi', environment: 'production' },
  { app: 'webapi', environment: 'staging' },
]
const succeeded = { outcome: 'succeeded', outputs: {}, error: null, exitCode: 0 } as const
const cancelled = { outcome: 'cancelled', outputs: null, error: null, exitCode: 1 } as const
const line = (text: string) =>
  ({ at: '2026-01-01T00:00:00.000Z', level: 'info', text, depth: 0 }) as const
const report = (fence: number, more: object = {}) => ({
  ...{ fence, from: 0, lines: [], started: false, release: false },
  ...more,
})

const skip = missingProgram('redis-server')
if (skip) t.test('leases', { skip }, async () => {})
else await leasesOf()

async function leasesOf(): Promise<void> {
  const server = await startRedis(t)
  const url = `redis://127.0.0.1:${server.port}`
  const redis = await openQueueRedis({ url: parseRedisUrl(url) }, '.', silentLog)
  t.teardown(redis.close)
  const access = accessQueue(
    redis.failFast,
    queueOptions('redis', queueSettings.parse({ redis: url })),
  )
  const leases = openLeases(access, TERM)
  const store = openRunStore(access)
  const log = openLogReader(access)
  let count = 0
  const run = async (environment = 'production') => {
    const id = `run${String(++count).padStart(4, '0')}`
    const credential = { kind: 'session', id: 'x' } as const
    const subject = { kind: 'job', name: 'a job', by: 'wang', identity: 'x', names: [] } as const
    await store.create(
      id,
      { app: 'webapi', step: 'deploy', environment, inputs: {}, credential, subject },
      undefined,
    )
    await leases.offer((await store.find(id)) as RunRecord)
    return id
  }
  const take = (agent: string, where = places) => leases.take(agent, '0.1.0', where)

  t.test('a run is leased once, and with a higher fence when its lease is over', async (t) => {
    const id = await run()
    t.same(await take('a', [{ app: 'shop', environment: 'production' }]), undefined)
    t.same(await take('a'), { run: id, fence: 1 })
    t.same(await take('b'), undefined)
    t.ok(await until(async () => (await take('b'))?.fence === 2, 5000))
    await t.rejects(leases.report(id, 'a', report(1)), { code: 'CONFLICT' })
    await t.rejects(leases.report(id, 'a', report(1, { finished: succeeded })), {
      code: 'CONFLICT',
    })
    await t.rejects(leases.report(id, 'a', report(2)), { code: 'CONFLICT' }, "another's fence")
    t.equal((await store.find(id))?.finished, undefined)
    await leases.report(id, 'b', report(2, { finished: succeeded }))
    t.match(await store.find(id), { finished: succeeded })
    t.same(await take('a'), undefined)
  })

  t.test('a report keeps the lease, and tells who cancelled the run', async (t) => {
    const id = await run()
    const { fence = 0 } = (await take('a')) ?? {}
    for (let at = 0; at < 8; at++) {
      await new Promise((resolve) => setTimeout(resolve, TERM / 3))
      t.same(await leases.report(id, 'a', report(fence)), undefined)
      t.same(await take('b'), undefined)
    }
    await store.cancel(id, { by: 'li', reason: 'why not' })
    t.match(await leases.report(id, 'a', report(fence)), { by: 'li', reason: 'why not' })
    t.equal(await leases.endWaiting(id, cancelled), false, 'an agent has it')
    await leases.report(id, 'a', report(fence, { finished: cancelled }))
  })

  t.test('what is reported twice counts once', async (t) => {
    const id = await run()
    const { fence = 0 } = (await take('a')) ?? {}
    const first = report(fence, { lines: [line('one'), line('two')], started: true })
    await leases.report(id, 'a', first)
    await leases.report(id, 'a', first)
    const last = { lines: [line('two'), line('three')], from: 1, finished: succeeded }
    await leases.report(id, 'a', report(fence, last))
    await leases.report(id, 'a', report(fence, last))
    const { entries, trimmed } = await log.read(id, '0-0')
    t.equal(trimmed, false)
    t.same(
      entries.map(({ event, data }) => (event === 'line' ? JSON.parse(data).text : event)),
      ['one', 'two', 'three', 'finished'],
    )
    await t.rejects(leases.report(id, 'a', report(fence, { finished: cancelled })), {
      code: 'CONFLICT',
    })
    t.match(await store.find(id), { startedAt: Number, finished: succeeded })
  })

  t.test(
    'runs of an environment are worked on in order, and beside those of another',
    async (t) => {
      const [first, second, other] = [await run(), await run(), await run('staging')]
      t.match(await take('a'), { run: first, fence: 1 })
      t.match(await take('b'), { run: other })
      t.same(await take('b'), undefined)
      await leases.report(other, 'b', report(1, { finished: succeeded }))
      await leases.report(first, 'a', report(1, { finished: succeeded }))
      t.match(await take('b'), { run: second })
      await leases.report(second, 'b', report(1, { release: true }))
      t.match(await take('a'), { run: second, fence: 2 }, 'given back')
      await leases.report(second, 'a', report(2, { finished: succeeded }))
    },
  )

  t.test('a run that waits is ended; a plan is beside its lane, and forgotten', async (t) => {
    const [first, second] = [await run(), await run()]
    t.match(await take('a'), { run: first })
    t.equal(await leases.endWaiting(second, cancelled), true)
    t.match(await store.find(second), { finished: cancelled })
    const plan = { ...(await store.find(first)), id: 'plan1', kind: 'plan' } as RunRecord
    await leases.offerPlan(plan)
    t.same(await take('b'), { run: 'plan1', fence: 1 })
    await leases.forgetPlan('plan1')
    await t.rejects(leases.report('plan1', 'b', report(1)), { code: 'CONFLICT' })
    await leases.report(first, 'a', report(1, { finished: succeeded }))
    t.same(await take('a'), undefined)
  })

  t.test('a token is kept until its end, and no longer than its run', async (t) => {
    const id = await run()
    const token = (exp: number) =>
      `x.${Buffer.from(JSON.stringify({ exp })).toString('base64url')}.x`
    const now = Math.floor(Date.now() / 1000)
    await leases.keepToken(id, token(now - 1))
    t.equal(await leases.findToken(id), undefined)
    const living = token(now + 60)
    await leases.keepToken(id, living)
    t.equal(await leases.findToken(id), living)
    await take('a')
    await leases.report(id, 'a', report(1, { finished: succeeded }))
    t.equal(await leases.findToken(id), undefined)
  })
}
