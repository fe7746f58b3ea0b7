import type { Test } from 'tap'
import type {
  ConfigChangeQuery,
  ConfigChangeSet,
  ConfigChangeStart,
  KeptValue,
  KeyChange,
  Ledger,
} from '../../../src/ledger/ledger.ts'
import { HOSTILE, type OpenLedger } from './samples.ts'

export const absent: KeptValue = { state: 'absent' }
export const withheld: KeptValue = { state: 'withheld' }
export const kept = (text: string): KeptValue => ({ state: 'kept', text })

export function setOf(changes: KeyChange[], more: Partial<ConfigChangeStart> = {}) {
  return { app: 'webapi', environment: 'test', by: 'li', reason: undefined, changes, ...more }
}

const added = (key: string): KeyChange => ({ key, before: absent, after: kept(key) })

export async function keepsConfigChanges(t: Test, ledger: Ledger): Promise<void> {
  t.same(await ledger.configChanges({ limit: 10 }), [])
  t.equal(await ledger.findConfigChange('c1'), undefined)
  const changes: KeyChange[] = [
    { key: '/webapi/z', before: absent, after: kept('') },
    { key: '/webapi/a', before: kept(''), after: absent },
    { key: '/webapi/db/password', before: withheld, after: kept('cc1:sealed') },
    { key: '/webapi/b', before: withheld, after: withheld },
    { key: HOSTILE, before: kept(HOSTILE), after: kept(' \r\n trailing \t ') },
    // Each character of it is escaped on its way to MySQL.
    { key: '/webapi/long', before: kept(`'`.repeat(1 << 20)), after: kept('漢'.repeat(1 << 20)) },
    { key: '/webapi/nul', before: kept('a\0b\0'), after: kept('"\\u0000"') },
  ]
  const who = { by: HOSTILE, identity: 'https://gitlab.example.com' }
  const first = await ledger.recordConfigChange(setOf(changes, { ...who, reason: HOSTILE }))
  const { id, at } = first
  const expected = { app: 'webapi', environment: 'test', ...who, reason: HOSTILE, changes }
  t.strictSame(first, { id: 'c1', number: 1, ...expected, at })
  t.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  t.strictSame(await ledger.findConfigChange(id), first)
  t.strictSame(await ledger.configChanges({ limit: 10 }), [first])
  t.strictSame(await ledger.configChanges({ key: HOSTILE, limit: 10 }), [
    { ...first, changes: [changes[4]] },
  ])

  const bare = await ledger.recordConfigChange(setOf([added('/shop/a')], { app: 'shop' }))
  t.match(bare, { id: 'c2', number: 2, reason: undefined })
  t.strictSame(await ledger.findConfigChange('c2'), bare)
  t.equal(await ledger.nextVersion('shop'), '1.0.0', 'an application may begin with its config')
  for (const strange of ['c3', 'c0', 'c01', 'C1', 'c1 ', 'd1', '1', `c1' or '1'='1`]) {
    t.equal(await ledger.findConfigChange(strange), undefined, strange)
  }
}

export async function distinguishesKeys(t: Test, ledger: Ledger): Promise<void> {
  const keys = ['/k', '/K', '/k ', '/k\u00e9', '/ke\u0301', '/ke', '/%', '/_', '/ß', '/ss']
  for (const long of [`/${'漢'.repeat(1022)}`, `/${'😀'.repeat(511)}`])
    keys.push(`${long}a`, `${long}b`)
  const set = await ledger.recordConfigChange(setOf(keys.map(added)))
  t.strictSame(
    set.changes.map((one) => one.key),
    keys,
    'in the order they were given',
  )
  for (const key of keys) {
    const found = await ledger.configChanges({ key, limit: 10 })
    t.strictSame(found, [{ ...set, changes: [added(key)] }], key.slice(0, 10))
  }
  t.same(await ledger.configChanges({ key: '/k  ', limit: 10 }), [])
}

export async function refusesConfigChanges(t: Test, ledger: Ledger): Promise<void> {
  const bad = { code: 'INPUT_INVALID' }
  const secret = 's3cret'
  const one = { ...added('/a'), after: kept(secret) }
  const wrong: [ConfigChangeStart, RegExp][] = [
    [setOf([]), /has no key$/],
    [setOf([one, added('/b'), one]), /key \/a is named twice$/],
    [setOf([one, added('')]), /is empty$/],
    [setOf([one, added('x\0y')]), /NUL/],
    [setOf([one, added('x'.repeat(1025))]), /at most 1024/],
    [setOf([one], { app: 'A b' }), /no name for an application/],
    [setOf([one], { environment: '' }), /no name for an environment/],
    [setOf([one], { by: '' }), /by is empty$/],
    [setOf([one], { by: 'x'.repeat(256) }), /at most 255/],
    [setOf([one], { reason: 'a\0b' }), /reason has a NUL/],
    [setOf([{ ...one, before: { state: 'json' } as never }]), /"json" is not a state/],
    [setOf([{ ...one, before: { state: 'kept', text: 1 } as never }]), /is not a text/],
  ]
  for (const [set, message] of wrong) {
    const error = await ledger.recordConfigChange(set).catch((error: unknown) => error)
    t.match(error, { ...bad, message })
    t.notMatch(String(error), secret)
  }
  t.same(await ledger.configChanges({ limit: 10 }), [], 'nothing was written')
  t.match(await ledger.recordConfigChange(setOf([one])), { id: 'c1' }, 'and no number is lost')
  for (const query of [{ app: 'A' }, { environment: ' ' }, { key: '' }, { after: '' }]) {
    await t.rejects(ledger.configChanges({ ...query, limit: 1 }), bad, JSON.stringify(query))
  }
  for (const limit of [0, -1, 1.5, 1e9]) await t.rejects(ledger.configChanges({ limit }), bad)
  await t.rejects(ledger.findConfigChange(''), bad)
  const unknown = { code: 'NOT_FOUND', message: /^config change c9 is not in the ledger$/ }
  await t.rejects(ledger.configChanges({ after: 'c9', limit: 1 }), unknown)
  await t.rejects(ledger.configChanges({ before: 'c9', limit: 1 }), unknown)
}

export async function filtersConfigChanges(t: Test, _: Ledger, open: OpenLedger): Promise<void> {
  // This clock goes backwards: the order is that of recording.
  let clock = Date.parse('2026-01-31T12:00:00.000Z')
  const now = () => {
    clock -= 1000
    return clock
  }
  const ledger = await open({ now })
  t.teardown(() => ledger.close())
  const all: ConfigChangeSet[] = []
  const shared = added('/shared')
  for (let round = 0; round < 3; round++) {
    for (const app of ['shop', 'webapi']) {
      for (const environment of ['test', 'staging']) {
        const changes = [added(`/${app}/${round}`), ...(round === 1 ? [] : [shared])]
        const set = setOf(changes, { app, environment, reason: `round ${round}` })
        all.unshift(await ledger.recordConfigChange(set))
      }
    }
  }
  t.ok((all[0]?.at ?? '') < (all.at(-1)?.at ?? ''))
  const matching = ({ app, environment, key, after, before, limit }: ConfigChangeQuery) => {
    const place = (id: string) => all.findIndex((set) => set.id === id)
    return all
      .slice(before ? place(before) + 1 : 0, after ? place(after) : undefined)
      .filter((set) => set.app === (app ?? set.app))
      .filter((set) => set.environment === (environment ?? set.environment))
      .map((set) => ({
        ...set,
        changes: set.changes.filter((change) => change.key === (key ?? change.key)),
      }))
      .filter((set) => set.changes.length > 0)
      .slice(0, limit)
  }
  const some = (values: string[]) => [undefined, ...values]
  for (const app of some(['webapi', 'nobody'])) {
    for (const environment of some(['test'])) {
      for (const key of some(['/shared', '/webapi/1', '/none'])) {
        for (const after of some(['c1', 'c6', 'c12'])) {
          for (const before of some(['c1', 'c8'])) {
            const query = { app, environment, key, after, before, limit: before ? 2 : 100 }
            const found = await ledger.configChanges(query)
            t.strictSame(found, matching(query), JSON.stringify(query))
          }
        }
      }
    }
  }
  const page = { app: 'webapi', environment: 'test', limit: 2 }
  const newest = await ledger.configChanges(page)
  const older = await ledger.configChanges({ ...page, before: newest.at(-1)?.id })
  t.same(
    [...newest, ...older].map((set) => set.id),
    ['c11', 'c7', 'c3'],
    'pages meet',
  )
}

export async function recordsManyKeys(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  const value = kept(`${HOSTILE} `.repeat(20))
  const keys = Array.from({ length: 10_000 }, (_, i) => `/webapi/${i}`)
  const changes = keys.map((key) => ({ key, before: value, after: absent }))
  const set = await ledger.recordConfigChange(setOf(changes))
  t.strictSame(await ledger.findConfigChange(set.id), set)
  t.strictSame((await ledger.configChanges({ key: '/webapi/9999', limit: 1 }))[0]?.changes, [
    changes.at(-1),
  ])

  const second = await open()
  t.teardown(() => second.close())
  const recorded = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? ledger : second).recordConfigChange(setOf([added('/a'), added(`/${i}`)])),
    ),
  )
  const numbers = recorded.map((one) => one.number).sort((a, b) => a - b)
  t.same(
    numbers,
    Array.from({ length: 20 }, (_, i) => set.number + 1 + i),
    'no gap, none twice',
  )
  const found = await ledger.configChanges({ key: '/a', limit: 100 })
  t.same(
    found.map((one) => one.number),
    numbers.reverse(),
  )
}
