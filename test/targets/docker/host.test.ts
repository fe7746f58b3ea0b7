import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { StepError } from '../../../src/core/errors.ts'
import { parseAddress } from '../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../src/targets/docker/driver.ts'
import type { RegistryCredential } from '../../../src/targets/docker/host.ts'
import { parseVolume } from '../../../src/targets/docker/notation.ts'
import { dockerRegistryUser, startDockerRegistry } from '../../support/servers/docker-registry.ts'
import {
  noEngine,
  startEngine,
  startSshServer,
  type TestEngine,
} from '../../support/servers/engine.ts'
import { freePort } from '../../support/servers/ports.ts'
import { publishDemoImage } from '../../support/setups/demo-image.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { hostConformance, settings, untilText } from './host-conformance.ts'

const { signal } = new AbortController()
const none = async () => undefined

t.test('the error of a host that does not respond names it and is retryable', async (t) => {
  const address = `unix://${await temporaryFolder(t)}/docker.sock`
  const host = await connectDocker({
    name: 'app-01',
    address: parseAddress(address),
    credentials: none,
    signal,
  })
  await t.rejects(host.ping(), {
    code: 'UNAVAILABLE',
    exitCode: 75,
    message: `host app-01 (${address}): does not answer: ENOENT`,
  })
  await t.rejects(host.inspect('x'), { code: 'UNAVAILABLE' })
  await t.rejects(host.pull(`x@sha256:${'0'.repeat(64)}`), { code: 'UNAVAILABLE' })
  await host.close()
  const tcp = `tcp://127.0.0.1:${await freePort()}`
  const other = await connectDocker({
    name: 'app-02',
    address: parseAddress(tcp),
    credentials: none,
    signal,
  })
  await t.rejects(other.ping(), { code: 'UNAVAILABLE', message: /app-02.*ECONNREFUSED/ })
  const ssh = `ssh://nobody@127.0.0.1:${await freePort()}`
  const third = await connectDocker({
    name: 'app-03',
    address: parseAddress(ssh),
    credentials: none,
    signal,
  })
  await t.rejects(third.ping(), { code: 'UNAVAILABLE', message: /app-03.*(refused|ssh|ENOENT)/i })
  await third.close()
})

t.test('requests to a frozen engine end when the host is closed', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  const asked = once(server, 'connection')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const address = `tcp://127.0.0.1:${port}`
  const host = await connectDocker({
    name: 'app-01',
    address: parseAddress(address),
    credentials: none,
    signal,
  })
  const request = t.rejects(host.inspect('x'))
  const [socket] = (await asked) as [Socket]
  const gone = once(socket.resume(), 'close')
  await host.close()
  await request
  await gone
})

t.test('DOCKER_HOST does not change the address of a host', async (t) => {
  const before = process.env.DOCKER_HOST
  process.env.DOCKER_HOST = 'tcp://192.0.2.1:2375'
  t.teardown(() => {
    if (before === undefined) delete process.env.DOCKER_HOST
    else process.env.DOCKER_HOST = before
  })
  const address = `unix://${await temporaryFolder(t)}/docker.sock`
  const host = await connectDocker({
    name: 'app-01',
    address: parseAddress(address),
    credentials: none,
    signal,
  })
  await t.rejects(host.ping(), { code: 'UNAVAILABLE', message: /ENOENT/ })
})

const reason = noEngine('docker-registry', 'gcc', 'openssl', 'ssh', 'sshd', 'docker')
if (reason) t.test('Docker host', { skip: reason }, async () => {})
else await dockerHosts()

async function dockerHosts() {
  const engine = await startEngine({ tls: true })
  t.teardown(() => engine.stop())
  const registry = await startDockerRegistry({ htpasswd: true })
  t.teardown(() => registry.close())
  const image = await publishDemoImage(engine, `${registry.address}/team/demo`, '1')
  const credentials = async (asked: string): Promise<RegistryCredential | undefined> =>
    asked === registry.address ? dockerRegistryUser : undefined

  t.test('a pull without credentials is UNAUTHORIZED', async (t) => {
    const host = await connectDocker({
      name: 'h',
      address: parseAddress(engine.address),
      credentials: none,
      signal,
    })
    await t.rejects(host.pull(image), { code: 'UNAUTHORIZED', message: /host h: pulling/ })
    const wrong = { username: 'ci', password: 'not this one' }
    const other = await connectDocker({
      name: 'h',
      address: parseAddress(engine.address),
      credentials: async () => wrong,
      signal,
    })
    const error = await other.pull(image).catch((thrown: unknown) => thrown)
    t.match(error, { code: 'UNAUTHORIZED' })
    t.notMatch(JSON.stringify(error) + String(error), wrong.password)
  })

  t.test('a pull from a registry that does not respond is UNAVAILABLE', async (t) => {
    const host = await connectDocker({
      name: 'h',
      address: parseAddress(engine.address),
      credentials: none,
      signal,
    })
    const elsewhere = image.replace(registry.address, `127.0.0.1:${await freePort()}`)
    await t.rejects(host.pull(elsewhere), { code: 'UNAVAILABLE' })
  })

  t.test('an aborted signal ends a pull, not a small verb', async (t) => {
    const stop = new AbortController()
    const host = await connectDocker({
      name: 'h',
      address: parseAddress(engine.address),
      credentials: none,
      signal: stop.signal,
    })
    stop.abort(new StepError('CANCELLED', 'stopped by a test'))
    await t.rejects(host.pull(image), { code: 'CANCELLED', message: 'stopped by a test' })
    await t.rejects(host.ping(), { code: 'CANCELLED' })
    t.equal(await host.inspect('nothing'), undefined)
  })

  t.test('an engine over a unix socket is a host', async (t) => {
    const host = await connectDocker({
      name: 'app-01',
      address: parseAddress(engine.address),
      credentials,
      signal,
    })
    await hostConformance(t, { host, image })
    await detailsOfDocker(t, engine, image)
    await host.close()
  })

  const sshServer = await startSshServer(engine)
  t.teardown(() => sshServer.stop())
  t.test('an engine over ssh is a host, and only with a known key', async (t) => {
    await engine.docker.getImage(image).remove({ force: true })
    const { address, config: sshConfig } = sshServer
    const host = await connectDocker({
      name: 'app-03',
      address: parseAddress(address),
      credentials,
      signal,
      sshConfig,
    })
    await hostConformance(t, { host, image })
    await host.close()
    const stranger = await connectDocker({
      name: 'h',
      address: parseAddress(address),
      credentials,
      signal,
    })
    await t.rejects(stranger.ping(), {
      code: 'UNAVAILABLE',
      message: /^host h \(ssh:.*: (Host key verification failed|.*Permission denied)/,
    })
    await stranger.close()
  })

  t.test('an engine over TCP is a host, and only with a certificate', async (t) => {
    const { address, certificates } = engine.tcp ?? { address: '', certificates: '' }
    const file = (name: string) => join(certificates, name)
    const tls = { ca: file('ca.pem'), cert: file('cert.pem'), key: file('key.pem') }
    await engine.docker.getImage(image).remove({ force: true })
    const host = await connectDocker({
      name: 'app-02',
      address: parseAddress(address),
      credentials,
      signal,
      tls,
    })
    await hostConformance(t, { host, image })
    const stranger = { ...tls, cert: file('server.pem'), key: file('server-key.pem') }
    const refused = await connectDocker({
      name: 'h',
      address: parseAddress(address),
      credentials,
      signal,
      tls: stranger,
    })
    await t.rejects(refused.ping(), { code: 'UNAUTHORIZED', message: /^host h .*TLS/ })
    const plain = await connectDocker({
      name: 'h',
      address: parseAddress(address),
      credentials,
      signal,
    })
    await t.rejects(plain.ping(), { name: 'StepError', message: /^host h/ })
    const missing = { ...tls, ca: '/nowhere/ca.pem' }
    await t.rejects(
      connectDocker({
        name: 'h',
        address: parseAddress(address),
        credentials,
        signal,
        tls: missing,
      }),
      {
        code: 'INPUT_INVALID',
        message: /\/nowhere\/ca\.pem/,
      },
    )
  })
}

/** What only Docker has: the restart policy, host network, container addresses, volumes. */
async function detailsOfDocker(t: Test, engine: TestEngine, image: string) {
  const host = await connectDocker({
    name: 'app-01',
    address: parseAddress(engine.address),
    credentials: none,
    signal,
  })
  const spec = { name: 'details', image, labels: {}, settings, files: [] }
  const raw = (id: string) => engine.docker.getContainer(id).inspect()

  await t.test('a stopped container does not come back with its engine', async (t) => {
    const { id } = await host.create(spec)
    await host.start(id)
    t.equal((await raw(id)).HostConfig.RestartPolicy?.Name, 'always')
    t.equal((await raw(id)).HostConfig.Memory, settings.memory)
    await host.stop(id, 1)
    t.equal((await raw(id)).HostConfig.RestartPolicy?.Name, 'no')
    await host.start(id)
    t.equal((await raw(id)).HostConfig.RestartPolicy?.Name, 'always')
    t.equal((await raw(id)).HostConfig.Memory, settings.memory, 'nothing else was changed')
    await host.remove(id)
  })

  await t.test(
    'a container is reached by its published port, its host or its own address',
    async (t) => {
      const port = await freePort()
      const onHost = await host.create({
        ...spec,
        settings: { ...settings, network: 'host', env: { PORT: String(port) } },
      })
      t.equal(onHost.address(port), `http://127.0.0.1:${port}`)
      await host.start(onHost.id)
      t.equal(await untilText(`http://127.0.0.1:${port}/`), '1')
      await host.remove(onHost.id)

      const inside = await host.create({ ...spec, settings: { ...settings, ports: [] } })
      await host.start(inside.id)
      const own = (await host.inspect(inside.id))?.address(8080) ?? ''
      t.match(own, /^http:\/\/10\.213\./)
      t.equal(await untilText(own), '1')
      await host.remove(inside.id)
    },
  )

  await t.test('a volume is mounted, and bad settings are refused', async (t) => {
    const folder = t.testdir({ 'conf.txt': 'from the host' })
    const mounted = await host.create({
      ...spec,
      settings: {
        ...settings,
        volumes: [parseVolume(`${folder}:/data:ro`)],
        env: { FILE: '/data/conf.txt' },
      },
    })
    await host.start(mounted.id)
    await untilText((await host.inspect(mounted.id))?.address(8080) ?? '')
    t.ok((await host.logs(mounted.id, 10)).includes('file: from the host'))
    await host.remove(mounted.id)
    const unusable = { ...settings, env: { 'A=B': 'c' } }
    await t.rejects(host.create({ ...spec, settings: unusable }), { code: 'INPUT_INVALID' })
    const lost = { ...settings, network: 'nowhere' }
    const start = host.create({ ...spec, settings: lost }).then(({ id }) => host.start(id))
    await t.rejects(start, { code: 'NOT_FOUND', message: /network nowhere/ })
    const left = await host.inspect('details')
    if (left) await host.remove(left.id)
  })
}
