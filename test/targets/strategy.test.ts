import t from 'tap'
import {
  parseHostCount,
  resolveRollout,
  rolloutSettings,
} from '../../src/targets/rollout-settings.ts'
import {
  canaryWeight,
  chunks,
  countOf,
  oneByOne,
  planStages,
  shareOfRequests,
} from '../../src/targets/strategy.ts'

const hosts = ['a', 'b', 'c', 'd', 'e', 'f']
const plan = (strategy: object, of: readonly string[] = hosts) =>
  planStages(of, { ...oneByOne, ...strategy }).map((stage) => {
    if (stage.do === 'pause') return `pause ${stage.milliseconds}`
    const names = stage.hosts.join('')
    if (stage.do === 'watch') return `watch ${names} ${stage.milliseconds}`
    return stage.isCanary ? `canary ${names}` : names
  })

t.test('hosts are changed one by one unless more are allowed at once', async (t) => {
  t.same(plan({}), ['a', 'b', 'c', 'd', 'e', 'f'])
  t.same(plan({ parallel: { hosts: 4 } }), ['abcd', 'ef'])
  t.same(plan({ parallel: { hosts: 99 } }), ['abcdef'])
  t.same(plan({ parallel: { percent: 50 } }), ['abc', 'def'])
  t.same(plan({ parallel: { hosts: 4 } }, []), [])
})

t.test('a pause stands between two batches, and nowhere else', async (t) => {
  t.same(plan({ parallel: { hosts: 3 }, pause: 5 }), ['abc', 'pause 5', 'def'])
  t.same(plan({ pause: 5 }, ['a']), ['a'])
})

t.test('the canary comes first and is watched before the rest follow', async (t) => {
  const canary = { hosts: 1 }
  t.same(plan({ parallel: { hosts: 5 }, canary, watch: 9 }), ['canary a', 'watch a 9', 'bcdef'])
  t.same(plan({ parallel: { hosts: 5 }, canary, watch: 0 }), ['canary a', 'bcdef'])
  t.same(plan({ parallel: { percent: 40 }, canary: { percent: 50 }, watch: 9, pause: 1 }), [
    'canary ab',
    'pause 1',
    'canary c',
    'watch abc 9',
    'de',
    'pause 1',
    'f',
  ])
})

t.test('there is no canary where nothing would follow it', async (t) => {
  const strategy = { canary: { hosts: 2 }, watch: 9 }
  t.same(plan(strategy, ['a', 'b']), ['a', 'b'])
  t.same(plan(strategy, ['a']), ['a'])
  t.same(plan(strategy, ['a', 'b', 'c']), ['canary a', 'canary b', 'watch ab 9', 'c'])
})

t.test('a share of the hosts is rounded down, but at least to one', async (t) => {
  const counts = [1, 2, 3, 5, 10, 25].map((total) => countOf({ percent: 40 }, total))
  t.same(counts, [1, 1, 1, 2, 4, 10])
  t.equal(countOf({ percent: 100 }, 7), 7)
  t.equal(countOf({ hosts: 0 }, 7), 0)
  t.same(chunks([1, 2, 3], 0), [[1], [2], [3]])
})

t.test('numbers of hosts are read, and nothing else', async (t) => {
  t.same(parseHostCount(3, 1), { hosts: 3 })
  t.same(parseHostCount('3', 1), { hosts: 3 })
  t.same(parseHostCount('50%', 1), { percent: 50 })
  t.same(parseHostCount(0, 0), { hosts: 0 })
  for (const bad of [0, -1, 1.5, '', 'all', '0%', '101%', '5 %', Number.NaN]) {
    t.throws(() => parseHostCount(bad, 1), /is no (?:number|share) of/, `${bad}`)
  }
})

t.test('rollout settings have defaults, and an empty command takes one back', async (t) => {
  const { strategy, commands } = resolveRollout(rolloutSettings.parse({}))
  t.same(strategy, { ...oneByOne, watch: 60_000 })
  t.same(commands, { before: undefined, after: undefined, timeout: 900_000 })
  const common = rolloutSettings.parse({ before: ['migrate'], parallel: '50%', canary: 1 })
  const own = rolloutSettings.parse({ before: [], 'on-failure': 'stop', pause: '30s' })
  t.match(resolveRollout({ ...common, ...own }), {
    strategy: { parallel: { percent: 50 }, canary: { hosts: 1 }, pause: 30_000, onFailure: 'stop' },
    commands: { before: undefined },
  })
  for (const bad of [
    { parallel: 0 },
    { before: [''] },
    { before: ['a\0'] },
    { pauses: '1s' },
    { pause: '30d' },
  ]) {
    t.notOk(rolloutSettings.safeParse(bad).success, JSON.stringify(bad))
  }
})

t.test('a canary is weighed so that it gets its share of the requests', async (t) => {
  t.equal(canaryWeight(10, 2, 1), 11)
  t.equal(canaryWeight(10, 4, 1), 33)
  t.equal(canaryWeight(10, 20, 2), 100)
  t.equal(canaryWeight(50, 20, 1), 100, 'no host gets more than the others')
  t.equal(canaryWeight(1, 2, 1), 1)
  t.equal(canaryWeight(100, 2, 1), 100)
})

t.test('what a canary gets is told as it is', async (t) => {
  t.equal(shareOfRequests(11, 2, 1), 10)
  t.equal(shareOfRequests(33, 4, 1), 10)
  t.equal(shareOfRequests(canaryWeight(50, 20, 1), 20, 1), 5, 'not 50: no host gets more')
  t.equal(canaryWeight(10, 1, 1), 100, 'no other host serves')
  t.equal(shareOfRequests(canaryWeight(10, 1, 1), 1, 1), 100, 'so it gets all')
  t.equal(shareOfRequests(100, 1000, 999), 99)
})

t.test('an error rate is a share', async (t) => {
  const rate = (text: string) =>
    resolveRollout(rolloutSettings.parse({ 'max-error-rate': text })).strategy.maxErrorRate
  t.same([rate('5%'), rate('0.5%'), rate('100%')], [5, 0.5, 100])
  t.equal(resolveRollout({}).strategy.maxErrorRate, 5)
  for (const text of ['5', '101%', '-1%', '%']) t.throws(() => rate(text), /is no share/)
})
