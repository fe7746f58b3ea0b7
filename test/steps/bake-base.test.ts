import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from '../../src/core/process/process.ts'
import { findLayer } from '../../src/image/image.ts'
import { readLayout } from '../../src/image/layout.ts'
import { type ImageManifest, mediaTypes } from '../../src/registry/types.ts'
import { startRegistry } from '../../src/registry-server/server.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { pushImage } from '../../src/steps/push-image.ts'
import { testContext } from '../support/context.ts'
import {
  makeImage,
  pushImage as pushTestImage,
  rewrite,
  type TestImage,
  toManifest,
} from '../support/data/image.ts'
import { writeSample } from '../support/data/layers.ts'
import { newClient, tagsOf } from '../support/servers/embedded-registry.ts'
import { temporaryFolder } from '../support/temporary.ts'

const APP = { app: 'webapi', war: 'webapi.war', webapp: '/srv/webapps/ROOT' }

async function project(t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  await writeSample(join(folder, 'webapi.war'))
  return folder
}

const withCommand = (image: TestImage) =>
  rewrite(image, { config: { Entrypoint: ['/entry'], Cmd: ['serve'] } })

await t.test('the start script prints what starts', async (t) => {
  const folder = await project(t)
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  const client = await newClient(t)
  const place = { registry: registry.address, name: 'base' }
  await pushTestImage(client, { ...place, tag: 'silent' }, makeImage('silent'))
  await pushTestImage(client, { ...place, tag: 'good' }, withCommand(makeImage('good')))
  const bake = (tag: string) => {
    const base = `${registry.address}/base:${tag}`
    const inputs = { ...APP, base, version: '1.4.2', startScript: true }
    return runStep(bakeImage, inputs, testContext(t, folder))
  }
  await t.rejects(bake('silent'), {
    code: 'INPUT_INVALID',
    message: /no entrypoint and no command/,
  })
  t.notOk((await readdir(folder)).includes('.crosscloud'))

  const { warMd5 } = await bake('good')
  const layout = await readLayout(join(folder, '.crosscloud/image'))
  t.strictSame(layout.config.config?.Entrypoint, ['/.crosscloud/start.sh', '/entry'])
  t.strictSame(layout.config.config?.Cmd, ['serve'])
  const layer = findLayer(layout.content, 'start')?.digest
  await run('tar', ['xzf', (layer && (await layout.blobPath(layer))) ?? '', '-C', folder])
  const { stdout } = await run(join(folder, '.crosscloud/start.sh'), ['printf', '%s|', 'a b', 'c'])
  t.equal(stdout, `webapi 1.4.2, WAR MD5 ${warMd5}\na b|c|`)
})

await t.test("a base's version and commit are not the release's", async (t) => {
  const folder = await project(t)
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  const client = await newClient(t)
  const ubuntu = rewrite(makeImage('ubuntu'), {
    config: {
      Labels: {
        'org.opencontainers.image.title': 'ubuntu',
        'org.opencontainers.image.version': '24.04',
        'org.opencontainers.image.revision': '0123456789abcdef0123456789abcdef01234567',
      },
    },
  })
  await pushTestImage(client, { registry: registry.address, name: 'base', tag: '1' }, ubuntu)
  const context = testContext(t, folder)
  await runStep(bakeImage, { ...APP, base: `${registry.address}/base:1` }, context)
  const to = `${registry.address}/team/webapi`
  const pushed = await runStep(pushImage, { to }, context)
  t.equal(pushed.release, undefined)
  t.strictSame(await tagsOf({ registry: registry.address, name: 'team/webapi' }), [])
})

await t.test('a base with files where the web application goes is refused', async (t) => {
  const folder = await project(t)
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  const place = { registry: registry.address, name: 'base', tag: '1' }
  await pushTestImage(await newClient(t), place, makeImage('with files'))
  const inputs = { ...APP, base: `${registry.address}/base:1`, webapp: '/srv' }
  const context = testContext(t, folder)
  await t.rejects(runStep(bakeImage, inputs, context), {
    code: 'INPUT_INVALID',
    message: /files of its own in \/srv, where the web application goes: \/srv\/text$/,
  })
  await runStep(bakeImage, { ...inputs, writable: ['/srv/text'] }, context)
})

await t.test('a base as any tool writes it is read; what is no image is named', async (t) => {
  const folder = await project(t)
  const registry = await startRegistry({ folder: join(folder, 'registry') })
  t.teardown(() => registry.close())
  const client = await newClient(t)
  const place = { registry: registry.address, name: 'base' }
  const bake = async (inputs: object = {}) => {
    const base = `${registry.address}/base:1`
    await runStep(bakeImage, { ...APP, base, ...inputs }, testContext(t, folder))
    return readLayout(join(folder, '.crosscloud/image'))
  }
  const nulls = { Entrypoint: null, Labels: null, Env: null, Volumes: null, OnBuild: null }
  const none = makeImage('none', { layers: 0 })
  const plain = makeImage('plain')
  const read: [what: string, image: TestImage, entrypoint: string[], cmd: string[] | undefined][] =
    [
      ['only a CMD', rewrite(plain, { config: { ...nulls, Cmd: ['serve'] } }), [], ['serve']],
      ['no CMD', rewrite(plain, { config: { Entrypoint: ['/e'], Cmd: null } }), ['/e'], undefined],
      ['texts', rewrite(plain, { config: { Entrypoint: '/e', Cmd: 'serve' } }), ['/e'], ['serve']],
      [
        'no history',
        rewrite(withCommand(plain), { whole: { history: null } }),
        ['/entry'],
        ['serve'],
      ],
      [
        'no layers',
        rewrite(withCommand(none), {
          whole: { rootfs: { type: 'layers', diff_ids: null }, history: null },
          manifest: { layers: null },
        }),
        ['/entry'],
        ['serve'],
      ],
    ]
  for (const [what, image, entrypoint, cmd] of read) {
    await pushTestImage(client, { ...place, tag: '1' }, image)
    const { config, content } = await bake({ startScript: true })
    const started = [`/.crosscloud/start.sh`, ...entrypoint]
    t.strictSame(config.config?.Entrypoint, started, what)
    t.strictSame(config.config?.Cmd, cmd, what)
    const steps = config.history?.filter(({ empty_layer: empty }) => !empty) ?? []
    t.equal(steps.length, content.layers.length, 'every layer is in the history')
  }

  const arm = makeImage('arm', { architecture: 'arm64' })
  const index = (...images: TestImage[]) =>
    toManifest(mediaTypes.ociIndex, {
      schemaVersion: 2,
      manifests: images.map(({ manifest: { mediaType, digest, bytes } }) => ({
        mediaType,
        digest,
        size: bytes.length,
      })),
    })
  for (const image of [plain, arm]) await pushTestImage(client, place, image)
  await client.putManifest({ ...place, tag: '1' }, index(arm, plain))
  t.equal((await bake()).base?.digest, plain.manifest.digest, 'the images say their platforms')
  t.equal((await bake({ architecture: 'arm64' })).base?.digest, arm.manifest.digest)

  const chart = rewrite(plain, {
    type: 'application/vnd.cncf.helm.config.v1+json',
    whole: { name: 'webapi', rootfs: undefined },
  })
  const whole = JSON.parse(plain.manifest.bytes.toString()) as ImageManifest
  const bare = whole.layers.map(({ digest }) => ({ digest }))
  const nested: TestImage = { manifest: index(arm), blobs: new Map() }
  await client.putManifest({ ...place, tag: 'nested' }, nested.manifest)
  const refused: [TestImage, RegExp, RegExp][] = [
    [
      chart,
      /base:1: it is no container image: its config is application\/vnd\.cncf\.helm/,
      /chart/,
    ],
    [rewrite(plain, { whole: { rootfs: null } }), /base:1: it is no container image/, /container/],
    [rewrite(plain, { manifest: { layers: bare } }), /base:1: its manifest lacks/, /image/],
    [
      { manifest: index(), blobs: new Map() },
      /base:1: has no image for linux\/amd64/,
      /no image at all/,
    ],
    [
      { manifest: index(arm), blobs: new Map() },
      /has no image for linux\/amd64/,
      /It has linux\/arm64/,
    ],
    [
      { manifest: index(nested), blobs: new Map() },
      /has no image for linux\/amd64/,
      /no image at all/,
    ],
  ]
  for (const [image, message, hint] of refused) {
    await pushTestImage(client, { ...place, tag: '1' }, image)
    await t.rejects(bake(), { message, hint }, String(message))
  }
})
