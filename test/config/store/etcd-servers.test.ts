import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  type EtcdStoreOptions,
  openEtcdStore as openAddress,
} from '../../../src/config/store/etcd/store.ts'
import { parseEtcdUrl } from '../../../src/config/store/etcd/url.ts'
import type { ConfigStore } from '../../../src/config/store/store.ts'
import { isStepError } from '../../../src/core/errors.ts'
import { run } from '../../../src/core/process/process.ts'
import { startEtcd, startProxy, type TestEtcd } from '../../support/servers/etcd.ts'
import { freeze } from '../../support/servers/freeze.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { testStore } from './store-conformance.ts'

const skip = missingProgram('etcd', 'etcdctl', 'openssl')

const openEtcdStore = (url: string, options?: EtcdStoreOptions) =>
  openAddress(parseEtcdUrl(url), options)

function open(t: Test, url: string, options: EtcdStoreOptions = {}): ConfigStore {
  const store = openEtcdStore(url, options)
  t.teardown(() => store.close())
  return store
}

const set = (key: string, value: string | null) => ({ key, value })
const many = (count: number, value: string) =>
  Array.from({ length: count }, (_, n) => set(`/many/${n % 100}/${n}`, value))
const commands = async (etcd: TestEtcd, ...lines: string[]) => {
  for (const line of lines) await etcd.ctl(...line.split(' '))
}
const thrownBy = (work: Promise<unknown>) => work.then(() => undefined).catch((e: unknown) => e)

t.test('an etcd with client certificates is a config store', { skip }, async (t) => {
  const etcd = await startEtcd(t, { tls: true })
  const read = (name: string) => readFile(join(etcd.certificates, name), 'utf8')
  const tls = { ca: await read('ca.pem'), cert: await read('cert.pem'), key: await read('key.pem') }
  const url = `etcds://127.0.0.1:${etcd.port}`
  await t.test('every behaviour of a config store holds', async (t) => {
    await testStore(t, {
      open: async () => {
        await etcd.ctl('del', '--prefix', '/')
        return { first: openEtcdStore(url, { tls }), second: openEtcdStore(url, { tls }) }
      },
    })
  })
  for (const [what, at, given] of [
    ['no client certificate', url, { ca: tls.ca }],
    ['an authority that is not trusted', url, {}],
    ['no TLS', url.replace('etcds', 'etcd'), {}],
  ] as const) {
    const error = await thrownBy(open(t, at, { tls: given }).snapshot(['/']))
    t.match(error, { code: 'UNAVAILABLE', exitCode: 75, hint: /TLS|ca:/ }, what)
  }
})

t.test('an etcd with users and rights is a config store', { skip }, async (t) => {
  const etcd = await startEtcd(t)
  await commands(
    etcd,
    'role add root',
    'user add root:root-password',
    'user grant-role root root',
    'role add webapi',
    'role grant-permission webapi --prefix=true readwrite /prod/',
    'role add reader',
    'role grant-permission reader --prefix=true read /prod/',
    'user add webapi:sentinel@1',
    'user add reader:sentinel-2',
    'user grant-role webapi webapi',
    'user grant-role reader reader',
    'auth enable',
  )
  const as = (user: string, prefix = '/prod') => `etcd://${user}@127.0.0.1:${etcd.port}${prefix}`
  const url = as('webapi:sentinel%401')
  await t.test('every behaviour of a config store holds', async (t) => {
    await testStore(t, {
      open: async () => {
        await commands(etcd, '--user root:root-password del --prefix /')
        return { first: openEtcdStore(url), second: openEtcdStore(url) }
      },
    })
  })
  const fails = async (
    at: string,
    hint: RegExp,
    work: (store: ConfigStore) => Promise<unknown>,
  ) => {
    const error = await thrownBy(work(open(t, at)))
    t.match(error, { code: 'UNAUTHORIZED', exitCode: 1, hint })
    t.notMatch(`${error} ${isStepError(error) && error.hint}`, /sentinel|wrong-one/)
  }
  const read = (store: ConfigStore) => store.snapshot(['/'])
  const write = (store: ConfigStore) => store.change([set('/a', '1')])
  const writeMany = (store: ConfigStore) => store.change(many(200, '1'))
  await fails(as('webapi:wrong-one'), /user and password/, read)
  await fails(as('nobody:wrong-one'), /user and password/, read)
  await fails(as('reader:sentinel-2'), /reader needs the right readwrite .*below \/prod\//, write)
  await fails(as('reader:sentinel-2'), /right readwrite/, writeMany)
  await fails(as('webapi:sentinel%401', '/other'), /right read .*below \/other\//, read)
  await fails(`etcd://127.0.0.1:${etcd.port}/prod`, /wants a user/, read)
})

t.test('a token is renewed after the rights were changed', { skip }, async (t) => {
  const folder = await temporaryFolder(t)
  const file = (name: string) => join(folder, name)
  await run('openssl', ['genrsa', '-out', file('key'), '2048'])
  await run('openssl', ['rsa', '-in', file('key'), '-pubout', '-out', file('pub')])
  const token = `jwt,pub-key=${file('pub')},priv-key=${file('key')},sign-method=RS256,ttl=10m`
  const etcd = await startEtcd(t, { args: ['--auth-token', token] })
  await commands(etcd, 'user add root:secret', 'user grant-role root root', 'auth enable')
  const store = open(t, `etcd://root:secret@127.0.0.1:${etcd.port}`)
  for (const role of ['one', 'two', 'three']) {
    await commands(etcd, `--user root:secret role add ${role}`)
    if (role === 'two') t.ok(await store.snapshot(['/']))
    await store.change(many(role === 'one' ? 200 : 2, role))
  }
  t.equal((await store.snapshot(['/'])).get('/many/1/1'), 'three')
})

/** Whether HTTP/2 frames begin an answer; a window may be widened before (RFC 9113, section 4.1). */
function isAnswer(bytes: Buffer): boolean {
  const HEADERS = 1
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === HEADERS) return true
  }
  return false
}

t.test('an etcd that goes away is UNAVAILABLE, and never empty', { skip }, async (t) => {
  const unreachable = open(t, 'etcd://127.0.0.1:1')
  await t.rejects(unreachable.snapshot(['/']), { code: 'UNAVAILABLE', exitCode: 75 })
  await t.rejects(unreachable.change([set('/a', '1')]), { code: 'UNAVAILABLE', exitCode: 75 })
  const etcd = await startEtcd(t)
  const url = `etcd://127.0.0.1:${etcd.port}`
  const store = open(t, url.replace('://', '://127.0.0.1:1,'))
  await store.change([set('/a', '1')])
  t.equal((await store.snapshot(['/'])).size, 1, 'another member answers')

  await t.test('a lost response to a change is reported as unknown', async (t) => {
    let lose = false
    let lost = false
    const proxy = await startProxy(t, etcd.port, (from, bytes, cut) => {
      if (from === 'client' && bytes.includes('doubtful')) lose = true
      if (from === 'client' || !lose || lost || !isAnswer(bytes)) return
      lost = true
      cut()
    })
    const through = open(t, `etcd://127.0.0.1:${proxy}`)
    await t.rejects(through.change([set('/doubtful', '1')]), {
      code: 'UNAVAILABLE',
      message: /made or not/,
    })
    t.ok(lost)
    t.equal((await store.snapshot(['/doubtful'])).size, 1, 'sent once, and made')
  })

  await t.test('a change by journal survives lost responses', async (t) => {
    let asked = 0
    let lost = 0
    let lose = false
    const proxy = await startProxy(t, etcd.port, (from, bytes, cut) => {
      // Every request of a change by journal names one of our own keys.
      if (from === 'client' && bytes.includes('//crosscloud/')) lose = ++asked === lost
      if (from === 'client' || !lose) return
      lose = false
      cut()
    })
    const through = open(t, `etcd://127.0.0.1:${proxy}`)
    for (lost = 1; lost <= 10; lost++) {
      asked = 0
      const before = lost === 1 ? null : `${lost - 1}`
      await through.change(many(300, `${lost}`), [set('/many/0/0', before)])
      t.ok(asked > lost)
      const values = [...(await store.snapshot(['/many'])).values()]
      t.strictSame([values.length, ...new Set(values)], [300, `${lost}`], `answer ${lost} is lost`)
    }
    const left = await etcd.ctl('get', '--prefix', '--keys-only', '//')
    t.equal(left.trim(), '', 'no lock and no journal is left')
  })

  await t.test('a cancelled store reads and changes nothing', async (t) => {
    const stop = new AbortController()
    const stopped = open(t, url, { signal: stop.signal })
    await stopped.snapshot(['/'])
    await freeze(etcd.server.child)
    const begin = Date.now()
    const reading = t.rejects(stopped.snapshot(['/']), { code: 'CANCELLED' })
    setTimeout(() => stop.abort(), 100)
    await reading
    t.ok(Date.now() - begin < 2_000, 'at once')
    await t.rejects(stopped.snapshot(['/']), { code: 'CANCELLED' })
    const silent = open(t, url).snapshot(['/'])
    await t.rejects(silent, { code: 'UNAVAILABLE', message: /DEADLINE/ }, 'no answer')
    t.ok(Date.now() - begin < 20_000)
    etcd.server.child.kill('SIGCONT')
  })

  await t.test('killed in the middle of a snapshot', async (t) => {
    await store.change(Array.from({ length: 8 }, (_, n) => set(`/big/${n}`, 'x'.repeat(1_000_000))))
    let bytesSeen = 0
    const proxy = await startProxy(t, etcd.port, (from, bytes) => {
      if (from === 'server') bytesSeen += bytes.length
      if (bytesSeen > 5_000_000) etcd.server.child.kill('SIGKILL')
    })
    const reading = open(t, `etcd://127.0.0.1:${proxy}`).snapshot(['/'])
    await t.rejects(reading, { code: 'UNAVAILABLE', exitCode: 75 })
    t.ok(bytesSeen > 5_000_000, 'in the middle')
  })
})
