import { join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { sha256 } from '../../src/core/digest.ts'
import { silentLog } from '../../src/core/log.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { createRegistryClient } from '../../src/registry/client.ts'
import { type CopyOptions, copyImage } from '../../src/registry/copy.ts'
import {
  parseReference,
  type Reference,
  withDigest,
  withTag,
} from '../../src/registry/reference.ts'
import { mediaTypes } from '../../src/registry/types.ts'
import {
  type EmbeddedRegistry,
  type Fault,
  startRegistry,
} from '../../src/registry-server/server.ts'
import { makeImage, makeIndex, pushBlobs, pushImage, toManifest } from '../support/data/image.ts'
import { startDockerRegistry } from '../support/servers/docker-registry.ts'
import { missingProgram } from '../support/servers/server.ts'

const alice = { username: 'alice', password: 'open-sesame' }

/** Two embedded registries, the second behind a token service, and one client of both. */
async function setUp(t: Test) {
  const folder = t.testdir()
  const wrong: { fault?: (ask: { method: string; path: string }) => Fault | undefined } = {}
  const one = await startRegistry({
    folder: join(folder, 'one'),
    faults: (ask) => wrong.fault?.(ask),
  })
  const two = await startRegistry({
    folder: join(folder, 'two'),
    auth: { kind: 'token', ...alice },
  })
  const client = createRegistryClient({
    credentials: { find: async (registry) => (registry === two.address ? alice : undefined) },
    secrets: createSecrets(),
    log: silentLog,
    signal: new AbortController().signal,
    retry: { firstPause: 5 },
  })
  t.teardown(async () => {
    client.close()
    await one.close()
    await two.close()
  })
  const copy = (source: Reference, target: Reference, options: Partial<CopyOptions> = {}) =>
    copyImage(client, source, target, { overwrite: false, log: silentLog, ...options })
  return { one, two, client, copy, wrong }
}

const at = ({ address }: { address: string }, name: string, tag: string): Reference =>
  withTag({ registry: address, name }, tag)
const none = { present: 0, mounted: 0, uploaded: 0 }
const log = ({ requests }: EmbeddedRegistry, from = 0) =>
  requests.slice(from).map(({ method, path }) => `${method} ${path.split('/').at(-2)}`)

t.test('a copy within a repository writes only the tag', async (t) => {
  const { one, client, copy, wrong } = await setUp(t)
  const image = makeImage('own')
  const { digest } = image.manifest
  const [source, target] = [at(one, 'team/webapi', 'build-7'), at(one, 'team/webapi', '1.4.2')]
  await pushImage(client, source, image)
  const before = one.requests.length
  t.same(await copy(source, target), { digest, changed: true, blobs: none })
  t.same(log(one, before).sort(), ['GET manifests', 'HEAD manifests', 'PUT manifests'])

  wrong.fault = ({ method }) =>
    method === 'PUT' ? { status: 412, code: 'PRECONDITION' } : undefined
  const again = { digest, changed: false, blobs: none }
  t.same(await copy(source, target), again, 'an immutable tag that is right already')
  t.same(await copy(withDigest(source, digest), target), again, 'by digest')
  t.same(await copy(source, withDigest(target, digest)), again, 'to a digest')
  wrong.fault = ({ method }) =>
    method === 'GET' ? { status: 412, code: 'PROJECTPOLICYVIOLATION' } : undefined
  t.same(await copy(withDigest(source, digest), target), again, 'the source is not needed')
  delete wrong.fault

  const next = makeImage('next')
  await pushImage(client, at(one, 'team/webapi', 'build-8'), next)
  const moved = copy(at(one, 'team/webapi', 'build-8'), target)
  await t.rejects(moved, {
    code: 'CONFLICT',
    message: new RegExp(`1\\.4\\.2 is ${digest} already, not ${next.manifest.digest}`),
    hint: /overwrite/,
  })
  t.equal(await client.resolve(target), digest)
  const forced = await copy(at(one, 'team/webapi', 'build-8'), target, { overwrite: true })
  t.match(forced, { changed: true, digest: next.manifest.digest })
  t.equal(await client.resolve(target), next.manifest.digest)
  await t.rejects(copy(at(one, 'team/webapi', 'nope'), at(one, 'team/webapi', 'x')), {
    code: 'NOT_FOUND',
    message: /team\/webapi:nope/,
  })
  await t.rejects(copy(source, { ...target, digest: sha256('x') }), { code: 'INPUT_INVALID' })
})

t.test('a copy to another repository mounts the blobs', async (t) => {
  const { two, client, copy } = await setUp(t)
  const image = makeImage('mount', { layers: 5 })
  const source = at(two, 'team/webapi', '1')
  await pushImage(client, source, image)
  const sent = client.bytesSent()
  const before = two.requests.length
  const result = await copy(source, at(two, 'prod/webapi', '1'))
  t.same(result.blobs, { present: 0, mounted: 6, uploaded: 0 })
  t.equal(client.bytesSent() - sent, image.manifest.bytes.length, 'only the manifest is sent')
  t.equal(log(two, before).filter((line) => line.startsWith('GET /token')).length, 0)
  const tokens = two.requests.slice(before).filter(({ path }) => path.startsWith('/token'))
  t.equal(tokens.length, 1, 'one token')
  const again = await copy(source, at(two, 'prod/webapi', '2'))
  t.same(again.blobs, { present: 6, mounted: 0, uploaded: 0 })
})

t.test('a copy to another registry keeps the digest', async (t) => {
  const { one, two, client, copy } = await setUp(t)
  const parts = ['amd64', 'arm64'].map((architecture) => ({
    image: makeImage(`across ${architecture}`, { architecture }),
    architecture,
  }))
  const index = makeIndex(parts)
  for (const { image } of parts) await pushImage(client, at(one, 'team/multi', 'x'), image)
  await client.putManifest(at(one, 'team/multi', 'x'), index)

  const result = await copy(at(one, 'team/multi', 'x'), at(two, 'prod/multi', '1'))
  t.same(result, { digest: index.digest, changed: true, blobs: { ...none, uploaded: 6 } })
  t.ok((await client.getManifest(at(two, 'prod/multi', '1'))).bytes.equals(index.bytes))
  const puts = two.requests.filter(({ method, path }) => method === 'PUT' && path.includes('manif'))
  t.match(puts.at(-1)?.path, /\/1$/, 'children before the index')
  t.equal(puts.length, 3)

  const before = two.requests.length
  const again = await copy(at(one, 'team/multi', 'x'), at(two, 'prod/multi', '2'))
  t.same(again, { digest: index.digest, changed: true, blobs: none }, 'children are there')
  t.equal(two.requests.slice(before).filter(({ method }) => method === 'PUT').length, 1)

  const arm = await copy(at(one, 'team/multi', 'x'), at(two, 'prod/multi', 'arm'), {
    platform: 'linux/arm64',
  })
  t.equal(arm.digest, parts[1]?.image.manifest.digest)
  t.same(arm.blobs, { ...none, present: 3 })
  await t.rejects(
    copy(at(one, 'team/multi', 'x'), at(two, 'prod/multi', 'z'), { platform: 'linux/s390x' }),
    { code: 'NOT_FOUND', message: /linux\/s390x/, hint: /linux\/amd64, linux\/arm64/ },
  )
})

t.test('a copy goes on when its source breaks', async (t) => {
  const { one, two, client, copy, wrong } = await setUp(t)
  const big = Buffer.alloc(3 << 20, 'abc')
  const config = Buffer.from('{}')
  const source = at(one, 'team/big', '1')
  for (const bytes of [big, config]) {
    const blob = { digest: sha256(bytes), size: bytes.length }
    await client.ensureBlob(source, blob, async () => Readable.from([bytes]))
  }
  const foreign = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest: sha256('windows'),
    size: 7,
    urls: ['https://example.com/windows'],
  }
  const manifest = toManifest(mediaTypes.dockerManifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.dockerManifest,
    config: { mediaType: mediaTypes.dockerConfig, digest: sha256(config), size: config.length },
    layers: [
      { mediaType: mediaTypes.dockerLayerGzip, digest: sha256(big), size: big.length },
      foreign,
    ],
  })
  await client.putManifest(source, manifest)
  let cuts = 2
  wrong.fault = ({ method, path }) =>
    method === 'GET' && path.includes(sha256(big)) && cuts-- > 0 ? { cut: 1 << 20 } : undefined
  const target = at(two, 'team/big', '1')
  const result = await copy(source, target)
  t.same(result.blobs, { ...none, uploaded: 2 }, 'the foreign layer stays away')
  t.match(await client.getManifest(target), {
    digest: manifest.digest,
    mediaType: mediaTypes.dockerManifest,
  })

  wrong.fault = ({ method }) => (method === 'GET' ? { status: 500 } : undefined)
  await t.rejects(copy(source, at(two, 'other/big', '1')), { code: 'UNAVAILABLE' })
})

t.test(
  'a copy to docker-registry and back keeps the digest',
  { skip: missingProgram('docker-registry') },
  async (t) => {
    const { one, client, copy } = await setUp(t)
    const real = await startDockerRegistry()
    t.teardown(() => real.close())
    const image = makeImage('there and back')
    await pushImage(client, at(one, 'team/webapi', '1'), image)
    const there = await copy(at(one, 'team/webapi', '1'), at(real, 'team/webapi', '1'))
    t.same(there.blobs, { ...none, uploaded: 3 })
    const sideways = await copy(at(real, 'team/webapi', '1'), at(real, 'prod/webapi', '1'))
    t.same(sideways.blobs, { ...none, mounted: 3 })
    const back = await copy(at(real, 'prod/webapi', '1'), at(one, 'prod/webapi', '1'))
    t.equal(back.digest, image.manifest.digest)
    t.equal(
      await client.resolve(parseReference(`${one.address}/prod/webapi:1`)),
      image.manifest.digest,
    )
  },
)

t.test('what cannot be copied is refused with its reason', async (t) => {
  const { one, two, client, copy } = await setUp(t)
  const image = makeImage('whole', { layers: 1 })
  const source = at(one, 'team/odd', '1')
  await pushBlobs(client, source, image)
  const put = (mediaType: string, content: object) =>
    client.putManifest(source, toManifest(mediaType, content))
  await put(mediaTypes.ociIndex, { schemaVersion: 2, manifests: [] })
  const empty = await copy(source, at(two, 'team/odd', '1'))
  t.match(empty, { changed: true, blobs: none })
  const config = { digest: [...image.blobs.keys()][0] }
  await put(mediaTypes.ociManifest, { schemaVersion: 2, config, layers: [] })
  await t.rejects(copy(source, at(two, 'team/odd', '2')), {
    code: 'INPUT_INVALID',
    message: /team\/odd:1: its manifest lacks a media type/,
  })
})

t.test('lists that Go wrote as null are empty lists', async (t) => {
  const { one, two, client, copy } = await setUp(t)
  const image = makeImage('empty', { layers: 0 })
  const source = at(one, 'team/empty', '1')
  await pushBlobs(client, source, image)
  const whole = JSON.parse(image.manifest.bytes.toString())
  const manifest = toManifest(mediaTypes.ociManifest, { ...whole, layers: null })
  await client.putManifest(source, manifest)
  const copied = await copy(source, at(two, 'team/empty', '1'))
  t.match(copied, { digest: manifest.digest, blobs: { uploaded: 1 } })
  const index = toManifest(mediaTypes.ociIndex, { schemaVersion: 2, manifests: null })
  await client.putManifest({ ...source, tag: '2' }, index)
  t.match(await copy({ ...source, tag: '2' }, at(two, 'team/empty', '2')), { blobs: none })
})
