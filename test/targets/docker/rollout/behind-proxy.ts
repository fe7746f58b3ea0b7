import { connect as connectTcp } from 'node:net'
import type { Test } from 'tap'
import { createLog, silentLog } from '../../../../src/core/log.ts'
import { openProxy } from '../../../../src/proxies/open.ts'
import { parseAddress } from '../../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../../src/targets/docker/driver.ts'
import type { ContainerSettings, Host } from '../../../../src/targets/docker/host.ts'
import { parseHealth, parsePort } from '../../../../src/targets/docker/notation.ts'
import type { RolloutOptions } from '../../../../src/targets/docker/rollout/options.ts'
import { createRolloutProxy } from '../../../../src/targets/docker/rollout/proxy.ts'
import { rollOut } from '../../../../src/targets/docker/rollout/rollout.ts'
import type { ProxyServer, ReverseProxy } from '../../../../src/targets/proxy.ts'
import type { TestEngine } from '../../../support/servers/engine.ts'
import { freePort } from '../../../support/servers/ports.ts'
import {
  NAME,
  parseProxy,
  startHaproxy,
  type TestProxy,
} from '../../../support/servers/proxies/reverse-proxies.ts'
import { publishDemoImage } from '../../../support/setups/demo-image.ts'
import { settings } from '../host-conformance.ts'
import { startTraffic } from './traffic.ts'

/** What rollouts behind a proxy need: one engine is all hosts, by containers of other names. */
export async function openHostsBehindProxy(engine: TestEngine, repository: string) {
  const v1 = await publishDemoImage(engine, repository, '1')
  const v2 = await publishDemoImage(engine, repository, '2')
  const { signal } = new AbortController()
  const connect = (name: string, bind: string) =>
    connectDocker({
      name,
      bind,
      address: parseAddress(engine.address),
      credentials: async () => undefined,
      signal,
    })
  const spec = (name: string, image: string, own: Partial<ContainerSettings>) => ({
    name,
    image,
    labels: { 'test.name': name },
    settings: {
      ...settings,
      health: { http: parseHealth(':8080/health'), timeout: 60_000 },
      ...own,
    },
    files: [],
  })
  const go = (options: Partial<RolloutOptions> & Pick<RolloutOptions, 'spec' | 'hosts'>) =>
    rollOut({ log: silentLog, signal, verify: async () => {}, ...options })
  const open = async (t: Test, started: TestProxy, servers: readonly ProxyServer[]) => {
    const settings = parseProxy({ ...started.settings, drain: '2s' })
    const options = { name: NAME, servers, folder: started.folder, log: silentLog }
    const proxy = await openProxy(settings, options)
    t.teardown(() => proxy.close())
    return proxy
  }
  const kept = () => {
    const lines: string[] = []
    const write = (text: string) => void lines.push(text)
    return { log: createLog({ format: 'plain', write, mask: String }), text: () => lines.join('') }
  }
  const modes = async (proxy: ReverseProxy) =>
    Object.fromEntries(
      (await proxy.states()).map(({ server, mode }) => [server.slot ?? server.host, mode]),
    )
  const noneLost = async (t: Test, url: string, work: () => Promise<void>) => {
    const traffic = startTraffic([Number(new URL(url).port)])
    await work().finally(() => traffic.stop())
    t.same(traffic.lost, [], `none of ${traffic.sent()} requests is lost`)
    t.ok(traffic.sent() > 10)
  }
  const slotsOf = async (host: string) => {
    const ports = [await freePort(), await freePort()] as const
    const slot = (port: number) => ({
      ports: [parsePort(`${port}:8080`)],
      env: { PORT: String(port) },
      values: {},
    })
    const servers = ports.map(
      (port, at): ProxyServer => ({ host, slot: at + 1, address: '127.0.0.1', port }),
    )
    const own: Partial<ContainerSettings> = {
      network: 'host',
      ports: [],
      slots: [slot(ports[0]), slot(ports[1])],
    }
    return { servers, own }
  }

  /** A host that gives its containers another name, so that one engine can be two hosts. */
  const called = (host: Host, name: string, own: string): Host => ({
    ...host,
    inspect: (of) => host.inspect(of.replace(name, own)),
    create: (wanted) => host.create({ ...wanted, name: wanted.name.replace(name, own) }),
    rename: (id, to) => host.rename(id, to.replace(name, own)),
  })

  /** Two hosts with one port each behind HAProxy; both are one engine here. */
  const fixedPorts = async (
    t: Test,
    start: (t: Test, servers: readonly ProxyServer[]) => Promise<TestProxy> = startHaproxy,
  ) => {
    const [a, b] = [await connect('app-01', '127.0.0.2'), await connect('app-02', '127.0.0.3')]
    const port = await freePort()
    const servers = [
      { host: 'app-01', slot: undefined, address: '127.0.0.2', port },
      { host: 'app-02', slot: undefined, address: '127.0.0.3', port },
    ]
    const { url, reverse } = await start(t, servers).then(async (started) => ({
      url: started.url,
      reverse: await open(t, started, servers),
    }))
    const name = `fixed-${port}`
    // Each has a name of its own for its container.
    const hosts = [called(a, name, `${name}-one`), called(b, name, `${name}-two`)]
    const deploy = (image: string, more: Partial<RolloutOptions> = {}, env = {}) =>
      go({
        spec: spec(name, image, { ports: [parsePort(`${port}:8080`)], env }),
        hosts,
        proxy: createRolloutProxy(reverse, servers),
        ...more,
      })
    t.teardown(async () => {
      for (const host of [a, b]) {
        for (const { id } of await host.list({ 'test.name': name })) await host.remove(id)
      }
    })
    return { url, reverse, servers, deploy, proxy: () => createRolloutProxy(reverse, servers) }
  }

  return { v1, v2, connect, spec, go, open, kept, modes, noneLost, slotsOf, called, fixedPorts }
}

export interface HalfRequest {
  /** Sends the rest; the whole response. */
  end(): Promise<string>
}

/** A request that the proxy works on until its body comes. */
export async function startRequest(url: string): Promise<HalfRequest> {
  const { hostname, port } = new URL(url)
  const socket = connectTcp(Number(port), hostname)
  let response = ''
  socket.setEncoding('utf8').on('data', (text: string) => {
    response += text
  })
  const head = ['POST / HTTP/1.1', 'Host: test', 'Connection: close', 'Content-Length: 4']
  head.push('Expect: 100-continue')
  const begun = new Promise<void>((resolve, reject) => {
    socket.once('error', reject).once('data', () => resolve())
  })
  socket.write(`${head.join('\r\n')}\r\n\r\n`)
  await begun
  response = ''
  return {
    async end() {
      const over = new Promise<void>((resolve) => socket.once('close', () => resolve()))
      socket.write('body')
      await over
      return response
    },
  }
}
