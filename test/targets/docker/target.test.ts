import t from 'tap'
import { parseAddress } from '../../../src/targets/docker/address.ts'
import type { HostAddress } from '../../../src/targets/docker/host.ts'
import { parseVolume } from '../../../src/targets/docker/notation.ts'
import { openDockerTarget } from '../../../src/targets/docker/target.ts'
import { continueWith, failureOf } from '../../../src/targets/responses.ts'
import { startDockerRegistry } from '../../support/servers/docker-registry.ts'
import { noEngine, startEngine } from '../../support/servers/engine.ts'
import { demoApplication, publishDemoImage } from '../../support/setups/demo-image.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { targetConformance, valuesOf } from '../target-conformance.ts'
import { settings } from './host-conformance.ts'

const open = (hosts: HostAddress[], container = settings) =>
  openDockerTarget(
    {
      kind: 'docker',
      hosts,
      containerName: 'demo-test',
      container: { ...container, restart: 'no' },
    },
    {
      folder: '/',
      credentials: async () => undefined,
      signal: new AbortController().signal,
    },
  )

const addressed = (name: string, address: string): HostAddress => ({
  name,
  address: parseAddress(address),
  certificates: undefined,
})

t.test('a host that cannot be opened fails alone, and by name', async (t) => {
  const address = `unix://${await temporaryFolder(t)}/none.sock`
  const tls = { ...addressed('app-02', 'tcp://127.0.0.1:1'), certificates: '/nowhere' }
  const target = open([addressed('app-01', address), tls])
  const responses = await target.instances({ roles: ['current'] })
  t.match(responses, [
    { host: 'app-01', error: { code: 'UNAVAILABLE' } },
    { host: 'app-02', error: { code: 'INPUT_INVALID', message: /\/nowhere\/ca\.pem/ } },
  ])
  t.match(failureOf(responses), { code: 'INPUT_INVALID', message: /app-01.*\n.*ca\.pem/ })
  await target.close()
})

t.test('files on a volume are refused before anything runs', async (t) => {
  const file = { content: Buffer.from(''), mode: 0o644, uid: 0, gid: 0 }
  const target = open([], { ...settings, volumes: [parseVolume('/srv/data:/data')] })
  t.throws(() => target.checkFiles([{ ...file, path: '/data/app.conf' }]), {
    code: 'INPUT_INVALID',
    message: /^\/data\/app\.conf is on a volume/,
  })
  target.checkFiles([{ ...file, path: '/etc/app.conf' }])
})

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('a Docker target', { skip }, async () => {})
else {
  const [first, second] = await Promise.all([startEngine(), startEngine()])
  const registry = await startDockerRegistry()
  t.teardown(() => Promise.all([first.stop(), second.stop(), registry.close()]))
  const repository = `${registry.address}/team/demo`
  const images = [
    await publishDemoImage(first, repository, '1'),
    await publishDemoImage(first, repository, '2'),
  ] as const
  const hosts = [addressed('app-01', first.address), addressed('app-02', second.address)]

  t.test('two Docker hosts are a target', async (t) => {
    const target = open(hosts)
    await targetConformance(t, { target, images, application: demoApplication('1') })
    await target.close()
  })

  t.test('a silent host hides none of the others', async (t) => {
    const silent = addressed('app-09', `unix://${await temporaryFolder(t)}/none.sock`)
    const target = open([silent, ...hosts])
    const responses = await target.ping()
    t.match(responses, [
      { host: 'app-09', error: { code: 'UNAVAILABLE' } },
      { host: 'app-01', value: undefined },
      { host: 'app-02', value: undefined },
    ])
    const next = await continueWith(responses, async (_value, host) => host)
    t.same(valuesOf(next.slice(1)), ['app-01', 'app-02'])
    t.match(failureOf(next), { code: 'UNAVAILABLE', message: /^host app-09/ })
    await target.close()
  })
}
