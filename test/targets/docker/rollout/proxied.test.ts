import t from 'tap'
import type { Host } from '../../../../src/targets/docker/host.ts'
import { parseHealth } from '../../../../src/targets/docker/notation.ts'
import { createRolloutProxy } from '../../../../src/targets/docker/rollout/proxy.ts'
import { oneByOne } from '../../../../src/targets/strategy.ts'
import { send } from '../../../support/servers/backends.ts'
import { startDockerRegistry } from '../../../support/servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../../../support/servers/engine.ts'
import { freePort } from '../../../support/servers/ports.ts'
import { startHaproxy, startNginx } from '../../../support/servers/proxies/reverse-proxies.ts'
import { mortal } from '../mortal.ts'
import { openHostsBehindProxy } from './behind-proxy.ts'

const skip = noEngine('docker-registry', 'gcc', 'nginx', 'haproxy')
if (skip) t.test('rollouts behind a proxy', { skip }, async () => {})
else {
  const engine = await startEngine()
  const registry = await startDockerRegistry()
  t.teardown(() => Promise.all([engine.stop(), registry.close()]))
  await behindProxies(engine, `${registry.address}/team/demo`)
}

async function behindProxies(engine: TestEngine, repository: string): Promise<void> {
  const { v1, v2, connect, spec, go, open, kept, modes, noneLost, slotsOf, fixedPorts } =
    await openHostsBehindProxy(engine, repository)

  for (const [kind, start] of [
    ['nginx', startNginx],
    ['haproxy', startHaproxy],
  ] as const) {
    t.test(`${kind}: requests leave a slot before its container is stopped`, async (t) => {
      const host = await connect('app-01', '127.0.0.1')
      const { servers, own } = await slotsOf('app-01')
      const started = await start(t, servers)
      const reverse = await open(t, started, servers)
      const proxy = createRolloutProxy(reverse, servers)
      const name = `web-${kind}`
      const deploy = (image: string, on: Host = host) =>
        go({ spec: spec(name, image, own), hosts: [on], proxy })
      await deploy(v1)
      t.same(await modes(reverse), { 1: 'in', 2: 'out' })
      await noneLost(t, started.url, async () => {
        await deploy(v2)
        t.same(await modes(reverse), { 1: 'out', 2: 'in' })
        const health = { http: parseHealth(':8080/health'), timeout: 1500 }
        const sick = spec(name, v1, { ...own, health, env: { SICK: 'yes' } })
        await t.rejects(go({ spec: sick, hosts: [host], proxy }), { code: 'VERIFY_FAILED' })
        t.same(await modes(reverse), { 1: 'out', 2: 'in' }, 'a failure leaves the proxy as it was')
        // The whole way is about eight verbs; two of them are enough to meet each of its halves.
        for (const verbs of [3, 5]) await deploy(v1, mortal(host, verbs)).catch(() => {})
        await deploy(v1)
      })
      const current = await host.inspect(name)
      const slot = current?.labels['io.crosscloud.slot']?.includes('"slot":1') ? 1 : 2
      t.same(await modes(reverse), { 1: 'out', 2: 'out', [slot]: 'in' })
    })
  }

  for (const [kind, start] of [
    ['nginx', startNginx],
    ['haproxy', startHaproxy],
  ] as const) {
    t.test(`${kind}: where both slots are down it is not said that one serves`, async (t) => {
      const host = await connect('app-01', '127.0.0.1')
      const { servers, own } = await slotsOf('app-01')
      const reverse = await open(t, await start(t, servers), servers)
      const proxy = createRolloutProxy(reverse, servers)
      const name = `down-${kind}`
      await go({ spec: spec(name, v1, own), hosts: [host], proxy })
      const { id } = (await host.inspect(name)) ?? { id: '' }
      await host.stop(id, 1)
      const { log, text } = kept()
      const health = { http: parseHealth(':8080/health'), timeout: 1500 }
      const sick = spec(name, v2, { ...own, health, env: { SICK: 'yes' } })
      await t.rejects(go({ spec: sick, hosts: [host], proxy, log }), { code: 'VERIFY_FAILED' })
      t.match(text(), /warning: .*: nothing serves on app-01: its requests go to slot 1, and the/)
      t.notMatch(text(), /requests for app-01 go to/)
      t.same(await modes(reverse), { 1: 'in', 2: 'out' }, 'a start by hand is enough')
      const next = kept()
      await go({ spec: spec(name, v2, own), hosts: [host], proxy, log: next.log })
      t.match(next.text(), /requests for app-01 go to slot 2/)
    })
  }

  t.test('a host with one port is out of the proxy while its container is replaced', async (t) => {
    const { url, reverse, deploy, proxy } = await fixedPorts(t)
    await deploy(v1)
    t.same(await modes(reverse), { 'app-01': 'in', 'app-02': 'in' })
    await noneLost(t, url, async () => {
      await deploy(v2)
      t.same(await modes(reverse), { 'app-01': 'in', 'app-02': 'in' })
      const verify = async (host: Host) => {
        if (host.name === 'app-02') throw new Error('not on this one')
      }
      await t.rejects(deploy(v1, { verify }))
      t.same(await modes(reverse), { 'app-01': 'in', 'app-02': 'in' }, 'both are back')

      const dying = proxy()
      const putIn = async (host: Host, how: Parameters<typeof dying.putIn>[1]) => {
        if (host.name === 'app-02') throw new Error('the deployer is dead')
        return dying.putIn(host, how)
      }
      // The other host keeps the new container, so that it serves meanwhile.
      const strategy = { ...oneByOne, onFailure: 'stop' as const }
      await t.rejects(deploy(v1, { proxy: { ...dying, putIn }, strategy }))
      t.same(await modes(reverse), { 'app-01': 'in', 'app-02': 'out' })
      const { log, text } = kept()
      await deploy(v2, { log })
      t.same(await modes(reverse), { 'app-01': 'in', 'app-02': 'in' }, 'none is forgotten')
      t.notMatch(text(), /somebody took it out/)
    })
  })

  t.test('a canary has its share of the requests, and its errors end it', async (t) => {
    const { url, reverse, deploy } = await fixedPorts(t)
    await deploy(v1)
    const weights = async () => (await reverse.states()).map(({ weight }) => weight)
    const strategy = { ...oneByOne, canary: { percent: 10 }, watch: 1, maxErrorRate: 5 }
    const seen = new Set<string>()
    const look = async () => void seen.add(String(await weights()))
    await deploy(v2, { strategy, checkLock: look })
    // Where the other host has 100, 11 are a tenth of all.
    t.ok(seen.has('11,100'), [...seen].join(' '))
    t.same(await weights(), [100, 100])

    const fail = async () => {
      if (String(await weights()) !== '11,100') return
      for (let i = 0; i < 25; i++) await send(url, { cookie: 'webapi_test_server=app-01' })
    }
    await t.rejects(deploy(v1, { strategy, checkLock: fail }, { FAILS: 'yes' }), {
      code: 'VERIFY_FAILED',
      message: /of \d+ responses of app-01 were server errors, of the other hosts 0 of \d+/,
    })
    t.same(await weights(), [100, 100])
    t.same(await modes(reverse), { 'app-01': 'in', 'app-02': 'in' })
    for (let i = 0; i < 4; i++) t.match(await send(url), { status: 200, body: '2' })

    const [first] = await reverse.states()
    if (!first) throw new Error('no server')
    await reverse.setWeights(new Map([[first.server, 11]]))
    const { log, text } = kept()
    await deploy(v1, { log })
    t.match(text(), /warning: HAProxy.*: app-01 had 11 % of its share/)
    t.same(await weights(), [100, 100])
  })

  t.test('a host that somebody took out stays out', async (t) => {
    const host = await connect('app-01', '127.0.0.1')
    const { servers, own } = await slotsOf('app-01')
    const other = { host: 'app-02', slot: 1, address: '127.0.0.1', port: await freePort() }
    const all = [...servers, other, { ...other, slot: 2, port: await freePort() }]
    const reverse = await open(t, await startNginx(t, all), all)
    for (const server of servers) await reverse.takeOut(server, { evenIfLast: true })
    const { log, text } = kept()
    const proxy = createRolloutProxy(reverse, all)
    await go({ spec: spec('alone', v1, own), hosts: [host], proxy, log })
    t.match(text(), /warning: nginx.*app-01 is out of it: somebody took it out/)
    const states = await reverse.states()
    t.ok(states.every(({ server, mode }) => (server.host === 'app-01') === (mode !== 'in')))
  })
}
