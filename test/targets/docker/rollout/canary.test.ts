import t from 'tap'
import { isTooHigh, ratesOf } from '../../../../src/targets/docker/rollout/canary.ts'

const counts = (all: number, failed: number) => ({ all, failed })

t.test('errors are counted since the watch began, of the canary and of the others', async (t) => {
  const begun = new Map([
    ['a', counts(100, 50)],
    ['b', counts(1000, 10)],
  ])
  const now = new Map([
    ['a', counts(140, 52)],
    ['b', counts(1500, 12)],
    ['c', counts(10, 1)],
  ])
  t.same(ratesOf(begun, now, new Set(['a'])), { canary: counts(40, 2), others: counts(510, 3) })
  const reloaded = new Map([['a', counts(30, 3)]])
  t.same(ratesOf(begun, reloaded, new Set(['a'])).canary, counts(30, 3), 'counted anew')
})

t.test('a canary may have as many errors as the others, and a few more', async (t) => {
  const others = counts(1000, 100)
  t.notOk(isTooHigh({ canary: counts(100, 15), others }, 5))
  t.ok(isTooHigh({ canary: counts(100, 16), others }, 5))
  t.notOk(isTooHigh({ canary: counts(19, 19), others }, 5), 'too few to tell')
  t.ok(isTooHigh({ canary: counts(20, 20), others: counts(0, 0) }, 5))
  t.notOk(isTooHigh({ canary: counts(20, 20), others: counts(0, 0) }, 100), 'it is not asked')
})
