import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { pack } from 'tar-stream'
import { silentLog } from '../../src/core/log.ts'
import { quoteArguments } from '../../src/core/process/ssh.ts'
import { openMachine } from '../../src/proxies/machine/open.ts'
import { openProxy } from '../../src/proxies/open.ts'
import { parseAddress } from '../../src/targets/docker/address.ts'
import { send, startBackends } from '../support/servers/backends.ts'
import {
  noEngine,
  startEngine,
  startSshServer,
  type TestEngine,
} from '../support/servers/engine.ts'
import { freePort, reach } from '../support/servers/ports.ts'
import {
  NAME,
  parseProxy,
  startNginx,
  writeNginx,
} from '../support/servers/proxies/reverse-proxies.ts'
import { findProgram, missingProgram, serverFolder } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { until } from '../support/until.ts'
import { machineConformance } from './machine-conformance.ts'

const noSsh = missingProgram('sshd', 'ssh', 'ssh-keygen')

t.test('a shell at the far end reads each argument as it is', async (t) => {
  t.equal(quoteArguments(['nginx', '-t']), "'nginx' '-t'")
  t.equal(quoteArguments([`it's $x`]), `'it'\\''s $x'`)
  for (const argument of ['a\nb', 'a\0', '\x1b']) {
    t.throws(() => quoteArguments([argument]), { code: 'INPUT_INVALID' })
  }
})

t.test('this machine runs commands', async (t) => {
  const machine = await openMachine({ address: undefined })
  await machineConformance(t, machine, await temporaryFolder(t))
})

t.test('another machine is reached by ssh', { skip: noSsh }, async (t) => {
  const ssh = await startSshServer({ socket: '/nowhere' })
  t.teardown(() => ssh.stop())
  const sshConfig = ssh.config
  const machine = await openMachine({ address: parseAddress(ssh.address), sshConfig })
  await machineConformance(t, machine, await temporaryFolder(t))

  await t.test('nginx there is worked as here', { skip: missingProgram('nginx') }, async (t) => {
    const backends = await startBackends(t, 2)
    const servers = backends.map(({ server }) => server)
    const [one] = servers
    if (!one) throw new Error('no server')
    const { url, settings } = await startNginx(t, servers)
    const nginx = { ...(settings.nginx as object), at: ssh.address }
    const options = { name: NAME, servers, folder: '.', log: silentLog, sshConfig }
    const proxy = await openProxy(parseProxy({ nginx }), options)
    t.teardown(() => proxy.close())
    t.equal(proxy.name, 'nginx on 127.0.0.1')
    await proxy.takeOut(one)
    t.equal((await send(url)).body, 'slot 2')
  })

  await t.test('without a connection it is unavailable', async (t) => {
    const address = parseAddress(`ssh://127.0.0.1:${await freePort()}`)
    const none = await openMachine({ address, sshConfig })
    await t.rejects(none.run(['true']), {
      code: 'UNAVAILABLE',
      message: /^127\.0\.0\.1: ssh: /,
      hint: /ssh 127\.0\.0\.1 true/,
    })
  })
})

t.test('a container is reached by its engine', { skip: noEngine('nginx') }, async (t) => {
  const engine = await startEngine()
  t.teardown(() => engine.stop())
  const { folder, remove } = await serverFolder('proxy')
  t.teardown(remove)
  const backends = await startBackends(t, 2)
  const servers = backends.map(({ server }) => server)
  const [one] = servers
  if (!one) throw new Error('no server')
  const port = await freePort()
  const { file, own } = await writeNginx(servers, { folder, port })
  const call = [findProgram('nginx') ?? '', '-c', file, '-p', folder, '-e', 'stderr']
  await runContainer(t, engine, folder, call)
  t.ok(
    await until(() =>
      reach(port).then(
        () => true,
        () => false,
      ),
    ),
  )
  const address = parseAddress(engine.address)
  const machine = await openMachine({ address, container: 'lb' })
  t.teardown(() => machine.close())
  t.equal(machine.name, 'container lb on this machine')
  await mkdir(join(folder, 'files'))
  await machineConformance(t, machine, join(folder, 'files'))

  await t.test('nginx in it is reloaded by its own command', async (t) => {
    const url = `http://127.0.0.1:${port}`
    const nginx = {
      at: engine.address,
      container: 'lb',
      folder: own,
      status: `${url}/.crosscloud/${NAME}`,
      command: call,
      'pid-file': join(folder, 'nginx.pid'),
    }
    const options = { name: NAME, servers, folder: '.', log: silentLog }
    const proxy = await openProxy(parseProxy({ nginx }), options)
    t.teardown(() => proxy.close())
    await proxy.takeOut(one)
    t.equal((await send(url)).body, 'slot 2')
    await proxy.putIn(one)
    t.same(
      (await proxy.states()).map(({ mode }) => mode),
      ['in', 'in'],
    )
  })

  await t.test('a container that is not there is named', async (t) => {
    const none = await openMachine({ address, container: 'none' })
    await t.rejects(none.run(['true']), { code: 'NOT_FOUND', message: /none/ })
  })
})

/** Nothing but this system's programs, which it sees read-only, on the host's network. */
async function runContainer(
  t: Pick<Test, 'teardown'>,
  { docker }: TestEngine,
  folder: string,
  command: readonly string[],
): Promise<void> {
  const tar = pack()
  for (const name of ['etc/', 'tmp/']) tar.entry({ name, type: 'directory' })
  for (const [name, to] of [
    ['bin', 'usr/bin'],
    ['sbin', 'usr/sbin'],
    ['lib', 'usr/lib'],
    ['lib64', 'usr/lib64'],
  ] as const) {
    tar.entry({ name, type: 'symlink', linkname: to })
  }
  tar.entry({ name: 'etc/passwd' }, 'root:x:0:0:root:/:/bin/sh\n')
  tar.entry({ name: 'etc/group' }, 'root:x:0:\nnogroup:x:65534:\n')
  tar.finalize()
  const imported = await docker.importImage(tar as unknown as NodeJS.ReadableStream, {
    repo: 'lb',
    tag: '1',
  })
  await new Promise((resolve, reject) => {
    imported.once('end', resolve)
    imported.once('error', reject)
    imported.resume()
  })
  const container = await docker.createContainer({
    name: 'lb',
    Image: 'lb:1',
    Cmd: [...command],
    HostConfig: { NetworkMode: 'host', Binds: ['/usr:/usr:ro', `${folder}:${folder}`] },
  })
  t.teardown(() => container.remove({ force: true }).catch(() => {}))
  await container.start()
}
