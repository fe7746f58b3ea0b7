import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { sha256 } from '../../src/core/digest.ts'
import { StepError } from '../../src/core/errors.ts'
import { type Log, silentLog } from '../../src/core/log.ts'
import { withDigest, withTag } from '../../src/registry/reference.ts'
import { mediaTypes } from '../../src/registry/types.ts'
import type { Fault } from '../../src/registry-server/server.ts'
import { makeImage, pushImage } from '../support/data/image.ts'
import { makeBlob, newClient, setUp } from '../support/servers/embedded-registry.ts'

t.test('what may pass is tried again', async (t) => {
  const said: string[] = []
  const log: Log = { ...silentLog, info: (text) => said.push(text) }
  const { client, place, fail, seen } = await setUp(t, { log })

  const one = makeBlob()
  fail('HEAD', '/blobs/', { status: 503 })
  fail('POST', '/uploads/', { status: 500, code: 'UNKNOWN', message: 'deadlock detected' })
  fail('PUT', '/uploads/', { status: 502 })
  t.equal(await client.ensureBlob(place, one.blob, one.open), 'uploaded')
  t.equal(one.opened(), 2)
  t.equal(seen('POST').length, 3, 'a fresh session for each try')
  t.equal(seen('DELETE', '/uploads/').length, 1, 'the failed one is given up')
  t.match(said.join('\n'), /webapi@sha256:.*UNKNOWN: deadlock detected; trying again in/)
  t.ok((await buffer(await client.getBlob(place, one.blob))).equals(one.bytes))

  const cut = makeBlob(4 << 20)
  fail('PUT', '/uploads/', { cut: 1 << 20 }, 2)
  t.equal(await client.ensureBlob(place, cut.blob, cut.open), 'uploaded')
  t.equal(cut.opened(), 3)
  fail('GET', cut.blob.digest, { cut: 1 << 20 }, 1)
  t.ok((await buffer(await client.getBlob(place, cut.blob))).equals(cut.bytes), 'resumed')
  t.equal(seen('GET', cut.blob.digest)[1]?.status, 206)

  const broken = makeBlob()
  let tries = 0
  const flaky = async () =>
    ++tries > 1
      ? broken.open()
      : Readable.from(
          (async function* () {
            yield Buffer.alloc(10)
            throw new StepError('UNAVAILABLE', 'source broke')
          })(),
        )
  t.equal(await client.ensureBlob(place, broken.blob, flaky), 'uploaded', 'the source broke once')
  const before = seen('PUT').length
  const gone = async () => createReadStream(join(t.testdirName, 'gone'))
  await t.rejects(client.ensureBlob(place, makeBlob().blob, gone), {
    code: 'NOT_FOUND',
    message: /pushing .*webapi@sha256.*ENOENT/,
  })
  t.ok(seen('PUT').length - before <= 1, 'a file that is gone is not tried again')

  const late = makeBlob()
  fail('POST', '/uploads/', {
    status: 429,
    code: 'TOOMANYREQUESTS',
    headers: { 'retry-after': '1' },
  })
  const start = Date.now()
  t.equal(await client.ensureBlob(place, late.blob, late.open), 'uploaded')
  t.ok(Date.now() - start >= 990, 'waits as long as asked')

  fail('PUT', '/uploads/', { status: 404, code: 'BLOB_UPLOAD_UNKNOWN' })
  const lost = makeBlob()
  t.equal(await client.ensureBlob(place, lost.blob, lost.open), 'uploaded', 'session forgotten')

  fail('HEAD', '/manifests/', { status: 503, code: 'UNAVAILABLE' }, 99)
  await t.rejects(client.resolve(withTag(place, 'x')), { code: 'UNAVAILABLE', retryable: true })
  const dead = await newClient(t, { retry: { attempts: 2, firstPause: 1 } })
  await t.rejects(dead.resolve({ registry: '127.0.0.1:1', name: 'a', tag: 'x' }), {
    code: 'UNAVAILABLE',
    message: /looking up 127\.0\.0\.1:1\/a:x: .*ECONNREFUSED/,
  })
})

t.test('a blob that cannot be mounted is uploaded', async (t) => {
  const { client, place, fail, seen } = await setUp(t, {})
  const other = { ...place, name: 'prod/webapi' }
  for (const status of [401, 403, 404, 405]) {
    const { blob, open } = makeBlob()
    await client.ensureBlob(place, blob, open)
    fail('POST', 'mount=', { status, code: 'DENIED', headers: { 'www-authenticate': '' } })
    t.equal(await client.ensureBlob(other, blob, open, place), 'uploaded', `${status}`)
  }
  const before = seen('POST').length
  const { blob, open } = makeBlob()
  t.equal(await client.ensureBlob(other, blob, open, place), 'uploaded', '202')
  t.equal(seen('POST').length - before, 1, "the mount's session is used")
  const far = { registry: 'registry.example.com', name: 'team/webapi' }
  const next = makeBlob()
  t.equal(await client.ensureBlob(other, next.blob, next.open, far), 'uploaded')
  t.equal(seen('POST').at(-1)?.path, '/v2/prod/webapi/blobs/uploads/', 'not across registries')
  fail('POST', 'mount=', { status: 500 })
  await client.ensureBlob(place, blob, open)
  const third = { ...place, name: 'third/webapi' }
  t.equal(await client.ensureBlob(third, blob, open, place), 'mounted', 'tried again')
})

t.test('few uploads run at a time, each blob once', async (t) => {
  const { client, place, fail, seen } = await setUp(t, {})
  fail('PUT', '/uploads/', { delay: 40 }, 99)
  const blobs = Array.from({ length: 12 }, () => makeBlob())
  let most = 0
  const watch = setInterval(() => {
    most = Math.max(most, seen('PUT').filter(({ status }) => status === 0).length)
  }, 5)
  t.teardown(() => clearInterval(watch))
  const pushes = [...blobs, ...blobs].map(({ blob, open }) => client.ensureBlob(place, blob, open))
  t.same(new Set(await Promise.all(pushes)), new Set(['uploaded']))
  t.equal(seen('PUT').length, 12)
  t.equal(most, 4)
})

t.test('a cancelled client stops at once', async (t) => {
  const abort = new AbortController()
  const { client, place, fail, seen } = await setUp(t, { signal: abort.signal })
  fail('PUT', '/uploads/', { delay: 5000 })
  const { blob, open } = makeBlob()
  const push = client.ensureBlob(place, blob, open)
  while (seen('PUT').length === 0) await sleep(5)
  abort.abort()
  await t.rejects(push, { code: 'CANCELLED' })
  t.equal(seen('DELETE', '/uploads/').length, 1)
  await t.rejects(client.resolve(withTag(place, 'x')), { code: 'CANCELLED' })
})

t.test('responses within the specification are understood, others are refused', async (t) => {
  const { client, place, fail, seen } = await setUp(t, {})
  const image = makeImage('answers')
  const tag = withTag(place, '1')
  await pushImage(client, tag, image)

  fail('HEAD', '/manifests/1', { status: 200 })
  t.equal(await client.resolve(tag), image.manifest.digest, 'HEAD without a digest')
  fail('GET', '/manifests/', { status: 200, headers: { 'content-type': mediaTypes.ociManifest } })
  await t.rejects(client.getManifest(withDigest(place, image.manifest.digest)), {
    code: 'VERIFY_FAILED',
  })
  const html = { status: 200, headers: { 'content-type': 'text/html' } }
  fail('GET', '/manifests/', html)
  await t.rejects(client.getManifest(tag), { message: /"text\/html" is not an image's media type/ })
  const otherDigest = { 'docker-content-digest': sha256('x') }
  fail('PUT', '/manifests/', { status: 201, headers: otherDigest })
  await t.rejects(client.putManifest(tag, image.manifest), { code: 'VERIFY_FAILED' })

  const location = `http://${place.registry}/v2/team/webapi/blobs/uploads/1?_state=a%2Bb%3D&x=1`
  fail('POST', '/uploads/', { status: 202, headers: { location } })
  fail('PUT', '/uploads/1', { status: 201 })
  const { blob, open } = makeBlob()
  await client.ensureBlob(place, blob, open)
  const digest = encodeURIComponent(blob.digest)
  t.equal(
    seen('PUT').at(-1)?.path,
    `/v2/team/webapi/blobs/uploads/1?_state=a%2Bb%3D&x=1&digest=${digest}`,
  )
})

t.test('an error of a registry has a code and a hint', async (t) => {
  const { client, place, fail } = await setUp(t, {})
  const { manifest } = makeImage('refused')
  const quota =
    'adding 3.9 KiB of storage resource, which when updated to current usage of 30 B will exceed the configured upper limit of 1000 B.'
  const missing = 'project nope not found: project nope not found'
  const cases: { fault: Fault; code: string; message: RegExp; hint: RegExp }[] = [
    {
      fault: { status: 403, code: 'DENIED', message: quota },
      code: 'FORBIDDEN',
      message: /adding 3\.9 KiB of storage resource, .* upper limit of 1000 B/,
      hint: /quota/,
    },
    {
      fault: {
        status: 412,
        code: 'PRECONDITION',
        message: "Failed to process request due to 'webapi:rel-1' configured as immutable.",
      },
      code: 'CONFLICT',
      message: /tagging .*team\/webapi:rel-1: PRECONDITION: .*configured as immutable/,
      hint: /new tag/,
    },
    {
      fault: { status: 412, code: 'PROJECTPOLICYVIOLATION', message: 'current image without scan' },
      code: 'GATE_CLOSED',
      message: /without scan/,
      hint: /scan/,
    },
    {
      fault: {
        status: 401,
        code: 'UNAUTHORIZED',
        message: missing,
        headers: { 'www-authenticate': '' },
      },
      code: 'UNAUTHORIZED',
      message: /UNAUTHORIZED: project nope not found$/,
      hint: /Project "team" does not exist or you may not see it.*docker login .*DOCKER_AUTH_CONFIG/,
    },
    {
      fault: { status: 401, headers: { 'www-authenticate': 'Basic realm="harbor"' } },
      code: 'UNAUTHORIZED',
      message: /answered 401/,
      hint: /docker login 127\.0\.0\.1:\d+, or set DOCKER_AUTH_CONFIG/,
    },
    { fault: { status: 413 }, code: 'COMMAND_FAILED', message: /413/, hint: /proxy/ },
    {
      fault: { status: 400, code: 'TAG_INVALID', message: 'bad \x1b[31mtag\n' },
      code: 'INPUT_INVALID',
      message: /TAG_INVALID: bad {2}?\[31mtag $/,
      hint: /tag/,
    },
  ]
  for (const { fault, ...expected } of cases) {
    fail('PUT', '/manifests/', fault, 1)
    await t.rejects(client.putManifest(withTag(place, 'rel-1'), manifest), expected)
  }
  fail('HEAD', '/manifests/', { status: 412 })
  fail('GET', '/manifests/', {
    status: 412,
    code: 'PROJECTPOLICYVIOLATION',
    message: 'not scanned',
  })
  await t.rejects(client.resolve(withTag(place, '1')), { message: /not scanned/ }, 'HEAD in words')
})
