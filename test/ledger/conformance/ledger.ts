import type { Test } from 'tap'
import type { Ledger, Release } from '../../../src/ledger/ledger.ts'
import { keepsApiTokens, refusesApiTokens } from './api-tokens.ts'
import { appendsAtOnce, chainsAudit, filtersAudit, keepsHostileAudit } from './audit-log.ts'
import { keepsBreakGlass } from './break-glass.ts'
import {
  distinguishesKeys,
  filtersConfigChanges,
  keepsConfigChanges,
  recordsManyKeys,
  refusesConfigChanges,
  setOf,
} from './config-changes.ts'
import {
  detectsLostDeployers,
  keepsApprovalsAndMarks,
  keepsAuditEvents,
  marksWithTheEnd,
  pagesHistory,
  recordsHowItWentThrough,
  recordsTheSameOnce,
} from './deployment-life.ts'
import { abandons, filtersHistory, knowsCurrent, walksStates } from './deployments.ts'
import { locks, neverTwoHolders, oneHolder, queuesForLocks } from './locks.ts'
import {
  digestOf,
  ended,
  HOSTILE,
  MINUTE,
  type OpenLedger,
  outcome,
  release,
  start,
} from './samples.ts'
import { listsDeliveries, showsPartial, showsStatus, showsUnsettled } from './status.ts'

/** What every ledger must do, whatever database it lives in. */
export async function ledgerConformance(
  t: Test,
  name: string,
  fresh: (t: Test) => Promise<OpenLedger>,
): Promise<void> {
  const withLedger = (
    title: string,
    body: (t: Test, ledger: Ledger, open: OpenLedger) => unknown,
  ) =>
    t.test(`${name}: ${title}`, async (t) => {
      const open = await fresh(t)
      const ledger = await open()
      t.teardown(() => ledger.close())
      await body(t, ledger, open)
    })

  await withLedger('allots versions in order, each once', allotsVersions)
  await withLedger('allots different versions to callers at the same time', allotsAtOnce)
  await withLedger('keeps releases unchanged', keepsReleases)
  await withLedger('refuses what it cannot keep', refusesInput)
  await withLedger('keeps hostile texts literally', keepsHostileTexts)
  await withLedger('lets a deployment go forward through its states only', walksStates)
  await withLedger('abandons deployments that never ended', abandons)
  await withLedger('filters the history', filtersHistory)
  await withLedger('knows what runs in each environment', knowsCurrent)
  await withLedger(
    'shows a deployment as abandoned once its lock has expired',
    detectsLostDeployers,
  )
  await withLedger('records the same start or end once', recordsTheSameOnce)
  await withLedger(
    'records how a deployment passed the gate and what it replaced',
    recordsHowItWentThrough,
  )
  await withLedger('keeps approvals and marks', keepsApprovalsAndMarks)
  await withLedger('keeps operations on an environment', keepsAuditEvents)
  await withLedger('chains every act to the one before it', chainsAudit)
  await withLedger('keeps hostile texts in the audit log literally', keepsHostileAudit)
  await withLedger('filters the audit log, whatever the clock does', filtersAudit)
  await withLedger('appends from many at once to a single chain', appendsAtOnce)
  await withLedger('keeps API tokens until they expire or are revoked', keepsApiTokens)
  await withLedger('refuses API tokens that it cannot keep', refusesApiTokens)
  await withLedger('marks the release that a rollback replaced when it succeeds', marksWithTheEnd)
  await withLedger('lists deployments past a gate until they are signed off', keepsBreakGlass)
  await withLedger('gives the history page by page', pagesHistory)
  await withLedger('shows which version is in which environment', showsStatus)
  await withLedger('shows the hosts that a failed deployment was left on', showsPartial)
  await withLedger('shows the hosts that are perhaps not as before', showsUnsettled)
  await withLedger('lists what was delivered', listsDeliveries)
  await withLedger('keeps config revisions', keepsConfigRevisions)
  await withLedger('keeps config changes', keepsConfigChanges)
  await withLedger('distinguishes keys that look alike', distinguishesKeys)
  await withLedger('refuses config changes it cannot keep', refusesConfigChanges)
  await withLedger('filters config changes', filtersConfigChanges)
  await withLedger('records many keys, and many sets at once', recordsManyKeys)
  await withLedger('gives a lock to an owner until it is released or expires', locks)
  await withLedger('gives a lock in the order of asking', queuesForLocks)
  await withLedger('gives a lock to a single owner of many', oneHolder)
  await withLedger('never has two holders of a lock', neverTwoHolders)
  await withLedger('keeps everything when opened again', reopens)
}

async function allotsVersions(t: Test, ledger: Ledger): Promise<void> {
  const next = () => ledger.nextVersion('webapi')
  t.same([await next(), await next()], ['1.0.0', '1.0.1'])
  for (let i = 0; i < 7; i++) await next()
  t.same([await next(), await next()], ['1.0.9', '1.1.0'])

  await ledger.recordRelease(release('1.9.9'))
  t.equal(await next(), '2.0.0', 'y and z roll over at ten')
  await ledger.recordRelease(release('3.2.1'))
  t.equal(await next(), '3.2.2', 'goes on after the highest recorded')
  await ledger.recordRelease(release('2.9.9'))
  t.equal(await next(), '3.2.3', 'a lower one changes nothing')
  for (const odd of ['v9.0-rc1', '9.0', '9.0.0-beta', '09.0.0', '9999999999.0.0', 'latest']) {
    await ledger.recordRelease(release(odd))
  }
  t.equal(await next(), '3.2.4', 'versions that are not x.y.z are not counted')
  await ledger.recordRelease(release('10.0.0'))
  t.equal(await next(), '10.0.1', 'compares numbers, not texts')
  await ledger.recordRelease(release('10.12.15'))
  t.equal(await next(), '11.0.0', 'goes up from parts over nine')
  t.equal(await ledger.nextVersion('shop'), '1.0.0', 'each application counts for itself')
}

async function allotsAtOnce(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  const second = await open()
  t.teardown(() => second.close())
  const calls = Array.from({ length: 100 }, (_, i) =>
    (i % 2 ? ledger : second).nextVersion('webapi'),
  )
  t.same((await Promise.all(calls)).sort(), firstVersions(100))
}

/** 1.0.0 and the `count - 1` after it, sorted as texts; at most 900. */
export function firstVersions(count: number): string[] {
  return Array.from({ length: count }, (_, i) =>
    [1 + Math.floor(i / 100), Math.floor(i / 10) % 10, i % 10].join('.'),
  ).sort()
}

async function keepsReleases(t: Test, ledger: Ledger): Promise<void> {
  const full = release('1.0.0')
  await ledger.recordRelease(full)
  t.strictSame(await ledger.findRelease('webapi', '1.0.0'), full)
  const bare = release('1.0.1', {
    baseDigest: undefined,
    commit: undefined,
    branch: undefined,
    author: undefined,
    pipelineUrl: undefined,
    jobUrl: undefined,
    committedAt: undefined,
    reason: undefined,
    warSize: 5_000_000_000,
  })
  await ledger.recordRelease(bare)
  t.strictSame(await ledger.findRelease('webapi', '1.0.1'), bare)

  await ledger.recordRelease(full)
  await ledger.recordRelease({ ...full, reason: 'another reason', bakedBy: 'somebody' })
  t.strictSame(await ledger.findRelease('webapi', '1.0.0'), full, 'the same again changes nothing')
  const other = release('1.0.0', { digest: digestOf('another image') })
  await t.rejects(ledger.recordRelease(other), {
    code: 'CONFLICT',
    message: `webapi@1.0.0 is recorded with ${full.digest}, it cannot become ${other.digest}`,
  })
  t.strictSame(await ledger.findRelease('webapi', '1.0.0'), full)

  t.equal(await ledger.findRelease('webapi', '7.7.7'), undefined)
  t.equal(await ledger.findRelease('shop', '1.0.0'), undefined)
  t.strictSame(await ledger.findReleaseByDigest('webapi', bare.digest), bare)
  t.equal(await ledger.findReleaseByDigest('shop', bare.digest), undefined)
  const again = release('1.0.2', { digest: full.digest })
  await ledger.recordRelease(again)
  t.strictSame(await ledger.findReleaseByDigest('webapi', full.digest), again, 'the newest of two')

  await ledger.recordRelease(release('1.0.0', { app: 'shop' }))
  const upper = release('V1-RC')
  const lower = release('v1-rc')
  await ledger.recordRelease(upper)
  await ledger.recordRelease(lower)
  t.strictSame(await ledger.findRelease('webapi', 'V1-RC'), upper, 'letters differ by their case')
  const versions = async (limit: number) =>
    (await ledger.releases('webapi', limit)).map((one) => one.version)
  t.same(await versions(10), ['v1-rc', 'V1-RC', '1.0.2', '1.0.1', '1.0.0'], 'newest first')
  t.same(await versions(2), ['v1-rc', 'V1-RC'])
  t.same(await ledger.releases('nobody', 10), [])
  t.same(await ledger.releases('webapi', 10, 'no such commit'), [])

  const warMd5 = '0123456789abcdef0123456789abcdef'
  for (const version of ['2.0.0', '2.0.1']) await ledger.recordRelease(release(version, { warMd5 }))
  await ledger.recordRelease(release('2.0.0', { warMd5, app: 'shop' }))
  const ofWar = async (limit: number) =>
    (await ledger.releasesByWar('webapi', warMd5, limit)).map((one) => one.version)
  t.same([await ofWar(10), await ofWar(1)], [['2.0.1', '2.0.0'], ['2.0.1']], 'by its WAR')
  t.same(await ledger.releasesByWar('webapi', 'f'.repeat(32), 10), [])
  await t.rejects(ledger.releasesByWar('webapi', "' or 1=1", 10), { code: 'INPUT_INVALID' })
}

async function refusesInput(t: Test, ledger: Ledger): Promise<void> {
  const bad = { code: 'INPUT_INVALID' }
  const names = ['', 'Web', '-x', '.x', 'a b', `a'b`, 'a;--', 'a/b', '../a', 'a\n', 'ä', 'a\0b']
  for (const name of [...names, 'a'.repeat(64), `x'); drop table locks;--`]) {
    await t.rejects(ledger.nextVersion(name), bad, `application ${JSON.stringify(name)}`)
    await t.rejects(ledger.lock('webapi', name, 'li', 'why', MINUTE), bad)
    await t.rejects(ledger.deployments({ environment: name, limit: 1 }), bad)
    await t.rejects(ledger.current(name), bad)
    await t.rejects(ledger.findLock(name, 'test'), bad)
    await t.rejects(ledger.recordRelease(release('1.0.0', { app: name })), bad)
  }
  for (const version of ['', ' ', '1.0.0 ', `1' or '1'='1`, '-1', 'a/b', '1\n', 'v'.repeat(129)]) {
    await t.rejects(ledger.recordRelease(release(version)), bad, JSON.stringify(version))
    await t.rejects(ledger.findRelease('webapi', version), bad)
  }
  const wrong: Partial<Release>[] = [
    { digest: 'sha256:12' },
    { warMd5: 'x' },
    { warSha256: 'x' },
    { warSize: -1 },
    { warSize: 1.5 },
    { repository: '' },
    { bakedAt: '2026-01-31' },
    { bakedAt: 'yesterday' },
    { committedAt: '2026-01-31' },
    { reason: 'cut\0off' },
    { author: 'a'.repeat(256) },
  ]
  for (const more of wrong) {
    await t.rejects(ledger.recordRelease(release('1.0.0', more)), bad, JSON.stringify(more))
  }
  for (const limit of [0, -1, 1.5, Number.NaN, 1e9]) {
    await t.rejects(ledger.releases('webapi', limit), bad)
    await t.rejects(ledger.deployments({ limit }), bad)
  }
  for (const ttl of [0, -1, Number.NaN, Infinity]) {
    await t.rejects(ledger.lock('webapi', 'test', 'li', 'why', ttl), bad)
  }
  await t.rejects(ledger.lock('webapi', 'test', '', 'why', MINUTE), bad)
  await t.rejects(ledger.recordConfigRevision('r1', 'a\0b'), bad)
  t.equal(await ledger.nextVersion('a'.repeat(63)), '1.0.0')
  t.equal(await ledger.nextVersion('0.a_b-c'), '1.0.0')
  t.same(await ledger.releases('webapi', 10), [], 'nothing was written')
}

async function keepsHostileTexts(t: Test, ledger: Ledger): Promise<void> {
  const hostile = release('1.0.0', {
    reason: HOSTILE,
    author: HOSTILE,
    branch: HOSTILE,
    bakedBy: HOSTILE,
    repository: HOSTILE,
  })
  await ledger.recordRelease(hostile)
  t.strictSame(await ledger.findRelease('webapi', '1.0.0'), hostile)
  const deployment = await start(ledger, hostile, 'test', { by: HOSTILE, reason: HOSTILE })
  const hosts = [outcome(HOSTILE, { url: HOSTILE, containerId: HOSTILE })]
  await ledger.endDeployment(deployment.id, {
    state: 'failed',
    error: HOSTILE.repeat(2000),
    hosts,
    verified: false,
  })
  const [kept] = await ledger.deployments({ limit: 1 })
  t.match(kept, { by: HOSTILE, reason: HOSTILE, error: HOSTILE.repeat(2000), hosts })
  const lock = await ledger.lock('webapi', 'test', HOSTILE, HOSTILE, MINUTE)
  t.match(await ledger.findLock('webapi', 'test'), { owner: HOSTILE, reason: HOSTILE })
  await ledger.unlock(lock)
  await t.rejects(ledger.endDeployment(`x' or '1'='1`, ended('failed')), { code: 'NOT_FOUND' })
}

async function keepsConfigRevisions(t: Test, ledger: Ledger): Promise<void> {
  const content = JSON.stringify({ '/webapi/db/url': HOSTILE, big: 'ü'.repeat(200_000) })
  const revision = digestOf(content)
  t.equal(await ledger.findConfigRevision(revision), undefined)
  await Promise.all([1, 2, 3].map(() => ledger.recordConfigRevision(revision, content)))
  t.equal(await ledger.findConfigRevision(revision), content)
  await t.rejects(ledger.recordConfigRevision(revision, 'other'), { code: 'CONFLICT' })
  t.equal(await ledger.findConfigRevision(revision), content)
  await ledger.recordConfigRevision('empty', '')
  t.equal(await ledger.findConfigRevision('empty'), '')
}

async function reopens(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  await ledger.recordRelease(release('1.0.0'))
  const lock = await ledger.lock('webapi', 'test', 'li', 'why', MINUTE)
  await ledger.nextVersion('webapi')
  const change = { key: '/a', before: { state: 'absent' }, after: { state: 'withheld' } } as const
  const set = await ledger.recordConfigChange(setOf([change]))
  await ledger.close()
  await ledger.close()
  await t.rejects(ledger.current(), { code: 'INPUT_INVALID', message: /is closed$/ })
  const again = await open()
  t.teardown(() => again.close())
  t.strictSame(await again.findRelease('webapi', '1.0.0'), release('1.0.0'))
  t.strictSame(await again.findLock('webapi', 'test'), lock)
  t.strictSame(await again.findConfigChange(set.id), set)
  t.equal(await again.nextVersion('webapi'), '1.0.2')
}
