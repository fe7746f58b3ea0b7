import { lstat, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { StepError } from '../../../../src/core/errors.ts'
import type { Host } from '../../../../src/targets/docker/host.ts'
import { createRolloutProxy } from '../../../../src/targets/docker/rollout/proxy.ts'
import { startDockerRegistry } from '../../../support/servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../../../support/servers/engine.ts'
import { NAME, startNginx } from '../../../support/servers/proxies/reverse-proxies.ts'
import { type HalfRequest, openHostsBehindProxy, startRequest } from './behind-proxy.ts'

const skip = noEngine('docker-registry', 'gcc', 'nginx', 'haproxy')
if (skip) t.test('interrupted rollouts behind a proxy', { skip }, async () => {})
else {
  const engine = await startEngine()
  const registry = await startDockerRegistry()
  t.teardown(() => Promise.all([engine.stop(), registry.close()]))
  await behindProxies(engine, `${registry.address}/team/demo`)
}

async function behindProxies(engine: TestEngine, repository: string): Promise<void> {
  const { v1, v2, connect, spec, go, open, kept, modes, slotsOf, called, fixedPorts } =
    await openHostsBehindProxy(engine, repository)

  t.test('a cancel does not wait for the requests of one port', async (t) => {
    const { url, reverse, deploy } = await fixedPorts(t, startNginx)
    await deploy(v1)
    const stop = new AbortController()
    const open: HalfRequest[] = []
    const verify = async (host: Host) => {
      if (host.name !== 'app-02') return
      open.push(await startRequest(url))
      stop.abort(new StepError('CANCELLED', 'stopped by SIGINT'))
    }
    const error = await deploy(v2, { verify, signal: stop.signal }).catch((thrown) => thrown)
    t.match(error.standings, [
      { serves: 'old', unproven: true },
      { serves: 'old', unproven: true },
    ])
    t.match((await error.prove()).standings, [{ serves: 'old' }, { serves: 'old' }])
    t.same(await modes(reverse), { 'app-01': 'in', 'app-02': 'in' })
    for (const each of open) await each.end()
  })

  t.test('the last host that serves stays in when the proxy takes none back', async (t) => {
    const { reverse, servers, deploy } = await fixedPorts(t)
    await deploy(v1)
    let refuses = false
    const putIn: typeof reverse.putIn = async (server, how) => {
      if (refuses) throw new StepError('COMMAND_FAILED', 'the proxy refuses it')
      return reverse.putIn(server, how)
    }
    const verify = async (host: Host) => {
      refuses = host.name === 'app-02'
    }
    const proxy = createRolloutProxy({ ...reverse, putIn }, servers)
    const error = await deploy(v2, { proxy, verify }).catch((thrown) => thrown)
    t.match(error.standings, [
      { serves: 'new', error: /no other server than app-01 is serving, so it stays in/ },
      { serves: 'old', error: /the proxy refuses it/ },
    ])
    t.same(await modes(reverse), { 'app-01': 'in', 'app-02': 'out' })
  })

  t.test(
    'after a cancel the proxy sends to the old slot, and the new one ends its requests',
    async (t) => {
      const [a, b] = [await connect('app-01', '127.0.0.1'), await connect('app-02', '127.0.0.1')]
      const [one, two] = [await slotsOf('app-01'), await slotsOf('app-02')]
      const all = [...one.servers, ...two.servers]
      const started = await startNginx(t, all)
      const reverse = await open(t, started, all)
      const proxy = createRolloutProxy(reverse, all)
      const hosts = [a, called(b, 'halt', 'halt-two')]
      const ofOne = { ...spec('halt', v1, one.own) }
      await go({ spec: ofOne, hosts: hosts.slice(0, 1), proxy })
      await go({ spec: spec('halt', v1, two.own), hosts: hosts.slice(1), proxy })
      const stop = new AbortController()
      const halves: HalfRequest[] = []
      const verify = async (host: Host) => {
        if (host.name !== 'app-02') return
        halves.push(await startRequest(started.url))
        stop.abort(new StepError('CANCELLED', 'stopped by SIGINT'))
      }
      const { log, text } = kept()
      const v = spec('halt', v2, one.own)
      const going = go({ spec: v, hosts, proxy, verify, log, signal: stop.signal })
      const error = await going.then(
        () => undefined,
        (thrown) => thrown,
      )
      t.match(error.standings, [{ serves: 'old', unproven: true }, { serves: 'old' }])
      const proven = await error.prove()
      t.match(proven.standings, [
        { serves: 'old', error: undefined },
        { serves: 'old', error: /SIGINT/ },
      ])
      t.notMatch(text(), /could not be put right|but: stopped/)
      const of = async (host: string) =>
        (await reverse.states()).flatMap(({ server, mode }) => (server.host === host ? mode : []))
      t.same(await of('app-01'), ['in', 'out'])
      t.notOk(await a.inspect('halt.next'))
      for (const each of halves) t.match(await each.end(), /^HTTP\/1.1 200/)
    },
  )

  t.test(
    'a proxy that cannot write its file is named, and nothing half-written stays',
    async (t) => {
      const host = await connect('app-01', '127.0.0.1')
      const { servers, own } = await slotsOf('app-01')
      const started = await startNginx(t, servers)
      const reverse = await open(t, started, servers)
      const proxy = createRolloutProxy(reverse, servers)
      await go({ spec: spec('full', v1, own), hosts: [host], proxy })
      const file = join(started.folder, 'crosscloud', `${NAME}.conf`)
      // No file can be copied over a folder.
      const verify = async () =>
        void (await mkdir(`${file}.before/${NAME}.conf`, { recursive: true }))
      const { log, text } = kept()
      const going = go({ spec: spec('full', v2, own), hosts: [host], proxy, log, verify })
      await t.rejects(going, {
        message: /nginx on this machine: its servers cannot be written: /,
        hint: /on the machine of this proxy has room/,
      })
      t.notMatch(text(), /demo 2 starts/, 'the application has nothing to do with it')
      await t.rejects(lstat(`${file}.next`), { code: 'ENOENT' })
      t.same(await modes(reverse), { 1: 'in', 2: 'out' })
    },
  )
}
