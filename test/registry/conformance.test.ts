import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type Digest, sha256 } from '../../src/core/digest.ts'
import { silentLog } from '../../src/core/log.ts'
import { run } from '../../src/core/process/process.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { createRegistryClient } from '../../src/registry/client.ts'
import { type Repository, withDigest, withTag } from '../../src/registry/reference.ts'
import { type Manifest, mediaTypes } from '../../src/registry/types.ts'
import { startRegistry } from '../../src/registry-server/server.ts'
import { makeImage, makeIndex, pushBlobs, pushImage, toManifest } from '../support/data/image.ts'
import { startDockerRegistry } from '../support/servers/docker-registry.ts'
import { hasBlob, tagsOf } from '../support/servers/embedded-registry.ts'
import { missingProgram } from '../support/servers/server.ts'

const kinds = {
  async embedded() {
    const folder = await mkdtemp(join(tmpdir(), 'crosscloud-registry-'))
    const registry = await startRegistry({ folder })
    const close = async () => {
      await registry.close()
      await rm(folder, { recursive: true })
    }
    return { address: registry.address, close }
  },
  'docker-registry': () => startDockerRegistry({ delete: true }),
}

const digestOfNothing = sha256('there is no such thing')
const once = (bytes: Buffer) => async () => Readable.from([bytes])
const skopeo = await run('skopeo', ['--version']).then(
  () => false as const,
  () => 'skopeo is not installed (Debian package skopeo)',
)

for (const [kind, start] of Object.entries(kinds)) {
  const skip = kind === 'docker-registry' && missingProgram('docker-registry')
  t.test(kind, { skip }, async (t) => {
    const { address, close } = await start()
    t.teardown(close)
    const client = createRegistryClient({
      credentials: { find: async () => undefined },
      secrets: createSecrets(),
      log: silentLog,
      signal: new AbortController().signal,
      retry: { firstPause: 10 },
    })
    t.teardown(() => client.close())
    // distribution 2.8 pages the catalogue only, and takes PATCHes without looking at Content-Range.
    const strict = kind === 'embedded'
    const place = (name: string): Repository => ({ registry: address, name })
    const raw = (method: string, path: string, init: RequestInit = {}) =>
      fetch(`http://${address}${path}`, { method, ...init })

    await t.test('blobs are pushed, mounted, read and verified', (t) => blobs(t))
    await t.test('manifests are pushed, read, resolved and deleted', (t) => manifests(t))
    await t.test('an index needs its manifests first', (t) => index(t))
    await t.test('tags are listed in pages', (t) => tags(t))
    await t.test('the server speaks the distribution specification', (t) => protocol(t))
    await t.test('skopeo reads what was pushed', { skip: skopeo }, (t) => inspect(t))

    async function blobs(t: Test) {
      const bytes = randomBytes(3 << 20)
      const blob = { digest: sha256(bytes), size: bytes.length }
      const target = place('team/webapi')
      const before = client.bytesSent()
      t.equal(await hasBlob(target, blob.digest), false)
      t.equal(await client.ensureBlob(target, blob, once(bytes)), 'uploaded')
      t.equal(client.bytesSent() - before, bytes.length, 'sent once')
      t.equal(await client.ensureBlob(target, blob, once(bytes)), 'present')
      t.equal(client.bytesSent() - before, bytes.length, 'and not again')
      t.equal(await hasBlob(target, blob.digest), true)
      t.ok((await buffer(await client.getBlob(target, blob))).equals(bytes))

      const other = place('prod/webapi')
      t.equal(await hasBlob(other, blob.digest), false, 'a blob belongs to a repository')
      const never = () => Promise.reject(new Error('mounted blobs are not opened'))
      t.equal(await client.ensureBlob(other, blob, never, target), 'mounted')
      t.equal(await hasBlob(other, blob.digest), true)
      const absent = Buffer.from('the source lacks this')
      const small = { digest: sha256(absent), size: absent.length }
      t.equal(await client.ensureBlob(other, small, once(absent), target), 'uploaded', '202')

      const empty = { digest: sha256(''), size: 0 }
      t.equal(await client.ensureBlob(other, empty, async () => Readable.from([])), 'uploaded')
      t.equal((await buffer(await client.getBlob(other, empty))).length, 0)

      const wrong = { digest: digestOfNothing, size: absent.length }
      await t.rejects(client.ensureBlob(other, wrong, once(absent)), {
        code: 'VERIFY_FAILED',
        message: /prod\/webapi@sha256:.*DIGEST_INVALID/,
      })
      const short = { digest: digestOfNothing, size: absent.length + 1 }
      await t.rejects(client.ensureBlob(other, short, once(absent)), { code: 'VERIFY_FAILED' })
      const long = { digest: digestOfNothing, size: absent.length - 1 }
      await t.rejects(client.ensureBlob(other, long, once(absent)), { code: 'VERIFY_FAILED' })
      t.equal(await hasBlob(other, digestOfNothing), false)
      await t.rejects(client.getBlob(other, wrong), { code: 'NOT_FOUND', message: /BLOB_UNKNOWN/ })
      const lie = { digest: blob.digest, size: blob.size - 1 }
      await t.rejects(client.getBlob(target, lie).then(buffer), { code: 'VERIFY_FAILED' })
    }

    async function manifests(t: Test) {
      const image = makeImage('manifests')
      const { digest } = image.manifest
      const target = withTag(place('team/webapi'), '1.4.2')
      t.equal(await client.resolve(target), undefined)
      await t.rejects(client.getManifest(target), {
        code: 'NOT_FOUND',
        message: new RegExp(`reading ${address}/team/webapi:1.4.2: MANIFEST_UNKNOWN`),
      })
      await t.rejects(client.putManifest(target, image.manifest), {
        code: 'NOT_FOUND',
        message: /tagging .*team\/webapi:1.4.2: MANIFEST_BLOB_UNKNOWN/,
        hint: /Push that first/,
      })
      await pushImage(client, target, image)
      t.equal(await client.resolve(target), digest)
      t.equal(await client.resolve(withDigest(target, digest)), digest)
      for (const reference of [target, withDigest(target, digest), { ...target, digest }]) {
        const { mediaType, bytes } = await client.getManifest(reference)
        t.equal(mediaType, mediaTypes.ociManifest)
        t.ok(bytes.equals(image.manifest.bytes), 'the same bytes')
      }
      t.equal(await client.resolve(withDigest(target, digestOfNothing)), undefined)
      await t.rejects(client.putManifest(withDigest(target, digestOfNothing), image.manifest), {
        code: 'VERIFY_FAILED',
      })
      const docker: Manifest = { ...image.manifest, mediaType: mediaTypes.dockerManifest }
      await t.rejects(client.putManifest(target, docker), { message: /MANIFEST_INVALID/ })
    }

    async function index(t: Test) {
      const images = ['amd64', 'arm64'].map((architecture) => ({
        image: makeImage(`index ${architecture}`, { architecture }),
        architecture,
      }))
      const target = withTag(place('team/multi'), 'latest')
      const manifest = makeIndex(images)
      await t.rejects(client.putManifest(target, manifest), { message: /MANIFEST_BLOB_UNKNOWN/ })
      for (const { image } of images) await pushImage(client, place('team/multi'), image)
      await client.putManifest(target, manifest)
      t.match(await client.getManifest({ ...place('team/multi') }), {
        mediaType: mediaTypes.ociIndex,
        digest: manifest.digest,
      })
    }

    async function tags(t: Test) {
      const image = makeImage('tags', { layers: 1 })
      const target = place('team/tags')
      await pushBlobs(client, target, image)
      const names = ['1.0.0', '1.0.1', 'a', 'b', 'latest']
      for (const name of names) await client.putManifest(withTag(target, name), image.manifest)
      t.same((await tagsOf(target)).sort(), names)
      const catalog = (await (await raw('GET', '/v2/_catalog')).json()) as {
        repositories: string[]
      }
      t.ok(catalog.repositories.includes('team/tags'))
      if (!strict) return
      const page = async (path: string) => {
        const answer = await raw('GET', path)
        const next = /<([^>]+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1]
        return { next, tags: ((await answer.json()) as { tags: string[] }).tags }
      }
      const first = await page('/v2/team/tags/tags/list?n=2')
      t.same(first.tags, ['1.0.0', '1.0.1'])
      const second = await page(first.next ?? '')
      t.same(second.tags, ['a', 'b'])
      t.same(await page(second.next ?? ''), { tags: ['latest'], next: undefined })
    }

    async function protocol(t: Test) {
      const bytes = Buffer.from('0123456789')
      const digest = sha256(bytes)
      const base = '/v2/team/raw/blobs'
      const statusOf = async (answer: Promise<Response>) => (await answer).status
      const patch = (to: string, body: string, range?: string) =>
        fetch(to, {
          method: 'PATCH',
          body,
          headers: {
            'content-type': 'application/octet-stream',
            ...(range ? { 'content-range': range } : {}),
          },
        })
      const locate = (answer: Response) =>
        new URL(answer.headers.get('location') ?? '', `http://${address}`).href
      const begun = await raw('POST', `${base}/uploads/`)
      t.equal(begun.status, 202)
      const one = await patch(locate(begun), '01234', '0-4')
      t.equal(one.status, 202)
      t.equal(one.headers.get('range'), '0-4')
      const asked = await fetch(locate(one))
      t.equal(asked.status, 204)
      t.equal(asked.headers.get('range'), '0-4')
      if (strict) t.equal((await patch(locate(asked), 'xx', '7-8')).status, 416, 'out of order')
      const two = await patch(locate(asked), '56789', '5-9')
      t.equal(two.status, 202)
      const end = new URL(locate(two))
      end.searchParams.set('digest', digest)
      t.equal(await statusOf(fetch(end, { method: 'PUT' })), 201)
      const ranged = await raw('GET', `${base}/${digest}`, { headers: { range: 'bytes=2-4' } })
      t.equal(ranged.status, 206)
      t.equal(ranged.headers.get('content-range'), 'bytes 2-4/10')
      t.equal(await ranged.text(), '234')
      const outside = raw('GET', `${base}/${digest}`, { headers: { range: 'bytes=10-' } })
      t.equal(await statusOf(outside), 416)
      const dropped = locate(await raw('POST', `${base}/uploads/`))
      t.equal(await statusOf(fetch(dropped, { method: 'DELETE' })), 204)
      t.equal(await statusOf(fetch(dropped)), 404)
      t.equal(await statusOf(raw('DELETE', `${base}/${digest}`)), 202)
      t.equal(await statusOf(raw('HEAD', `${base}/${digest}`)), 404)
      const tagless = makeImage('deleted', { layers: 1 })
      await pushImage(client, withTag(place('team/raw'), 'x'), tagless)
      const gone = `/v2/team/raw/manifests/${tagless.manifest.digest}`
      t.equal(await statusOf(raw('DELETE', gone)), 202)
      t.equal(await client.resolve(withTag(place('team/raw'), 'x')), undefined)
      for (const path of ['/v2/../x/tags/list', '/v2/a/../../b/tags/list', '/v2/A/tags/list']) {
        t.match(await statusOf(raw('GET', path)), /^40[04]$/)
      }
    }

    async function inspect(t: Test) {
      const image = makeImage('skopeo')
      await pushImage(client, withTag(place('team/skopeo'), '1'), image)
      const name = `docker://${address}/team/skopeo:1`
      const { stdout } = await run('skopeo', ['inspect', '--tls-verify=false', name])
      const seen = JSON.parse(stdout) as { Digest: Digest; Labels: { seed: string } }
      t.equal(seen.Digest, image.manifest.digest)
      t.equal(seen.Labels.seed, 'skopeo')
    }
  })
}

t.test('the embedded registry refuses what would leave its folder or be wrong', async (t) => {
  const folder = t.testdir()
  const registry = await startRegistry({ folder })
  t.teardown(() => registry.close())
  const put = (path: string, mediaType: string, body: Buffer) =>
    fetch(`${registry.url}${path}`, { method: 'PUT', body, headers: { 'content-type': mediaType } })
  const upload = (bytes: Buffer) =>
    fetch(`${registry.url}/v2/team/webapi/blobs/uploads/?digest=${sha256(bytes)}`, {
      method: 'POST',
      body: bytes,
    })
  const config = Buffer.from('{}')
  t.equal((await upload(config)).status, 201, 'POST with the whole blob')

  const part = { mediaType: mediaTypes.ociConfig, digest: sha256(config), size: 2 }
  const image = toManifest(mediaTypes.ociManifest, { schemaVersion: 2, config: part, layers: [] })
  t.equal((await put('/v2/team/webapi/manifests/1', image.mediaType, image.bytes)).status, 201)
  const subject = { mediaType: image.mediaType, digest: image.digest, size: image.bytes.length }
  const content = { schemaVersion: 2, config: part, layers: [], artifactType: 'a/b', subject }
  const signature = toManifest(mediaTypes.ociManifest, content)
  const path = `/v2/team/webapi/manifests/${signature.digest}`
  const pushed = await put(path, signature.mediaType, signature.bytes)
  t.equal(pushed.headers.get('oci-subject'), image.digest)
  const list = await fetch(`${registry.url}/v2/team/webapi/referrers/${image.digest}`)
  t.match(await list.json(), { manifests: [{ digest: signature.digest, artifactType: 'a/b' }] })
  t.equal((await put(path, image.mediaType, image.bytes)).status, 400, 'the digest is another')
  t.equal((await put('/v2/team/webapi/manifests/x', 'text/plain', image.bytes)).status, 400)

  for (const bad of ['%2e%2e%2f%2e%2e%2fetc', 'a%2F..%2Fb', '_blobs', 'a//b', '%00', '%E0%A4%A']) {
    const { status } = await fetch(`${registry.url}/v2/${bad}/tags/list`)
    t.match(status, /^40[04]$/, bad)
  }
  await registry.close()

  const again = await startRegistry({ folder })
  t.teardown(() => again.close())
  const kept = await fetch(`${again.url}/v2/team/webapi/manifests/1`)
  t.equal(kept.headers.get('docker-content-digest'), image.digest, 'kept on disk')
})
