import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { silentLog } from '../../src/core/log.ts'
import { parseSocketAddress } from '../../src/proxies/haproxy/address.ts'
import { openRuntime } from '../../src/proxies/haproxy/runtime.ts'
import { openProxy } from '../../src/proxies/open.ts'
import type { ProxyServer, ReverseProxy } from '../../src/targets/proxy.ts'
import { type Backend, send, startBackends } from '../support/servers/backends.ts'
import { startSshServer } from '../support/servers/engine.ts'
import { freePort } from '../support/servers/ports.ts'
import {
  NAME,
  parseProxy,
  startHaproxy,
  type TestProxy,
} from '../support/servers/proxies/reverse-proxies.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { until } from '../support/until.ts'
import { proxyConformance } from './proxy-conformance.ts'

const skip = missingProgram('haproxy')

async function open(
  t: Pick<Test, 'teardown'>,
  servers: readonly ProxyServer[],
  written: Record<string, unknown>,
  more: { sshConfig?: string; timeout?: number } = {},
): Promise<ReverseProxy> {
  const options = { name: NAME, servers, folder: '.', log: silentLog, ...more }
  const proxy = await openProxy(parseProxy(written), options)
  t.teardown(() => proxy.close())
  return proxy
}

const withHaproxy = ({ settings }: TestProxy, changed: Record<string, unknown>) => ({
  haproxy: { ...(settings.haproxy as object), ...changed },
})

t.test('HAProxy does what every proxy must', { skip }, async (t) => {
  const [first, second] = (await startBackends(t, 2)) as [Backend, Backend]
  const servers = [first.server, second.server]
  const haproxy = await startHaproxy(t, servers)
  const proxy = await open(t, servers, { ...haproxy.settings, drain: '60s' })
  const hasty = await open(t, servers, { ...haproxy.settings, drain: '500ms' })
  await proxyConformance(t, { proxy, hasty, backends: [first, second], url: haproxy.url })
})

t.test('a server that its check does not find up takes over from none', { skip }, async (t) => {
  const [one] = await startBackends(t, 1)
  if (!one) throw new Error('no backend')
  const dead = { ...one.server, slot: 2, port: await freePort() }
  const servers = [one.server, dead]
  const haproxy = await startHaproxy(t, servers)
  const proxy = await open(t, servers, haproxy.settings, { timeout: 3000 })
  await proxy.takeOut(dead)
  await t.rejects(proxy.takeOut(one.server, { instead: dead }), {
    code: 'UNAVAILABLE',
    message: /its own check does not find app-01-2 up, 3 s after/,
  })
  t.match(await proxy.states(), [
    { mode: 'in', up: true },
    { mode: 'in', up: false },
  ])
  t.equal((await send(haproxy.url)).body, 'slot 1')
  await t.rejects(proxy.takeOut(one.server), { code: 'CONFLICT' }, 'in, but down, is not serving')
})

t.test('what was set survives a reload, by the state file', { skip }, async (t) => {
  const backends = await startBackends(t, 2)
  const servers = backends.map(({ server }) => server)
  const [one, two] = servers
  if (!one || !two) throw new Error('no servers')
  const haproxy = await startHaproxy(t, servers)
  const proxy = await open(t, servers, haproxy.settings)
  await proxy.takeOut(one)
  await proxy.setWeights(new Map([[two, 40]]))
  t.match(await readFile(join(haproxy.folder, 'state'), 'utf8'), /^1\n# be_id /)
  const reloads = () => haproxy.server.log().split('Loading success').length
  const before = reloads()
  haproxy.server.child.kill('SIGUSR2')
  t.ok(await until(() => reloads() > before))
  t.ok(await until(async () => await proxy.isServing(two)))
  t.match(await proxy.states(), [{ mode: 'out' }, { mode: 'in', weight: 40 }])
  t.equal((await send(haproxy.url)).body, 'slot 2')
})

t.test(
  'a socket on another machine is reached by ssh alone',
  {
    skip: skip || missingProgram('sshd', 'ssh', 'ssh-keygen'),
  },
  async (t) => {
    const backends = await startBackends(t, 2)
    const servers = backends.map(({ server }) => server)
    const [one] = servers
    if (!one) throw new Error('no server')
    const haproxy = await startHaproxy(t, servers)
    const ssh = await startSshServer({ socket: '/nowhere' })
    t.teardown(() => ssh.stop())
    const socket = `${ssh.address}${join(haproxy.folder, 's')}`
    const proxy = await open(t, servers, withHaproxy(haproxy, { socket }), {
      sshConfig: ssh.config,
    })
    t.equal(proxy.name, 'HAProxy on 127.0.0.1')
    await proxy.takeOut(one)
    t.equal((await send(haproxy.url)).body, 'slot 2')
    t.match(await readFile(join(haproxy.folder, 'state'), 'utf8'), /^1\n# be_id /)
    const wrong = withHaproxy(haproxy, { socket: `${socket}x` })
    const none = await open(t, servers, wrong, { sshConfig: ssh.config })
    await t.rejects(none.states(), { code: 'UNAVAILABLE', message: /HAProxy on 127\.0\.0\.1/ })
  },
)

t.test('what does not fit is named, with the next step', { skip }, async (t) => {
  const backends = await startBackends(t, 2)
  const servers = backends.map(({ server }) => server)
  const [one, two] = servers
  if (!one || !two) throw new Error('no servers')
  const haproxy = await startHaproxy(t, servers)
  const states = async (given: readonly ProxyServer[], changed: Record<string, unknown> = {}) =>
    (await open(t, given, withHaproxy(haproxy, changed))).states()
  await t.rejects(states(servers, { backend: 'other' }), {
    code: 'NOT_FOUND',
    message: /backend other: /,
  })
  await t.rejects(states([one, { ...two, slot: 3 }]), {
    code: 'NOT_FOUND',
    message: /has no server app-01-3/,
    hint: /server app-01-3 127\.0\.0\.1:\d+ check/,
  })
  await t.rejects(states([one, { ...two, port: 1 }]), {
    code: 'CONFLICT',
    message: /app-01-2 .* is at 127\.0\.0\.1:\d+, not at 127\.0\.0\.1:1$/,
  })
  await t.rejects(states(servers, { socket: `unix://${haproxy.folder}/none` }), {
    code: 'UNAVAILABLE',
    message: /none\).*ENOENT/,
  })
  const restricted = await startHaproxy(t, servers, { level: 'operator' })
  const proxy = await open(t, servers, restricted.settings)
  await t.rejects(proxy.states(), {
    code: 'FORBIDDEN',
    message: /level operator/,
    hint: /level admin/,
  })
})

t.test('a socket that never ends its answer is an error, and is not kept in memory', async (t) => {
  const path = join(await temporaryFolder(t), 'admin.sock')
  let sent = 0
  const server = createServer((socket) => {
    const chunk = Buffer.alloc(64 * 1024, 'x')
    const write = () => {
      do sent += chunk.length
      while (!socket.destroyed && socket.write(chunk))
    }
    socket.on('drain', write).on('error', () => {})
    write()
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.teardown(() => server.close())
  const runtime = openRuntime('HAProxy', parseSocketAddress(`unix://${path}`), undefined)
  await t.rejects(runtime.ask('show stat'), {
    code: 'UNAVAILABLE',
    message: /: its answer is longer than 4194304 bytes$/,
  })
  t.ok(sent < 16 * 2 ** 20, `${sent} bytes were sent`)
  await runtime.close()
})
