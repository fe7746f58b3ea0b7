import type { Test } from 'tap'
import type { Deployment, Ledger, Release } from '../../../src/ledger/ledger.ts'
import { digestOf, ended, outcome, release, start } from './samples.ts'

export async function walksStates(t: Test, ledger: Ledger): Promise<void> {
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

export async function abandons(t: Test, ledger: Ledger): Promise<void> {
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
  await t.rejects(ledger.endDeployment(left.id, ended('abandoned')), {
    code: 'CONFLICT',
    message: /is already abandoned: never reported its end/,
  })
  await ledger.endDeployment(next.id, ended('succeeded'))
}

export async function filtersHistory(t: Test, ledger: Ledger): Promise<void> {
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
  const ofVersion = async (version: string) =>
    (await ledger.deployments({ app: 'shop', version, limit: 100 })).length
  t.same([await ofVersion('1.0.0'), await ofVersion('1.0')], [4, 0], 'by version')
  await t.rejects(ofVersion(`1' --`), { code: 'INPUT_INVALID' })
  const unknown = { state: 'done' as 'failed', limit: 1 }
  await t.rejects(ledger.deployments(unknown), { code: 'INPUT_INVALID' })
}

export async function knowsCurrent(t: Test, ledger: Ledger): Promise<void> {
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
  const now = await ledger.currentDeployment('webapi', 'test')
  t.match(now, { id: back, version: '1.0.0', hosts: [{ host: 'app-01' }] }, 'after going back')
  t.match(await ledger.currentDeployment('webapi', 'staging'), { version: '1.0.0' })
  t.equal(await ledger.currentDeployment('webapi', 'production'), undefined)
  t.equal(await ledger.currentDeployment('nobody', 'test'), undefined)
  await t.rejects(ledger.currentDeployment('webapi', 'Test'), { code: 'INPUT_INVALID' })
}
