import t from 'tap'
import type { Delivery } from '../../src/ledger/ledger.ts'
import { measure, median } from '../../src/ledger/measures.ts'

const at = (hour: number) => new Date(Date.parse('2026-05-01T00:00:00.000Z') + hour * 3_600_000)
const time = (hour: number) => at(hour).toISOString()
const HOUR = 3_600_000

let count = 0
function delivery(hour: number, version: string, more: Partial<Delivery> = {}): Delivery {
  return {
    id: `d${++count}`,
    app: 'webapi',
    environment: 'production',
    version,
    state: 'succeeded',
    kind: 'deploy',
    replaced: undefined,
    startedAt: time(hour),
    finishedAt: time(hour + 1),
    committedAt: time(hour - 9),
    bakedAt: time(hour - 2),
    bad: false,
    isFirst: true,
    ...more,
  }
}

t.test('the four measures are taken over the time asked for', async (t) => {
  const first = delivery(24, '1.0.0')
  const bad = delivery(48, '1.0.1', { bad: true, replaced: first.id })
  const group = [
    first,
    bad,
    delivery(50, '1.0.0', { kind: 'rollback', replaced: bad.id, isFirst: false }),
    delivery(72, '1.0.2', { state: 'failed' }),
    delivery(73, '1.0.2', { state: 'abandoned', finishedAt: undefined }),
    delivery(80, '1.0.2', { committedAt: undefined }),
    delivery(90, '1.0.2', { isFirst: false }),
    delivery(95, '1.0.3', { state: 'running', finishedAt: undefined }),
    delivery(96, '1.0.3', { environment: 'test', committedAt: time(95) }),
  ]
  const [production, test, none] = measure(group, time(0), at(240))
  t.match(production, {
    app: 'webapi',
    environment: 'production',
    deployments: 4,
    frequency: 0.4,
    // 10 h, 10 h, and 3 h from the baking; the redeployment is no arrival.
    leadTime: 10 * HOUR,
    failures: 3,
    failureRate: 0.5,
    // 49 h → 51 h; 73 h → 81 h; the abandoned one has no end.
    restoreTime: 5 * HOUR,
    rollbacks: 1,
  })
  t.match(test, { environment: 'test', deployments: 1, leadTime: 2 * HOUR, failureRate: 0 })
  t.equal(test?.restoreTime, undefined)
  t.equal(none, undefined)
  t.same(measure([], time(0), at(1)), [])
})

t.test('a rollback blames what it left, and only if it arrived', async (t) => {
  const one = delivery(1, '1.0.0')
  const two = delivery(2, '1.0.1', { replaced: one.id })
  const failed = delivery(3, '1.0.0', { kind: 'rollback', state: 'failed', replaced: two.id })
  const config = delivery(4, '1.0.1', { kind: 'rollback', replaced: two.id })
  t.match(measure([one, two, failed, config], time(0), at(24)), [{ failures: 0 }])
  const back = delivery(5, '1.0.0', { kind: 'rollback', replaced: two.id })
  t.match(measure([one, two, back], time(0), at(24)), [{ failures: 1, failureRate: 0.5 }])
})

t.test('the median of an even number is between the middle two', async (t) => {
  t.equal(median([]), undefined)
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
})
