import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sha256 } from '../../src/core/digest.ts'
import { StepError } from '../../src/core/errors.ts'
import { type Log, silentLog } from '../../src/core/log.ts'
import { run } from '../../src/core/process.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { parseChallenges } from '../../src/registry/auth.ts'
import { createRegistryClient, type RegistryClientOptions } from '../../src/registry/client.ts'
import type { Credential } from '../../src/registry/credentials.ts'
import { followLocation, originOf } from '../../src/registry/origin.ts'
import { type Repository, withDigest, withTag } from '../../src/registry/reference.ts'
import { type Fault, type RegistryAuth, startRegistry } from '../../src/registry/server.ts'
import { mediaTypes, type RegistryClient } from '../../src/registry/types.ts'
import {
  dockerRegistryMissing,
  dockerRegistryUser,
  startDockerRegistry,
} from '../support/docker-registry.ts'
import { makeImage, pushImage } from '../support/image.ts'

type Ask = { method: string; path: string }

/** An embedded registry, and a client of it that knows `credential`. */
async function setUp(
  t: Test,
  {
    auth,
    ...options
  }: { auth?: RegistryAuth; credential?: Credential } & Partial<RegistryClientOptions>,
) {
  const faults: { when: (ask: Ask) => boolean; fault: Fault; times: number }[] = []
  const registry = await startRegistry({
    folder: t.testdir(),
    ...(auth ? { auth } : {}),
    faults: (ask) => {
      const found = faults.find(({ when, times }) => times > 0 && when(ask))
      if (found) found.times--
      return found?.fault
    },
  })
  t.teardown(() => registry.close())
  const client = await newClient(t, options)
  const place: Repository = { registry: registry.address, name: 'team/webapi' }
  /** The next `times` requests with this method and path (a part of it) go wrong. */
  const fail = (method: string, path: string, fault: Fault, times = 1) => {
    faults.push({ when: (ask) => ask.method === method && ask.path.includes(path), fault, times })
  }
  const seen = (method: string, path = '') =>
    registry.requests.filter((one) => one.method === method && one.path.includes(path))
  return { registry, client, place, fail, seen }
}

async function newClient(
  t: Test,
  { credential, ...options }: { credential?: Credential } & Partial<RegistryClientOptions> = {},
): Promise<RegistryClient> {
  const client = await createRegistryClient({
    credentials: { find: async () => credential },
    secrets: createSecrets(),
    log: silentLog,
    signal: new AbortController().signal,
    retry: { firstPause: 5 },
    ...options,
  })
  t.teardown(() => client.close())
  return client
}

function makeBlob(size = 1000) {
  const bytes = randomBytes(size)
  let opened = 0
  const open = async () => {
    opened++
    return Readable.from([bytes.subarray(0, size / 2), bytes.subarray(size / 2)])
  }
  return { bytes, blob: { digest: sha256(bytes), size }, open, opened: () => opened }
}

const alice = { username: 'alice', password: 'open-sesame' }

t.test('faults that pass', async (t) => {
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

t.test('mounts that are not made', async (t) => {
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

t.test('few uploads at a time, each once', async (t) => {
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

t.test('cancelled', async (t) => {
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

t.test('what a registry may answer', async (t) => {
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
  const link = '</v2/team/webapi/tags/list?n=1000&last=1>; rel="next"'
  fail('GET', '/tags/list?n=1000&last=1', { status: 200, headers: { link } })
  fail('GET', '/tags/list', { status: 200, headers: { link } })
  await t.rejects(client.listTags(place), { message: /not JSON/ })
})

t.test('refusals say what to do', async (t) => {
  const { client, place, fail } = await setUp(t, {})
  const { manifest } = makeImage('refused')
  const quota =
    'adding 3.9 KiB of storage resource, which when updated to current usage of 30 B will exceed the configured upper limit of 1000 B.'
  const missing = 'project nope not found: project nope not found'
  const cases: { fault: Fault; code: string; message: RegExp; hint: RegExp }[] = [
    {
      fault: { status: 403, code: 'DENIED', message: quota },
      code: 'UNAUTHORIZED',
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

t.test('tokens', async (t) => {
  const auth: RegistryAuth = { kind: 'token', ...alice }
  const { registry, client, place, fail, seen } = await setUp(t, { auth, credential: alice })
  const image = makeImage('token', { layers: 6 })
  await pushImage(client, withTag(place, '1'), image)
  t.equal(seen('GET', '/token').length, 1, 'one token for a push')

  const { blob, open } = makeBlob()
  fail('PUT', '/uploads/', { expireToken: true })
  t.equal(await client.ensureBlob(place, blob, open), 'uploaded', 'expired in mid-push')
  fail('PUT', '/manifests/', { expireToken: true })
  await client.putManifest(withTag(place, '2'), image.manifest)
  t.equal(await client.resolve(withTag(place, '2')), image.manifest.digest)

  const before = registry.requests.length
  fail(
    'POST',
    '/uploads/',
    {
      status: 401,
      code: 'UNAUTHORIZED',
      message: 'unauthorized to access repository: team/webapi, action: push',
      headers: { 'www-authenticate': 'Basic realm="harbor"' },
    },
    99,
  )
  const robot = makeBlob()
  await t.rejects(client.ensureBlob(place, robot.blob, robot.open), {
    code: 'UNAUTHORIZED',
    message: /action: push$/,
  })
  t.ok(registry.requests.length - before <= 4, 'does not loop')

  const fresh = await newClient(t, { credential: alice })
  const start = registry.requests.length
  const other = { ...place, name: 'prod/webapi' }
  await fresh.authorizePush(other, [place])
  await pushImage(fresh, place, image).catch(() => {})
  const tokens = registry.requests.slice(start).filter(({ path }) => path.startsWith('/token'))
  t.equal(tokens.length, 2, 'pull on the source does not cover a push to it')
  t.equal(
    tokens[0]?.path,
    '/token?service=crosscloud-registry&scope=repository%3Aprod%2Fwebapi%3Apull%2Cpush&scope=repository%3Ateam%2Fwebapi%3Apull',
  )

  const identity = await newClient(t, { credential: { identityToken: alice.password } })
  t.equal(await identity.resolve(withTag(place, '1')), image.manifest.digest)
  t.equal(seen('POST', '/token').length, 1)
  const wrong = await newClient(t, { credential: { username: 'alice', password: 'wrong-one' } })
  await t.rejects(wrong.resolve(withTag(place, '1')), {
    code: 'UNAUTHORIZED',
    message: /logging in to .*: UNAUTHORIZED: wrong user or password \(as alice\)/,
    hint: /docker login 127/,
  })
  const nobody = await newClient(t)
  await t.rejects(nobody.resolve(withTag(place, '1')), { message: /\(without a password\)/ })
})

t.test('token services that are not asked', async (t) => {
  const { place, fail, registry } = await setUp(t, {})
  for (const realm of [
    'http://evil.example/token',
    'ftp://evil.example',
    'nonsense',
    'https://a:b@c/',
  ]) {
    const headers = { 'www-authenticate': `Bearer realm="${realm}",service="x"` }
    fail('GET', '/v2/', { status: 401, headers }, 1)
    const client = await newClient(t, { credential: alice })
    await t.rejects(client.resolve(withTag(place, '1')), {
      code: 'UNAUTHORIZED',
      message: /token service .* (?:is|carries)/,
    })
    const again = await newClient(t, { credential: alice })
    t.equal(await again.resolve(withTag(place, '1')), undefined)
  }
  t.ok(registry.requests.every(({ authorization }) => authorization === undefined))
})

t.test('passwords', async (t) => {
  const auth: RegistryAuth = { kind: 'basic', ...alice }
  const { client, place, registry } = await setUp(t, { auth, credential: alice })
  const image = makeImage('basic')
  await pushImage(client, withTag(place, '1'), image)
  const pair = Buffer.from('alice:open-sesame').toString('base64')
  const [ping, ...rest] = registry.requests
  t.match(ping, { path: '/v2/', status: 401 })
  t.ok(rest.every(({ authorization }) => authorization === `Basic ${pair}`))
  const wrong = await newClient(t, { credential: { username: 'alice', password: 'wrong-one' } })
  await t.rejects(wrong.getManifest(withTag(place, '1')), {
    code: 'UNAUTHORIZED',
    message: /reading .*team\/webapi:1: UNAUTHORIZED/,
  })
  await t.rejects((await newClient(t)).resolve(withTag(place, '1')), { code: 'UNAUTHORIZED' })
})

t.test('passwords at docker-registry', { skip: dockerRegistryMissing() }, async (t) => {
  const registry = await startDockerRegistry({ htpasswd: true })
  t.teardown(() => registry.close())
  const place = { registry: registry.address, name: 'team/webapi' }
  const image = makeImage('htpasswd')
  const client = await newClient(t, { credential: dockerRegistryUser })
  await pushImage(client, withTag(place, '1'), image)
  t.equal(await client.resolve(withTag(place, '1')), image.manifest.digest)
  await t.rejects((await newClient(t)).resolve(withTag(place, '1')), { code: 'UNAUTHORIZED' })
})

t.test('redirects carry no password', async (t) => {
  const { client, place, fail, seen } = await setUp(t, {
    auth: { kind: 'basic', ...alice },
    credential: alice,
  })
  const { bytes, blob, open } = makeBlob()
  await client.ensureBlob(place, blob, open)
  const asked: IncomingMessage[] = []
  const storage = createServer((request, response) => {
    asked.push(request)
    response.end(bytes)
  }).listen(0, '127.0.0.1')
  t.teardown(() => storage.close())
  await once(storage, 'listening')
  const to = `http://127.0.0.1:${(storage.address() as AddressInfo).port}/bucket/x?signature=a%2Fb`
  for (const status of [301, 302, 307, 308]) {
    fail('GET', '/blobs/', { status, headers: { location: to } })
    t.ok((await buffer(await client.getBlob(place, blob))).equals(bytes))
  }
  t.equal(asked.length, 4)
  t.ok(asked.every(({ headers }) => headers.authorization === undefined))
  t.equal(asked[0]?.url, '/bucket/x?signature=a%2Fb')
  const own = `/v2/team/webapi/blobs/${blob.digest}?again`
  fail('GET', '/blobs/', { status: 307, headers: { location: own } })
  t.ok((await buffer(await client.getBlob(place, blob))).equals(bytes), 'on the same host it does')
  fail('GET', '/blobs/', { status: 307, headers: { location: own } }, 50)
  await t.rejects(client.getBlob(place, blob), { message: /answered 307/ })
  t.ok(seen('GET', '?again').length < 10)
})

t.test('pushing what is there costs a request a blob', async (t) => {
  const { client, place, registry } = await setUp(t, {})
  const image = makeImage('there', { layers: 30 })
  const warnings: Error[] = []
  const warn = (warning: Error) => warnings.push(warning)
  process.on('warning', warn)
  t.teardown(() => process.off('warning', warn))
  await pushImage(client, withTag(place, '1'), image)
  const sent = client.bytesSent()
  const before = registry.requests.length
  await pushImage(client, withTag(place, '1'), image)
  t.equal(registry.requests.length - before, image.blobs.size + 1)
  t.equal(client.bytesSent() - sent, image.manifest.bytes.length)
  await sleep(1)
  t.same(warnings, [], 'no warning of too many listeners')
})

t.test('a registry with its own authority', async (t) => {
  const folder = t.testdir()
  const make = async (name: string) => {
    const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)]
    const san = 'subjectAltName=IP:127.0.0.1'
    const subject = ['-subj', `/CN=${name}`, '-addext', san, '-days', '2']
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    await run('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, ...subject])
    const { readFile } = await import('node:fs/promises')
    return { key: await readFile(key), cert: await readFile(cert, 'utf8') }
  }
  const [mine, other] = [await make('mine'), await make('other')]
  const digest = sha256('x')
  const server = createTlsServer(mine, (_request, response) => {
    response.setHeader('docker-content-digest', digest).end()
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const reference = { registry: address, name: 'a', tag: '1' }
  const trusting = await newClient(t, { ca: { [address]: mine.cert } })
  t.equal(await trusting.resolve(reference), digest)
  const doubting = await newClient(t, { ca: { '127.0.0.1': other.cert } })
  await t.rejects(doubting.resolve(reference), {
    code: 'UNAVAILABLE',
    retryable: false,
    hint: /certificate authority/,
  })
})

t.test('challenges', async (t) => {
  const bearer = { scheme: 'bearer', parameters: { realm: 'https://a/t', service: 'r' } }
  const basic = { scheme: 'basic', parameters: { realm: 'x, y="z' } }
  const cases: [string | string[] | undefined, object[]][] = [
    [undefined, []],
    ['', []],
    ['Bearer realm="https://a/t",service="r"', [bearer]],
    ['bearer  REALM=https://a/t , service = "r"', [bearer]],
    ['Basic realm="x, y=\\"z", Bearer realm="https://a/t",service=r', [basic, bearer]],
    [
      ['Basic realm="x, y=\\"z"', 'Bearer realm="https://a/t",service=r'],
      [basic, bearer],
    ],
    ['Negotiate, Basic', [{ scheme: 'negotiate' }, { scheme: 'basic' }]],
    [
      'Bearer realm="https://a/t",service="r",scope="repository:a/b:pull,push"',
      [{ ...bearer, parameters: { ...bearer.parameters, scope: 'repository:a/b:pull,push' } }],
    ],
  ]
  for (const [header, expected] of cases) t.match(parseChallenges(header), expected, String(header))
  t.match(parseChallenges('Basic realm="never closed'), [{ scheme: 'basic' }])
})

t.test('origins and locations', async (t) => {
  const origins: [string, string][] = [
    ['localhost', 'http://localhost/'],
    ['localhost:5000', 'http://localhost:5000/'],
    ['127.0.0.1:5000', 'http://127.0.0.1:5000/'],
    ['127.9.9.9', 'http://127.9.9.9/'],
    ['[::1]:5000', 'http://[::1]:5000/'],
    ['harbor.example.com', 'https://harbor.example.com/'],
    ['localhost.example.com', 'https://localhost.example.com/'],
    ['128.0.0.1:5000', 'https://128.0.0.1:5000/'],
    ['plain.example.com:80', 'http://plain.example.com/'],
    ['plain.example.com:8080', 'https://plain.example.com:8080/'],
    ['any.example.com:8080', 'http://any.example.com:8080/'],
  ]
  const insecure = ['plain.example.com:80', 'any.example.com']
  for (const [registry, url] of origins) t.equal(originOf(registry, { insecure }).href, url)

  const from = new URL('https://harbor.example.com/v2/a/blobs/uploads/')
  const locations: [string, string | RegExp][] = [
    ['/v2/x?_state=a%2B', 'https://harbor.example.com/v2/x?_state=a%2B'],
    ['http://harbor.example.com/v2/x', 'https://harbor.example.com/v2/x'],
    ['https://storage.example.com/x', 'https://storage.example.com/x'],
    ['http://storage.example.com/x', /leads to http:\/\/storage/],
    ['file:///etc/passwd', /leads to file:/],
    ['', /no usable Location/],
  ]
  for (const [location, expected] of locations) {
    const follow = () => followLocation('test', from, location).href
    if (typeof expected === 'string') t.equal(follow(), expected)
    else t.throws(follow, { message: expected })
  }
})
