import type { Test } from 'tap'
import type { Ledger } from '../../../src/ledger/ledger.ts'
import { ended, MINUTE, type OpenLedger, outcome, release, start } from './samples.ts'

export async function showsStatus(t: Test, _: Ledger, open: OpenLedger): Promise<void> {
  let time = Date.parse('2026-05-01T12:00:00.000Z')
  const ledger = await open({ now: () => time })
  t.teardown(() => ledger.close())
  t.same(await ledger.status(), [])
  for (const version of ['1.0.0', '1.0.1', '1.0.2']) await ledger.recordRelease(release(version))
  await ledger.recordRelease(release('5.0.0', { app: 'shop' }))
  const put = async (version: string, environment: string, state: 'succeeded' | 'failed') => {
    const made = version === '5.0.0' ? release(version, { app: 'shop' }) : release(version)
    const { id } = await start(ledger, made, environment)
    await ledger.endDeployment(id, ended(state))
  }
  await put('1.0.0', 'production', 'succeeded')
  await put('1.0.2', 'test', 'succeeded')
  await put('1.0.1', 'test', 'failed')
  await put('5.0.0', 'test', 'succeeded')
  const nothing = { bad: undefined, lock: undefined, underway: undefined }
  const cells = await ledger.status()
  t.match(cells, [
    { app: 'shop', environment: 'test', behind: 0, current: { version: '5.0.0' }, ...nothing },
    {
      app: 'webapi',
      environment: 'production',
      behind: 2,
      current: { version: '1.0.0', by: 'li', verified: true, digest: release('1.0.0').digest },
    },
    { app: 'webapi', environment: 'test', behind: 0, current: { version: '1.0.2' } },
  ])
  t.same(await ledger.status({ app: 'webapi' }), cells.slice(1))
  t.same(await ledger.status({ environment: 'production' }), [cells[1]])
  t.same(await ledger.status({ app: 'nobody' }), [])

  const partly = await start(ledger, release('1.0.2'), 'test')
  const left = [outcome('app-01'), outcome('app-02', { ok: false, containerId: undefined })]
  await ledger.endDeployment(partly.id, ended('succeeded', left))
  t.match(
    (await ledger.status({ app: 'webapi' })).map(({ missing }) => missing),
    [[], ['app-02']],
    'a host that was left out of what runs',
  )
  await put('1.0.2', 'test', 'succeeded')
  t.same((await ledger.status({ environment: 'test' }))[1]?.missing, [])
  const hosts = [{ name: 'app-01', address: 'unix:///x' }]
  await start(ledger, release('1.0.2'), 'test', { hosts })
  t.same(await ledger.hosts('webapi', 'test'), hosts)
  t.same(await ledger.hosts('webapi', 'production'), [])

  const lock = await ledger.lock('webapi', 'staging', 'wang', 'deploy', MINUTE)
  const begun = await start(ledger, release('1.0.1'), 'staging', { lockToken: lock.token })
  const place = { app: 'webapi', environment: 'production', version: '1.0.0' }
  await ledger.mark({ ...place, bad: true, by: 'li', reason: 'slow' })
  const [marked, first] = await ledger.status({ app: 'webapi' })
  t.match(marked?.bad, { by: 'li', reason: 'slow' })
  t.match(first, {
    environment: 'staging',
    current: undefined,
    lock: { owner: 'wang', reason: 'deploy' },
    underway: { deployment: begun.id, version: '1.0.1', by: 'li', state: 'running' },
  })
  await ledger.mark({ ...place, bad: false, by: 'li', reason: 'fast' })
  time += 2 * MINUTE
  const [good, lost] = await ledger.status({ app: 'webapi' })
  t.equal(good?.bad, undefined)
  t.match(lost, { lock: undefined, underway: { state: 'abandoned' } })
}

/** What a deployment that failed has left on some hosts counts until another succeeds. */
export async function showsPartial(t: Test, ledger: Ledger): Promise<void> {
  for (const version of ['1.0.0', '1.0.1', '1.0.2']) await ledger.recordRelease(release(version))
  const put = async (version: string, state: 'succeeded' | 'failed', on: string) => {
    const begun = ['a', 'b', 'c'].map((name) => ({ name, address: `tcp://${name}` }))
    const { id } = await start(ledger, release(version), 'test', { hosts: begun })
    const hosts = ['a', 'b', 'c'].map((name) => outcome(name, { ok: on.includes(name) }))
    await ledger.endDeployment(id, ended(state, hosts))
    return id
  }
  const partial = async () => {
    const cells = await ledger.status({ app: 'webapi', environment: 'test' })
    return cells.flatMap((cell) => cell.partial)
  }
  const first = await put('1.0.0', 'failed', 'a')
  const left = { host: 'a', deployment: first, version: '1.0.0' }
  t.strictSame(await partial(), [left], 'even where nothing ever succeeded')
  t.match(
    await ledger.status(),
    [{ app: 'webapi', environment: 'test', current: undefined, partial: [left] }],
    'over all applications, too',
  )
  t.strictSame(await ledger.status({ environment: 'staging' }), [])
  await put('1.0.0', 'succeeded', 'ab')
  t.strictSame(await partial(), [])
  const second = await put('1.0.1', 'failed', 'bc')
  await put('1.0.2', 'failed', '')
  const third = await put('1.0.2', 'failed', 'a c')
  t.strictSame(await partial(), [
    { host: 'a', deployment: third, version: '1.0.2' },
    { host: 'b', deployment: second, version: '1.0.1' },
    { host: 'c', deployment: third, version: '1.0.2' },
  ])
  t.match(await ledger.status(), [{ current: { version: '1.0.0' }, missing: ['c'] }])
  t.strictSame(await ledger.status({ environment: 'staging' }), [])
  await put('1.0.0', 'succeeded', 'abc')
  t.strictSame(await partial(), [])
}

/** What the ledger cannot know, of hosts that a deployment has not left as they were. */
export async function showsUnsettled(t: Test, ledger: Ledger): Promise<void> {
  for (const version of ['1.0.0', '1.0.1']) await ledger.recordRelease(release(version))
  const put = async (
    version: string,
    state: 'succeeded' | 'failed',
    ids: Record<string, string>,
  ) => {
    const { id } = await start(ledger, release(version), 'test')
    const hosts = Object.entries(ids).map(([host, containerId]) =>
      outcome(host, { ok: state === 'succeeded', containerId: containerId || undefined }),
    )
    await ledger.endDeployment(id, ended(state, hosts))
    return id
  }
  const unsettled = async () => (await ledger.status()).flatMap((cell) => cell.unsettled)
  const of = (host: string, deployment: string) => ({ host, deployment, version: '1.0.1' })
  await put('1.0.0', 'succeeded', { a: 'old-a', b: 'old-b' })
  await put('1.0.1', 'failed', { a: 'old-a', b: 'old-b' })
  t.strictSame(await unsettled(), [], 'both were restored')
  const cut = await put('1.0.1', 'failed', { a: 'old-a', b: '' })
  t.strictSame(await unsettled(), [of('b', cut)], 'nobody knows what serves on b')
  const killed = await start(ledger, release('1.0.1'), 'test')
  t.match(await ledger.status(), [{ underway: { deployment: killed.id, hosts: ['a', 'b'] } }])
  const refused = await put('1.0.1', 'failed', {})
  t.strictSame(
    await unsettled(),
    [of('a', killed.id), of('b', killed.id)],
    `${refused} did nothing`,
  )
  const later = await put('1.0.1', 'failed', { a: 'old-a', b: `of-${killed.id}` })
  t.strictSame(await unsettled(), [of('b', later)], 'what was restored is not what ran before')
  await put('1.0.0', 'succeeded', { a: 'new-a', b: 'new-b' })
  t.strictSame(await unsettled(), [])
}

export async function listsDeliveries(t: Test, _: Ledger, open: OpenLedger): Promise<void> {
  let time = Date.parse('2026-05-01T12:00:00.000Z')
  const ledger = await open({ now: () => time })
  t.teardown(() => ledger.close())
  for (const version of ['1.0.0', '1.0.1']) await ledger.recordRelease(release(version))
  const put = async (version: string, state: 'succeeded' | 'failed', kind?: 'rollback') => {
    const { id } = await start(ledger, release(version), 'test', kind ? { kind } : {})
    time += MINUTE
    await ledger.endDeployment(id, ended(state))
  }
  await put('1.0.0', 'succeeded')
  const since = new Date(time).toISOString()
  await put('1.0.1', 'failed')
  await put('1.0.1', 'succeeded')
  await put('1.0.0', 'succeeded', 'rollback')
  await ledger.mark({
    app: 'webapi',
    environment: 'test',
    version: '1.0.1',
    bad: true,
    by: 'li',
    reason: 'x',
  })
  const lock = await ledger.lock('webapi', 'test', 'li', 'deploy', MINUTE)
  await start(ledger, release('1.0.1'), 'test', { lockToken: lock.token })
  time += 2 * MINUTE
  const { committedAt, bakedAt } = release('1.0.1')
  t.match(await ledger.deliveries({ since }), [
    { id: 'd2', state: 'failed', kind: 'deploy', isFirst: true, bad: true, committedAt, bakedAt },
    { id: 'd3', state: 'succeeded', isFirst: true, replaced: 'd1' },
    { id: 'd4', kind: 'rollback', version: '1.0.0', isFirst: false, bad: false, replaced: 'd3' },
    { id: 'd5', state: 'abandoned', isFirst: false, finishedAt: undefined },
  ])
  t.equal((await ledger.deliveries({ since, app: 'webapi', environment: 'test' })).length, 4)
  t.same(await ledger.deliveries({ since, environment: 'production' }), [])
  t.same(await ledger.deliveries({ since, app: 'shop' }), [])
}
