import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import t from 'tap'
import type { Header } from 'tar-stream'
import { type Expectation, verifyInstance } from '../../src/delivery/verification/verification.ts'
import { parseAddress } from '../../src/targets/docker/address.ts'
import { connectDocker } from '../../src/targets/docker/driver.ts'
import type { ContainerInfo, ContainerSettings } from '../../src/targets/docker/host.ts'
import { parseVolume } from '../../src/targets/docker/notation.ts'
import { eachEntry } from '../../src/targets/instance-files.ts'
import { configFilesLabel, instanceLabels, slowHashOf } from '../../src/targets/labels.ts'
import type { Instance, InstanceReader } from '../../src/targets/target.ts'
import { noEngine, startEngine } from '../support/servers/engine.ts'
import { demoApplication, importDemoImage } from '../support/setups/demo-image.ts'
import { settings } from '../targets/docker/host-conformance.ts'

const ROOT = '/app/ROOT'
const SECRET = 'open-sesame'
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

const skip = noEngine('gcc')
if (skip) t.test('an instance that never ran', { skip }, async () => {})
else {
  const engine = await startEngine()
  const { signal } = new AbortController()
  const image = await importDemoImage(engine, 'team/demo', '1')
  const { Id: digest } = await engine.docker.getImage(image).inspect()
  const host = await connectDocker({
    name: 'app-01',
    address: parseAddress(engine.address),
    credentials: async () => undefined,
    signal,
  })
  t.teardown(async () => {
    await host.close()
    await engine.stop()
  })

  const files = [
    { path: '/conf/app.conf', content: Buffer.from('a=1'), mode: 0o644, uid: 0, gid: 0 },
    { path: `${ROOT}/WEB-INF/db.conf`, content: Buffer.from('b=2'), mode: 0o640, uid: 0, gid: 0 },
    {
      path: '/run/secrets/db',
      content: Buffer.from(SECRET),
      mode: 0o400,
      uid: 1000,
      gid: 1001,
      slowHash: slowHashOf(Buffer.from(SECRET)),
    },
  ]
  const labels = { [instanceLabels.configFiles]: configFilesLabel(files) }
  const create = (name: string, more: Partial<ContainerSettings> = {}) =>
    host.create({ name, image, labels, files, settings: { ...settings, ...more } })

  const application = Object.entries({
    ...demoApplication('1'),
    'z-hard.txt': demoApplication('1')['index.html'] ?? '',
  })
  const expected = {
    image: { content: { config: { digest } }, manifest: { digest: 'sha256:of-a-registry' } },
    warMd5: 'of the WAR',
    webapp: [
      {
        root: ROOT,
        files: new Map(application.map(([path, text]) => [path, md5(text)])),
        unpacked: false,
      },
    ],
    beside: new Map(),
    writable: { named: [], usual: ['/tmp'] },
  } as unknown as Expectation

  const verify = async (container: ContainerInfo, expectation = expected) => {
    const reads: string[] = []
    const reader: InstanceReader = {
      read: (instance, path) => {
        reads.push(path)
        return host.archive(instance.id, path)
      },
      changes: ({ id }) => host.changes(id),
      origin: ({ id }) => host.origin(id),
      isFolder: ({ id }, path) => host.isFolder(id, path),
    }
    const seen = await host.inspect(container.id)
    const instance = { ...(seen ?? container), host: host.name, role: undefined } as Instance
    const context = { signal } as Parameters<typeof verifyInstance>[3]
    const proof = await verifyInstance(reader, instance, expectation, context)
    return { proof, reads: reads.sort() }
  }

  t.test('only the files that were placed are read before the first start', async (t) => {
    const created = await create('as-baked')
    const { proof, reads } = await verify(created)
    t.match(proof, { byOrigin: true, war: 4, rendered: 3 })
    t.same(reads, ['/app/ROOT/WEB-INF/db.conf', '/conf/app.conf', '/run/secrets/db'])
    await host.start(created.id)
    const started = await verify(created)
    t.match(started.proof, { byOrigin: false, war: 4, rendered: 3 })
    t.ok(started.reads.includes(ROOT), 'everything is read once it runs')
  })

  t.test('what somebody put into it is named', async (t) => {
    const created = await create('tampered')
    const tampered = [
      { path: `${ROOT}/index.html`, content: Buffer.from('<h1>other</h1>') },
      { path: `${ROOT}/shell.jsp`, content: Buffer.from('<%%>') },
      { path: '/server.conf', content: Buffer.from('') },
    ].map((file) => ({ ...file, mode: 0o644, uid: 0, gid: 0 }))
    await host.placeOnVolumes(created.id, {
      name: created.name,
      image,
      labels,
      files: tampered,
      settings: { ...settings, onVolume: true, volumes: [parseVolume('/srv:/')] },
    })
    const error = await verify(created).catch((thrown: Error) => thrown)
    t.match(error, { code: 'VERIFY_FAILED' })
    t.same(
      error instanceof Error &&
        error.message
          .split('\n')
          .slice(1)
          .map((line) => line.trim()),
      ['changed  /app/ROOT/index.html', 'extra    /app/ROOT/shell.jsp', 'added    /server.conf'],
    )
  })

  t.test('a secret is in its file, for its owner alone, and in nothing else', async (t) => {
    const { id } = await create('with-secret')
    const [entry] = await entriesOf(await host.archive(id, '/run/secrets/db'))
    t.equal((entry?.mode ?? 0) & 0o7777, 0o400)
    t.match(entry, { name: 'db', uid: 1000, gid: 1001, size: SECRET.length })
    t.notMatch(JSON.stringify(await engine.docker.getContainer(id).inspect()), SECRET)
  })

  t.test('its image is read where that proves nothing', async (t) => {
    const volumes = [parseVolume('hidden:/app/ROOT/uploads')]
    const { proof, reads } = await verify(await create('on-volume', { volumes }))
    t.equal(proof.byOrigin, false, 'a volume hides what is expected')
    t.ok(reads.includes(ROOT))
    const config = { digest: 'sha256:another' }
    const other = { ...expected, image: { ...expected.image, content: { config } } }
    const another = await verify(await create('another'), other as unknown as Expectation)
    t.equal(another.proof.byOrigin, false, 'it was made from another image than the registry has')
    t.ok(another.reads.includes(ROOT))
  })
}

async function entriesOf(archive: Readable): Promise<Header[]> {
  const headers: Header[] = []
  await eachEntry(archive, AbortSignal.timeout(60_000), async ({ header }) => {
    headers.push(header)
    return false
  })
  return headers
}
