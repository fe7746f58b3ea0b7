import { createHash } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Digest, sha256 } from '../../src/core/digest.ts'
import { run } from '../../src/core/process/process.ts'
import { buildLayer } from '../../src/image/build.ts'
import {
  type BaseImage,
  composeImage,
  findLayer,
  type Image,
  LAYER_ANNOTATION,
  scratchBase,
} from '../../src/image/image.ts'
import { type Layer, planTexts } from '../../src/image/layers.ts'
import { readLayout, writeLayout } from '../../src/image/layout.ts'
import { parseReference } from '../../src/registry/reference.ts'
import { mediaTypes } from '../../src/registry/types.ts'
import { temporaryFolder } from '../support/temporary.ts'

const CREATED = '2026-01-02T03:04:06.000Z'
const hex = (digest: string) => digest.slice('sha256:'.length)

/** As Docker's own tools make it: Docker's media types, an empty layer in its history. */
function dockerBase(): BaseImage {
  const diffIds = [sha256('a'), sha256('b')]
  return {
    digest: sha256('base'),
    manifest: {
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifest,
      config: { mediaType: mediaTypes.dockerConfig, digest: sha256('config'), size: 3 },
      layers: diffIds.map((digest, index) => ({
        mediaType: mediaTypes.dockerLayerGzip,
        digest,
        size: 100 + index,
      })),
    },
    config: {
      architecture: 'arm64',
      os: 'linux',
      variant: 'v8',
      created: '2020-01-01T00:00:00Z',
      config: {
        User: 'tomcat',
        Env: ['PATH=/usr/bin', 'CATALINA_HOME=/usr/local/tomcat'],
        Cmd: ['catalina.sh', 'run'],
        WorkingDir: '/usr/local/tomcat',
        ExposedPorts: { '8080/tcp': {} },
        Labels: { maintainer: 'someone', 'org.opencontainers.image.title': 'tomcat' },
        Healthcheck: { Test: ['CMD', 'true'] },
      },
      rootfs: { type: 'layers', diff_ids: diffIds },
      history: [
        { created_by: 'ADD rootfs' },
        { created_by: 'ENV X=1', empty_layer: true },
        { created_by: 'RUN install' },
      ],
    },
  }
}

const fakeLayer = (name: Layer['name']): Layer => ({
  name,
  diffId: sha256(`${name} tar`),
  digest: sha256(`${name} blob`),
  size: 1000,
  files: [],
})

/** What must hold of every image, whatever the base. */
function consistent(t: Test, { content, config, configBytes, manifest }: Image, base: BaseImage) {
  t.equal(sha256(configBytes), content.config.digest)
  t.equal(configBytes.length, content.config.size)
  t.equal(sha256(manifest.bytes), manifest.digest)
  t.strictSame(JSON.parse(manifest.bytes.toString()), content)
  t.equal(content.mediaType, mediaTypes.ociManifest)
  t.equal(config.rootfs.diff_ids.length, content.layers.length)
  const real = config.history?.filter(({ empty_layer: empty }) => !empty) ?? []
  t.equal(real.length, content.layers.length, 'the history tells of every layer')
  const own = base.manifest.layers.length
  t.strictSame(
    content.layers.slice(0, own).map(({ digest, size }) => [digest, size]),
    base.manifest.layers.map(({ digest, size }) => [digest, size]),
  )
}

await t.test('an image is its base with our layers on top', async (t) => {
  const base = dockerBase()
  const before = JSON.stringify(base)
  const layers = [fakeLayer('dependencies'), fakeLayer('classes')]
  const labels = { 'org.opencontainers.image.title': 'webapi', 'io.crosscloud.war.md5': 'abc' }
  const image = composeImage({ base, layers, labels, created: CREATED })
  t.equal(JSON.stringify(base), before, 'the base is not touched')
  consistent(t, image, base)
  const { config, content } = image
  const { Labels, ...kept } = base.config.config ?? {}
  t.match(config.config, kept)
  t.strictSame(config.config?.Labels, { ...labels, maintainer: 'someone' })
  t.match(config, { architecture: 'arm64', variant: 'v8', os: 'linux', created: CREATED })
  t.strictSame(
    config.rootfs.diff_ids.slice(2),
    layers.map(({ diffId }) => diffId),
  )
  t.strictSame(config.history?.slice(0, 3), base.config.history)
  for (const { mediaType } of content.layers) t.equal(mediaType, mediaTypes.ociLayerGzip)
  t.equal(content.config.mediaType, mediaTypes.ociConfig)
  t.equal(findLayer(content, 'classes')?.digest, layers[1]?.digest)
  t.equal(findLayer(content, 'templates'), undefined)
  const above = { ...fakeLayer('classes'), digest: sha256('above') }
  const onBaked = composeImage({
    base: { digest: image.manifest.digest, manifest: content, config },
    layers: [above],
    labels,
    created: CREATED,
  })
  t.equal(findLayer(onBaked.content, 'classes')?.digest, above.digest, 'not that of its base')
  t.equal(content.layers[0]?.annotations?.[LAYER_ANNOTATION], undefined)

  const again = composeImage({ base: dockerBase(), layers, labels, created: CREATED })
  t.equal(again.manifest.digest, image.manifest.digest)
  const reversed = Object.fromEntries(Object.entries(labels).reverse())
  const other = composeImage({ base, layers, labels: reversed, created: CREATED })
  t.equal(other.manifest.digest, image.manifest.digest, 'the order of labels does not matter')
  const started = composeImage({ base, layers, labels, created: CREATED, entrypoint: ['/x'] })
  t.strictSame(started.config.config?.Entrypoint, ['/x'])
  t.strictSame(started.config.config?.Cmd, ['catalina.sh', 'run'])
})

await t.test('labels about the base are not labels of the image', async (t) => {
  const base = dockerBase()
  base.config.config = {
    ...base.config.config,
    Labels: {
      maintainer: 'someone',
      'org.opencontainers.image.version': '24.04',
      'org.opencontainers.image.revision': 'base0base0',
      'org.opencontainers.image.ref.name': 'ubuntu',
      'io.crosscloud.war.md5': 'of the image below',
      'io.crosscloud.config.files': '{}',
    },
  }
  const [below] = base.manifest.layers
  if (below) below.annotations = { [LAYER_ANNOTATION]: 'templates', other: 'kept' }
  const labels = { 'org.opencontainers.image.title': 'webapi' }
  const layers = [fakeLayer('classes')]
  const { config, content } = composeImage({ base, layers, labels, created: CREATED })
  t.strictSame(config.config?.Labels, { maintainer: 'someone', ...labels })
  t.equal(findLayer(content, 'templates'), undefined, 'of an image that was baked upon')
  t.strictSame(content.layers[0]?.annotations, { other: 'kept' })
})

await t.test('bases of every kind are accepted', async (t) => {
  const layers = [fakeLayer('classes')]
  const compose = (base: BaseImage) => composeImage({ base, layers, labels: {}, created: CREATED })
  const scratch = scratchBase('amd64')
  consistent(t, compose(scratch), scratch)
  const silent = dockerBase()
  delete silent.config.history
  consistent(t, compose(silent), silent)
  const forgetful = dockerBase()
  forgetful.config.history = [{ created_by: 'ADD rootfs' }]
  consistent(t, compose(forgetful), forgetful)
  const zstd = dockerBase()
  const [first] = zstd.manifest.layers
  if (first) first.mediaType = 'application/vnd.oci.image.layer.v1.tar+zstd'
  t.equal(compose(zstd).content.layers[0]?.mediaType, first?.mediaType)
  const crooked = dockerBase()
  crooked.config.rootfs.diff_ids.pop()
  t.throws(() => compose(crooked), { code: 'INPUT_INVALID', message: /differ in layers/ })
})

/** A complete image on nothing, as a layout in a folder of its own. */
async function writeSample(folder: string, text = 'hello', base?: string) {
  const cache = { folder: join(folder, 'cache') }
  const files = new Map([['hello.txt', { content: Buffer.from(text), mode: 0o644 }]])
  const layers = [await buildLayer(planTexts('templates', 'srv', files), cache)]
  const image = composeImage({
    base: scratchBase('amd64'),
    layers,
    labels: { 'org.opencontainers.image.title': 'webapi' },
    created: CREATED,
  })
  const target = join(folder, 'image')
  await writeLayout(target, image, layers, cache, base ? parseReference(base) : undefined)
  return { target, image, layers }
}

await t.test('the layout is a valid OCI image layout', async (t) => {
  const folder = await temporaryFolder(t)
  const { target, image, layers } = await writeSample(folder)
  t.strictSame((await readdir(target)).sort(), ['blobs', 'index.json', 'oci-layout'])
  for (const name of await readdir(join(target, 'blobs', 'sha256'))) {
    const bytes = await readFile(join(target, 'blobs', 'sha256', name))
    t.equal(createHash('sha256').update(bytes).digest('hex'), name)
  }
  t.strictSame((await readdir(folder)).sort(), ['cache', 'image'], 'nothing is left beside it')

  const layout = await readLayout(target)
  t.equal(layout.manifest.digest, image.manifest.digest)
  t.strictSame(layout.content, image.content)
  t.strictSame(layout.config, image.config)
  t.equal(layout.base, undefined)
  const [layer] = layers
  const path = await layout.blobPath(layer?.digest as Digest)
  t.equal((await readFile(path ?? '')).length, layer?.size)
  t.equal(await layout.blobPath(sha256('absent')), undefined)

  const skopeo = await run('skopeo', ['--version']).catch(() => undefined)
  await t.test(
    'skopeo reads the layout and copies it',
    { skip: skopeo ? false : 'needs skopeo (Debian: skopeo)' },
    async (t) => {
      const { stdout } = await run('skopeo', ['inspect', `oci:${target}`])
      t.match(JSON.parse(stdout), {
        Digest: image.manifest.digest,
        Created: '2026-01-02T03:04:06Z',
        Architecture: 'amd64',
        Labels: { 'org.opencontainers.image.title': 'webapi' },
        Layers: layers.map(({ digest }) => digest),
      })
      // Copying reads every blob and compares its digest, and the layers' diffIDs too.
      await run('skopeo', [
        ...['--insecure-policy', '--tmpdir', folder, 'copy'],
        ...[`oci:${target}`, `docker-archive:${join(folder, 'image.tar')}:webapi:1`],
      ])
    },
  )
})

await t.test('a layout names its base, and a new image replaces the old', async (t) => {
  const folder = await temporaryFolder(t)
  const base = `registry.example.com/library/tomcat@${sha256('base')}`
  const first = await writeSample(folder, 'one', base)
  t.match((await readLayout(first.target)).base, parseReference(base))
  const second = await writeSample(folder, 'two')
  const layout = await readLayout(first.target)
  t.equal(layout.manifest.digest, second.image.manifest.digest)
  t.equal((await readdir(join(first.target, 'blobs', 'sha256'))).length, 3, 'only its own blobs')
})

await t.test('a folder that is not a layout is never replaced', async (t) => {
  const folder = await temporaryFolder(t)
  const target = join(folder, 'image')
  await mkdir(target)
  await writeSample(folder)
  t.ok((await readdir(target)).includes('oci-layout'), 'an empty folder may be used')
  await rm(target, { recursive: true })
  await mkdir(target)
  await writeFile(join(target, 'thesis.txt'), 'years of work')
  await t.rejects(writeSample(folder), {
    code: 'CONFLICT',
    message: /is not an image layout/,
    hint: /--image-folder/,
  })
  t.strictSame(await readdir(target), ['thesis.txt'])
  await rm(target, { recursive: true })
  await writeFile(target, 'a file')
  await t.rejects(writeSample(folder), { code: 'CONFLICT' })
  t.equal(await readFile(target, 'utf8'), 'a file')
  t.strictSame((await readdir(folder)).sort(), ['cache', 'image'])
})

await t.test('a layout that cannot be written leaves the old one', async (t) => {
  const folder = await temporaryFolder(t)
  const { target, image } = await writeSample(folder)
  const missing: Layer = { ...fakeLayer('classes') }
  await t.rejects(
    writeLayout(target, image, [missing], { folder: join(folder, 'cache') }, undefined),
    { code: 'ENOENT' },
  )
  t.equal((await readLayout(target)).manifest.digest, image.manifest.digest)
  t.strictSame((await readdir(folder)).sort(), ['cache', 'image'])
})

await t.test('a damaged layout is named', async (t) => {
  const folder = await temporaryFolder(t)
  const fresh = async () => {
    const { target, image } = await writeSample(folder)
    const blob = (digest: string) => join(target, 'blobs', 'sha256', hex(digest))
    await chmod(target, 0o755)
    return { target, image, blob }
  }
  await t.rejects(readLayout(join(folder, 'none')), {
    code: 'NOT_FOUND',
    hint: /bake-image/,
    message: new RegExp(`${folder}/none is not an image layout`),
  })
  const damaged = await fresh()
  await writeFile(damaged.blob(damaged.image.content.config.digest), '{}')
  await t.rejects(readLayout(damaged.target), { code: 'VERIFY_FAILED', message: /was changed/ })
  const two = await fresh()
  await rm(two.blob(two.image.manifest.digest))
  await t.rejects(readLayout(two.target), { code: 'NOT_FOUND' })
  const other = sha256('other')
  const indexes = [
    '',
    'null',
    '[]',
    '{"manifests":[]}',
    '{"manifests":[{"digest":"sha256:../../../etc/passwd"}]}',
    `{"manifests":[{"digest":"${other}"},{"digest":"${other}"}]}`,
  ]
  for (const text of indexes) {
    const { target } = await fresh()
    await writeFile(join(target, 'index.json'), text)
    await t.rejects(readLayout(target), { code: 'INPUT_INVALID', message: /image layout/ }, text)
  }
  for (const text of ['{', '{}', '{"config":{"digest":"sha256:../../x"},"layers":[]}']) {
    const { target, blob } = await fresh()
    const digest = sha256(text)
    await writeFile(blob(digest), text)
    await writeFile(join(target, 'index.json'), JSON.stringify({ manifests: [{ digest }] }))
    await t.rejects(readLayout(target), { code: 'INPUT_INVALID', message: /image layout/ }, text)
  }
})
