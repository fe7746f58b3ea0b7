import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { Test } from 'tap'
import { type Digest, sha256 } from '../../src/core/digest.ts'
import { isStepError } from '../../src/core/errors.ts'
import type { Deployment, HostOutcome, Ledger, Lock, Release } from '../../src/ledger/ledger.ts'

/** One empty database; each call opens it once more, with a clock of the caller's choice. */
export type OpenLedger = (options?: { now?: () => number }) => Promise<Ledger>

const MINUTE = 60_000
const HOSTILE = `Robert'); DROP TABLE releases;-- "\\' %_ \n\t é 漢字 😀 \${x} ; --`

export const digestOf = (text: string): Digest => sha256(text)

export function release(version: string, more: Partial<Release> = {}): Release {
  return {
    app: 'webapi',
    version,
    digest: digestOf(`image ${version}`),
    baseDigest: digestOf('base'),
    warMd5: 'd41d8cd98f00b204e9800998ecf8427e',
    warSha256: digestOf(`war ${version}`).slice('sha256:'.length),
    warSize: 67_108_864,
    repository: 'registry.test/team/webapi',
    commit: '2fd4e1c67a2d28fced849ee1bb76e7391b93eb12',
    branch: 'main',
    author: 'li',
    pipelineUrl: 'https://gitlab.example.com/team/webapi/-/pipelines/1',
    reason: 'fixes the search',
    bakedBy: 'ci',
    bakedAt: '2026-01-31T12:00:00.000Z',
    ...more,
  }
}

export function outcome(host: string, more: Partial<HostOutcome> = {}): HostOutcome {
  return {
    host,
    containerId: `new-${host}`,
    previousContainerId: undefined,
    url: `http://${host}:8080`,
    ok: true,
    duration: 4200,
    ...more,
  }
}

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

  await withLedger('allots versions', allotsVersions)
  await withLedger('allots versions to many at once', allotsAtOnce)
  await withLedger('keeps releases', keepsReleases)
  await withLedger('refuses what it cannot keep', refusesInput)
  await withLedger('keeps hostile texts literally', keepsHostileTexts)
  await withLedger('walks a deployment through its states', walksStates)
  await withLedger('abandons what never ended', abandons)
  await withLedger('filters the history', filtersHistory)
  await withLedger('knows what runs', knowsCurrent)
  await withLedger('keeps config revisions', keepsConfigRevisions)
  await withLedger('locks', locks)
  await withLedger('lets one of many take a lock', oneHolder)
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
    reason: undefined,
    warSize: 5_000_000_000,
  })
  await ledger.recordRelease(bare)
  t.strictSame(await ledger.findRelease('webapi', '1.0.1'), bare)

  await ledger.recordRelease(full)
  await ledger.recordRelease({ ...full, reason: 'told otherwise', bakedBy: 'somebody' })
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

async function start(
  ledger: Ledger,
  { app, version, digest }: Release,
  environment: string,
  more: { by?: string; reason?: string } = {},
): Promise<Deployment> {
  return await ledger.startDeployment({
    app,
    version,
    environment,
    digest,
    configRevision: digestOf('config'),
    by: 'li',
    reason: undefined,
    ...more,
  })
}

function ended(state: 'succeeded' | 'failed' | 'abandoned', hosts: HostOutcome[] = []) {
  return { state, hosts, verified: state === 'succeeded' }
}

async function walksStates(t: Test, ledger: Ledger): Promise<void> {
  const first = release('1.0.0')
  await t.rejects(start(ledger, first, 'test'), {
    code: 'NOT_FOUND',
    message: 'webapi@1.0.0 is not in the ledger',
  })
  await ledger.recordRelease(first)
  const strange = { ...first, digest: digestOf('strange') }
  await t.rejects(start(ledger, strange, 'test'), { code: 'CONFLICT' })
  t.same(await ledger.deployments({ limit: 10 }), [])

  const running = await start(ledger, first, 'test', { reason: 'first try' })
  t.match(running, {
    app: 'webapi',
    version: '1.0.0',
    environment: 'test',
    digest: first.digest,
    by: 'li',
    reason: 'first try',
    state: 'running',
    startedAt: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    finishedAt: undefined,
    hosts: [],
    verified: false,
  })
  t.strictSame(await ledger.deployments({ limit: 10 }), [running])

  const twice = { ...ended('failed'), hosts: [outcome('app-01'), outcome('app-01')] }
  await t.rejects(ledger.endDeployment(running.id, twice), { code: 'INPUT_INVALID' })
  const backwards = { ...ended('failed'), state: 'running' as 'failed' }
  await t.rejects(ledger.endDeployment(running.id, backwards), { code: 'INPUT_INVALID' })
  t.strictSame(await ledger.deployments({ limit: 10 }), [running], 'nothing was written')

  const hosts = [
    outcome('app-02', { previousContainerId: 'old', duration: 0 }),
    outcome('app-01', { ok: false, url: undefined, containerId: undefined }),
  ]
  await ledger.endDeployment(running.id, ended('succeeded', hosts))
  const [done] = await ledger.deployments({ limit: 10 })
  t.strictSame(done, {
    ...running,
    state: 'succeeded',
    finishedAt: done?.finishedAt,
    hosts,
    verified: true,
  })
  t.ok((done?.finishedAt ?? '') >= running.startedAt)
  for (const state of ['succeeded', 'failed', 'abandoned'] as const) {
    await t.rejects(ledger.endDeployment(running.id, ended(state, [outcome('late')])), {
      code: 'CONFLICT',
      message: `deployment ${running.id} (webapi@1.0.0 in test) is already succeeded`,
    })
  }
  t.strictSame(await ledger.deployments({ limit: 10 }), [done], 'history does not change')
  await t.rejects(ledger.endDeployment('d99', ended('failed')), { code: 'NOT_FOUND' })
}

async function abandons(t: Test, ledger: Ledger): Promise<void> {
  const one = release('1.0.0')
  await ledger.recordRelease(one)
  await ledger.recordRelease(release('1.0.0', { app: 'shop' }))
  const left = await start(ledger, one, 'test')
  const elsewhere = await start(ledger, one, 'staging')
  const shop = await start(ledger, release('1.0.0', { app: 'shop' }), 'test')
  const next = await start(ledger, one, 'test')
  const states = Object.fromEntries(
    (await ledger.deployments({ limit: 10 })).map((d) => [d.id, d.state]),
  )
  t.same(states, {
    [left.id]: 'abandoned',
    [elsewhere.id]: 'running',
    [shop.id]: 'running',
    [next.id]: 'running',
  })
  const [abandoned] = await ledger.deployments({ state: 'abandoned', limit: 10 })
  t.match(abandoned, { id: left.id, error: new RegExp(`deployment ${next.id} came after it`) })
  t.type(abandoned?.finishedAt, 'string')
  await t.rejects(ledger.endDeployment(left.id, ended('succeeded')), {
    code: 'CONFLICT',
    message: /is already abandoned: never reported its end/,
  })
  await ledger.endDeployment(next.id, ended('succeeded'))
}

async function filtersHistory(t: Test, ledger: Ledger): Promise<void> {
  const apps = ['shop', 'webapi']
  for (const app of apps) await ledger.recordRelease(release('1.0.0', { app }))
  const all: Deployment[] = []
  for (const state of ['failed', 'succeeded'] as const) {
    for (const app of apps) {
      for (const environment of ['test', 'staging']) {
        const deployment = await start(ledger, release('1.0.0', { app }), environment)
        const hosts = [outcome(`${app}-${environment}`)]
        await ledger.endDeployment(deployment.id, ended(state, hosts))
        all.unshift({ ...deployment, state, hosts })
      }
    }
  }
  for (const app of [undefined, ...apps, 'nobody']) {
    for (const environment of [undefined, 'test', 'nowhere']) {
      for (const state of [undefined, 'failed', 'running'] as const) {
        for (const limit of [1, 3, 100]) {
          const found = await ledger.deployments({ app, environment, state, limit })
          const expected = all.filter(
            (one) =>
              one.app === (app ?? one.app) &&
              one.environment === (environment ?? one.environment) &&
              one.state === (state ?? one.state),
          )
          const short = (list: Deployment[]) => list.map(({ id, hosts }) => ({ id, hosts }))
          t.same(short(found), short(expected.slice(0, limit)), `${app} ${environment} ${state}`)
        }
      }
    }
  }
  const unknown = { state: 'done' as 'failed', limit: 1 }
  await t.rejects(ledger.deployments(unknown), { code: 'INPUT_INVALID' })
}

async function knowsCurrent(t: Test, ledger: Ledger): Promise<void> {
  t.same(await ledger.current(), [])
  const versions = ['1.0.0', '1.0.1', '1.0.2']
  for (const version of versions) await ledger.recordRelease(release(version))
  await ledger.recordRelease(release('5.0.0', { app: 'shop' }))
  const deploy = async (one: Release, environment: string, state: 'succeeded' | 'failed') => {
    const { id } = await start(ledger, one, environment)
    await ledger.endDeployment(id, ended(state, [outcome('app-01')]))
    return id
  }
  const current = async (app?: string) =>
    (await ledger.current(app)).map((one) => `${one.app}@${one.version} ${one.environment}`)
  await deploy(release('1.0.1'), 'test', 'succeeded')
  await deploy(release('1.0.1'), 'production', 'failed')
  t.same(await current(), ['webapi@1.0.1 test'])
  await deploy(release('1.0.2'), 'test', 'failed')
  await deploy(release('1.0.0'), 'staging', 'succeeded')
  await deploy(release('5.0.0', { app: 'shop' }), 'test', 'succeeded')
  await start(ledger, release('1.0.2'), 'staging')
  const expected = ['webapi@1.0.0 staging', 'webapi@1.0.1 test']
  t.same(await current(), ['shop@5.0.0 test', ...expected])
  t.same(await current('webapi'), expected)
  t.same(await current('nobody'), [])
  const back = await deploy(release('1.0.0'), 'test', 'succeeded')
  const now = (await ledger.current('webapi')).find((one) => one.environment === 'test')
  t.match(now, { id: back, version: '1.0.0', hosts: [{ host: 'app-01' }] }, 'after going back')
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

async function locks(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  const take = (owner: string, ttl = MINUTE, environment = 'production') =>
    ledger.lock('webapi', environment, owner, 'release of 1.4.2', ttl)
  const first = await take('li')
  t.match(first, { app: 'webapi', environment: 'production', owner: 'li', token: Number })
  const conflict = {
    code: 'CONFLICT',
    message: `webapi in production is locked by li (release of 1.4.2) until ${first.expiresAt}`,
    hint: /unlock/,
  }
  await t.rejects(take('wang'), conflict)
  await t.rejects(take('li'), conflict, 'the same person may run two pipelines')
  t.strictSame(await ledger.findLock('webapi', 'production'), first)
  t.equal(await ledger.findLock('webapi', 'test'), undefined)

  const elsewhere = await take('wang', MINUTE, 'test')
  t.ok(elsewhere.token > first.token, 'the token grows')
  const longer = await ledger.heartbeat(first, 5 * MINUTE)
  t.ok(longer.expiresAt > first.expiresAt)
  t.equal(longer.token, first.token)
  t.strictSame(await ledger.findLock('webapi', 'production'), longer)

  await ledger.unlock(elsewhere)
  t.strictSame(await ledger.findLock('webapi', 'production'), longer, 'only its own is released')
  await ledger.unlock(first)
  await ledger.unlock(first)
  await t.rejects(ledger.heartbeat(first, MINUTE), {
    code: 'CONFLICT',
    message: 'li lost the lock of webapi in production: nobody holds it now',
  })

  const short = await take('li', 30)
  await sleep(60)
  t.equal(await ledger.findLock('webapi', 'production'), undefined)
  const revived = await ledger.heartbeat(short, 30)
  t.equal(revived.token, short.token, 'an expired lock that nobody took can be kept')
  await sleep(60)
  const second = await open()
  t.teardown(() => second.close())
  const taken = await second.lock('webapi', 'production', 'wang', 'hotfix', MINUTE)
  t.ok(taken.token > short.token && short.token > elsewhere.token)
  await t.rejects(ledger.heartbeat(short, MINUTE), {
    code: 'CONFLICT',
    message: /^li lost the lock of webapi in production: wang \(hotfix\) holds it until /,
  })
  await ledger.unlock(short)
  t.strictSame(await ledger.findLock('webapi', 'production'), taken, 'the younger lock stays')
}

async function oneHolder(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  const second = await open()
  t.teardown(() => second.close())
  const tries = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? ledger : second).lock('webapi', 'test', `run-${i}`, 'race', MINUTE),
    ),
  )
  t.equal(tries.filter((one) => one.status === 'fulfilled').length, 1)
  for (const one of tries) {
    if (one.status === 'rejected') t.match(one.reason, { code: 'CONFLICT' })
  }
}

/** What one of three callers does; `wait` lets the clock go on. Times in milliseconds. */
interface Operation {
  verb: 'lock' | 'heartbeat' | 'unlock' | 'wait'
  caller: number
  time: number
}

const operations: fc.Arbitrary<Operation[]> = fc.array(
  fc.record({
    verb: fc.constantFrom('lock', 'heartbeat', 'unlock', 'wait'),
    caller: fc.nat(2),
    time: fc.integer({ min: 1, max: 50 }),
  }),
  { minLength: 10, maxLength: 40, size: 'max' },
)

/** Random sequences against a model that, by its shape, has one holder at most. */
async function neverTwoHolders(t: Test, _ledger: Ledger, open: OpenLedger): Promise<void> {
  let clock = Date.parse('2026-01-01T00:00:00.000Z')
  const ledgers = await Promise.all([1, 2, 3].map(() => open({ now: () => clock })))
  t.teardown(() => Promise.all(ledgers.map((ledger) => ledger.close())))
  let runs = 0
  let newest = 0
  const seen = { taken: 0, takenOver: 0, refused: 0, kept: 0, lost: 0 }
  const property = fc.asyncProperty(operations, async (sequence) => {
    const environment = `run-${++runs}`
    const had: (Lock | undefined)[] = [undefined, undefined, undefined]
    let held: { token: number; until: number } | undefined
    for (const { verb, caller, time } of sequence) {
      const ledger = ledgers[caller] as Ledger
      const mine = had[caller]
      if (verb === 'wait') clock += time
      if (verb === 'lock') {
        const free = !held || held.until <= clock
        const lock = await unlessConflict(ledger.lock('webapi', environment, 'li', 'why', time))
        if ((lock !== undefined) !== free) throw new Error(`lock: ${lock?.token}, free: ${free}`)
        seen[lock ? (held ? 'takenOver' : 'taken') : 'refused']++
        if (!lock) continue
        if (lock.token <= newest) throw new Error(`token ${lock.token} after ${newest}`)
        newest = lock.token
        had[caller] = lock
        held = { token: lock.token, until: clock + time }
      }
      if (verb === 'heartbeat' && mine) {
        const kept = await unlessConflict(ledger.heartbeat(mine, time))
        const isMine = held?.token === mine.token
        if ((kept !== undefined) !== isMine) throw new Error(`kept: ${kept?.token}, ${isMine}`)
        seen[kept ? 'kept' : 'lost']++
        if (kept) held = { token: mine.token, until: clock + time }
      }
      if (verb === 'unlock' && mine) {
        await ledger.unlock(mine)
        if (held?.token === mine.token) held = undefined
      }
      const live = held && held.until > clock ? held.token : undefined
      const found = await ledger.findLock('webapi', environment)
      if (found?.token !== live) throw new Error(`found ${found?.token}, not ${live}`)
    }
  })
  await fc.assert(property, { numRuns: 40 })
  for (const [what, times] of Object.entries(seen)) t.ok(times > 10, `${what}: ${times} times`)
}

async function unlessConflict<T>(attempt: Promise<T>): Promise<T | undefined> {
  try {
    return await attempt
  } catch (error) {
    if (isStepError(error, 'CONFLICT')) return undefined
    throw error
  }
}

async function reopens(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  await ledger.recordRelease(release('1.0.0'))
  const lock = await ledger.lock('webapi', 'test', 'li', 'why', MINUTE)
  await ledger.nextVersion('webapi')
  await ledger.close()
  await ledger.close()
  await t.rejects(ledger.current(), { code: 'INPUT_INVALID', message: /is closed$/ })
  const again = await open()
  t.teardown(() => again.close())
  t.strictSame(await again.findRelease('webapi', '1.0.0'), release('1.0.0'))
  t.strictSame(await again.findLock('webapi', 'test'), lock)
  t.equal(await again.nextVersion('webapi'), '1.0.2')
}
