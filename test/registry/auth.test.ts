import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { sha256 } from '../../src/core/digest.ts'
import { run } from '../../src/core/process/process.ts'
import { parseChallenges } from '../../src/registry/challenge.ts'
import { followLocation, originOf } from '../../src/registry/origin.ts'
import { withTag } from '../../src/registry/reference.ts'
import type { RegistryAuth } from '../../src/registry-server/server.ts'
import { makeImage, pushImage } from '../support/data/image.ts'
import { dockerRegistryUser, startDockerRegistry } from '../support/servers/docker-registry.ts'
import { alice, makeBlob, newClient, setUp } from '../support/servers/embedded-registry.ts'
import { missingProgram } from '../support/servers/server.ts'

t.test('a token is requested once for its scopes, and renewed when it is refused', async (t) => {
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

t.test('a token service on an unsafe address gets no password', async (t) => {
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

t.test('a password is sent only to the registry it is for', async (t) => {
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

t.test(
  'docker-registry accepts the password',
  { skip: missingProgram('docker-registry') },
  async (t) => {
    const registry = await startDockerRegistry({ htpasswd: true })
    t.teardown(() => registry.close())
    const place = { registry: registry.address, name: 'team/webapi' }
    const image = makeImage('htpasswd')
    const client = await newClient(t, { credential: dockerRegistryUser })
    await pushImage(client, withTag(place, '1'), image)
    t.equal(await client.resolve(withTag(place, '1')), image.manifest.digest)
    await t.rejects((await newClient(t)).resolve(withTag(place, '1')), { code: 'UNAUTHORIZED' })
  },
)

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

t.test(
  'a registry with a private certificate authority is reached where the authority is named',
  async (t) => {
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
  },
)

t.test('challenges are read as RFC 9110 writes them', async (t) => {
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

t.test('origins and Locations keep to https and to the host', async (t) => {
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
