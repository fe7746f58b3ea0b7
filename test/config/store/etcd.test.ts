import t, { type Test } from 'tap'
import { changeAtOnce } from '../../../src/config/store/etcd/change.ts'
import { createEtcdClient } from '../../../src/config/store/etcd/client.ts'
import { journaledStore } from '../../../src/config/store/etcd/journal.ts'
import { layoutOf } from '../../../src/config/store/etcd/layout.ts'
import { readSnapshot } from '../../../src/config/store/etcd/snapshot.ts'
import {
  type EtcdStoreOptions,
  openEtcdStore as openAddress,
} from '../../../src/config/store/etcd/store.ts'
import { parseEtcdUrl } from '../../../src/config/store/etcd/url.ts'
import type { ConfigStore } from '../../../src/config/store/store.ts'
import { run } from '../../../src/core/process/process.ts'
import { startEtcd } from '../../support/servers/etcd.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { TYPESCRIPT } from '../../support/typescript.ts'
import { testStore } from './store-conformance.ts'

const skip = missingProgram('etcd', 'etcdctl')

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
const all = async (store: ConfigStore) => Object.fromEntries(await store.snapshot(['/']))
const thrownBy = (work: Promise<unknown>) => work.then(() => undefined).catch((e: unknown) => e)

/** The parts of a store, and how often etcd was asked. */
function openParts(
  t: Test,
  url: string,
  onCall: (calls: number) => Promise<unknown> = async () => {},
) {
  const address = parseEtcdUrl(url)
  const client = createEtcdClient(address, {}, undefined)
  t.teardown(() => client.close())
  const layout = layoutOf(address.name, address.prefix)
  const count = { calls: 0 }
  const counting: typeof client = {
    ...client,
    async repeat(call, options) {
      const answer = await client.repeat(call, options)
      await onCall(++count.calls)
      return answer
    },
  }
  return { client: counting, layout, count, journal: journaledStore(client, layout) }
}

t.test(
  'a URL of etcd is read with its members, user and prefix, and any other is refused',
  async (t) => {
    t.strictSame(parseEtcdUrl('etcd://a,b.example.com:1/prod/'), {
      hosts: ['a:2379', 'b.example.com:1'],
      tls: false,
      auth: undefined,
      prefix: '/prod',
      name: 'etcd://a,b.example.com:1/prod/',
    })
    t.strictSame(parseEtcdUrl('etcds://u:p%40s%2Fs%3A@[::1]:2/'), {
      hosts: ['[::1]:2'],
      tls: true,
      auth: { username: 'u', password: 'p@s/s:' },
      prefix: '',
      name: 'etcds://[::1]:2/',
    })
    for (const wrong of [
      'etcd://',
      'etcd:///prod',
      'etcd://a:99999',
      'etcd://a:0',
      'etcd://a,,b',
      'etcd://a//b',
      'etcd://a/../b',
      'etcd://a/b?c',
      'etcd://a/b#c',
      'etcd://u:%zz@a',
      'etcd://u:sentinel@x@a',
      'etcd://sentinel@a',
      'etcd://:sentinel@a',
      'http://a',
      'etcd://a b',
    ]) {
      const error = await thrownBy((async () => openEtcdStore(wrong))())
      t.match(error, { code: 'INPUT_INVALID', hint: /etcd:\/\/user/ }, wrong)
      t.notMatch(String(error), /sentinel/)
    }
    t.throws(() => openEtcdStore('etcd://a', { tls: { ca: 'x' } }), { code: 'INPUT_INVALID' })
    t.throws(() => openEtcdStore('etcds://a', { tls: { cert: 'x' } }), { code: 'INPUT_INVALID' })
    const nonsense = open(t, 'etcds://a', { tls: { ca: 'x', cert: 'y', key: 'z' } })
    await t.rejects(nonsense.snapshot(['/']), { code: 'INPUT_INVALID', message: /PEM/ })
    t.equal(openEtcdStore('etcd://u:secret@a/x').name, 'etcd://a/x')
  },
)

t.test('one server is a config store', { skip }, async (t) => {
  const etcd = await startEtcd(t)
  const root = `etcd://127.0.0.1:${etcd.port}`
  const url = `${root}/prod`
  const raw = async (key: string) => (await etcd.ctl('get', '--print-value-only', key)).trim()
  t.beforeEach(() => etcd.ctl('del', '--prefix', '/'))

  for (const at of [url, root]) {
    await t.test(`conformance: ${at === url ? 'below a prefix' : 'no prefix'}`, async (t) => {
      await testStore(t, {
        open: async () => {
          await etcd.ctl('del', '--prefix', '/')
          return { first: openEtcdStore(at), second: openEtcdStore(at) }
        },
      })
    })
  }

  await t.test('prefixes keep environments apart', async (t) => {
    const [prod, other, none] = [open(t, url), open(t, `${url}2`), open(t, root)]
    await prod.change([set('/a', '1')])
    await other.change([set('/a', '2')])
    await etcd.ctl('put', '/prod/not//good', 'x')
    await etcd.ctl('put', '/prod/', 'x')
    t.strictSame(await all(prod), { '/a': '1' })
    t.strictSame(await all(none), { '/prod/a': '1', '/prod2/a': '2' })
    t.strictSame([...(await none.snapshot(['/prod', '/none']))], [['/prod/a', '1']])
    t.equal((await none.snapshot([])).size, 0)
    t.equal(await raw('/prod/a'), '1')
    await openParts(t, url).journal.lock('somebody', 30_000)
    await other.change([set('/a', '3')])
    t.equal(await raw('/prod2/a'), '3', "another environment's lock is not ours")
  })

  await t.test('10,000 keys: all or none, in few round trips', async (t) => {
    const [store, second] = [open(t, url), open(t, url)]
    await store.change(many(10_000, 'old'))
    t.equal((await second.snapshot(['/'])).size, 10_000)
    const roots = Array.from({ length: 500 }, (_, n) => `/many/${n % 100}/${n}`)
    for (const [wanted, size] of [
      [['/'], 10_000],
      [roots, 500],
      [['/many/7'], 100],
      [['/many/7/7'], 1],
    ] as const) {
      const { client, layout, count } = openParts(t, url)
      t.equal((await readSnapshot(client, layout, wanted)).size, size)
      t.ok(count.calls <= 3, `${count.calls} calls`)
    }
    const expect = many(300, 'old')
    const wrong = [...expect.slice(1), set('/many/0/0', 'not this')]
    const conflict = await thrownBy(second.change(many(300, 'new'), wrong))
    t.match(conflict, { code: 'CONFLICT', message: /\/many\/0\/0 changed/ })
    t.notOk([...(await store.snapshot(['/'])).values()].includes('new'), 'all or nothing')
    await second.change(many(300, 'new'), expect)
    const values = [...(await store.snapshot(['/'])).values()]
    t.equal(values.filter((value) => value === 'new').length, 300)
    await store.change(many(10_000, '').map(({ key }) => set(key, null)))
    t.equal((await etcd.ctl('get', '--prefix', '--keys-only', '/')).trim(), '', 'nothing is left')
  })

  await t.test('large values: responses and requests stay within the limits of etcd', async (t) => {
    const store = open(t, url)
    const large = Array.from({ length: 12 }, (_, n) => set(`/big/${n}`, `${n}`.repeat(1_000_000)))
    const hundreds = Array.from({ length: 100 }, (_, n) => set(`/b/${n}`, 'é'.repeat(25_000)))
    await store.change([...large.slice(0, 10), ...hundreds])
    const found = await open(t, url).snapshot(['/'])
    t.equal(found.size, 110)
    t.ok([...large.slice(0, 10), ...hundreds].every(({ key, value }) => found.get(key) === value))
    await store.change([set('/a', 'x')], [...large.slice(0, 9), ...hundreds])
    t.equal(await raw('/prod/a'), 'x')
    await t.rejects(store.change([set('/c', '1'), set('/big', 'x'.repeat(1_500_000))]), {
      code: 'INPUT_INVALID',
      message: /\/big: the value is larger/,
    })
    t.notOk((await store.snapshot(['/c'])).size)
  })

  for (const [how, count] of [
    ['in one transaction', 20],
    ['by the journal', 150],
  ] as const) {
    await t.test(`a reader never sees half a change, ${how}`, async (t) => {
      const writers = [open(t, url), open(t, url)]
      const reader = open(t, url)
      let done = false
      const write = async (store: ConfigStore, writer: number) => {
        for (let n = 0; n < 8; n++) await store.change(many(count, `${writer}.${n}`))
      }
      const writing = Promise.all(writers.map(write)).finally(() => {
        done = true
      })
      const seen = new Set<string>()
      for (let n = 0; !done; n++) {
        const found = await reader.snapshot([n % 2 ? '/' : '/many'])
        const values = new Set(found.values())
        if (values.size > 1 || ![0, count].includes(found.size)) t.fail([...values].join())
        for (const value of values) seen.add(value)
      }
      await writing
      t.ok(seen.size >= 3, `saw ${seen.size} states`)
    })
  }

  await t.test('a reader of several pages stays at one revision', async (t) => {
    const store = open(t, url)
    await store.change(many(3000, 'old'))
    const between = openParts(t, url, async (calls) => {
      if (calls === 1) await store.change([set('/many/99/999', 'new'), set('/many/0/0', 'new')])
    })
    const found = await readSnapshot(between.client, between.layout, ['/'])
    t.ok(between.count.calls > 1, 'several pages')
    t.strictSame([...new Set(found.values())], ['old'])
    t.equal(found.size, 3000)
    const compacted = openParts(t, url, async (calls) => {
      if (calls !== 1) return
      await store.change([set('/many/99/999', 'newer')])
      const status = await etcd.ctl('endpoint', 'status', '--write-out', 'json')
      await etcd.ctl('compact', `${JSON.parse(status)[0].Status.header.revision}`)
    })
    const again = await readSnapshot(compacted.client, compacted.layout, ['/'])
    t.equal(again.get('/many/99/999'), 'newer', 'a compacted revision is read again')
    t.equal(again.size, 3000)
  })

  await t.test('the journal of a writer that died is completed by the next writer', async (t) => {
    const store = open(t, url)
    await store.change([set('/a', '1'), set('/b', '1'), set('/gone', '1')])
    const changes = [set('/a', '2'), set('/b', '2'), set('/gone', null), set('/added', '2')]
    const { journal } = openParts(t, url)
    t.ok(await journal.lock('dead', 30_000))
    t.ok(await journal.writeJournal('dead', JSON.stringify({ id: 'dead', changes })))
    await journal.apply(changes.slice(0, 1))
    t.equal(await raw('/prod/b'), '1')
    t.strictSame(await all(store), { '/a': '2', '/b': '2', '/added': '2' }, 'it counts')
    t.strictSame([...(await store.snapshot(['/b']))], [['/b', '2']])
    const begin = Date.now()
    await t.rejects(store.change([set('/c', '3')], [set('/b', '1')]), { code: 'CONFLICT' })
    await store.change([set('/c', '3')], [set('/b', '2'), set('/gone', null)])
    t.ok(Date.now() - begin < 15_000, 'no writer waits for the end of its lock')
    t.equal(await raw('/prod/b'), '2', 'the next writer completes it')
    t.equal(await raw('/prod/gone'), '')
    await store.change([set('/b', '9')])
    await journal.apply(changes)
    await journal.clearJournal('')
    t.equal(await raw('/prod/b'), '9', 'one who was only slow changes nothing any more')
    const left = await etcd.ctl('get', '--prefix', '--keys-only', '/prod//')
    t.equal(left.trim(), '', 'no lock and no journal is left')
  })

  await t.test(
    'a change by journal that begins in the middle of a small change loses nothing',
    async (t) => {
      const store = open(t, url)
      await store.change([set('/a', '1'), set('/b', '1')])
      const other = openParts(t, url).journal
      const { client, layout } = openParts(t, url, async () => {
        await other.lock('other', 30_000)
      })
      t.notOk(await changeAtOnce(client, layout, [set('/a', '9')], []), 'it sees the lock')
      const journal = JSON.stringify({ id: 'other', changes: [set('/a', '2'), set('/b', '2')] })
      await other.unlock('other')
      for (const expect of [[], [set('/b', '2')]]) {
        await store.change([set('/a', '1'), set('/b', '1')])
        const late = openParts(t, url, async () => {
          await other.lock('other', 30_000)
          await other.writeJournal('other', journal)
          await other.unlock('other')
        })
        t.notOk(
          await changeAtOnce(late.client, layout, [set('/a', '9')], expect),
          'and the journal',
        )
        await store.change([set('/a', '3')], expect)
        t.strictSame(await all(store), { '/a': '3', '/b': '2' })
      }
    },
  )

  await t.test('a writer that dies before its journal changes nothing', async (t) => {
    const store = open(t, url)
    t.ok(await openParts(t, url).journal.lock('dead', 2_000))
    const begin = Date.now()
    await store.change([set('/a', '1')])
    t.ok(Date.now() - begin < 20_000, 'its lock ends by itself')
    const { journal } = openParts(t, url)
    t.ok(await journal.lock('slow', 2_000))
    await journal.unlock('slow')
    t.notOk(await journal.writeJournal('slow', '{"changes":[]}'), 'without the lock no journal')
  })

  await t.test('an invalid key or value is named', async (t) => {
    const store = open(t, url)
    await etcd.ctl('put', '/prod/a/b', '\xff'.repeat(3))
    t.equal((await all(store))['/a/b'], '\xff\xff\xff')
    const { client } = openParts(t, url)
    const bytes = Buffer.from([0x61, 0xff])
    await client.repeat(({ kv }, options) =>
      kv.put({ key: Buffer.from('/prod/a/b'), value: bytes }, options),
    )
    await t.rejects(store.snapshot(['/']), { code: 'INPUT_INVALID', message: /\/a\/b: .*UTF-8/ })
    t.equal((await store.snapshot(['/c'])).size, 0, 'who does not ask for it is not bothered')
    await client.repeat(({ kv }, options) =>
      kv.put({ key: Buffer.concat([Buffer.from('/prod/c/'), bytes]), value: bytes }, options),
    )
    t.equal((await store.snapshot(['/c'])).size, 0, 'a key that is no text is no key of config')
    const journal = Buffer.from('/prod//crosscloud/journal')
    await client.repeat(({ kv }, options) => kv.put({ key: journal, value: bytes }, options))
    await t.rejects(store.snapshot(['/c']), { code: 'INTERNAL', hint: /etcdctl del/ })
  })

  await t.test('a user in the URL of an etcd without users is an error that says so', async (t) => {
    const store = open(t, url.replace('//', '//u:sentinel@'))
    const error = await thrownBy(store.snapshot(['/']))
    t.match(error, { code: 'UNAUTHORIZED', hint: /knows no users/ })
    t.notMatch(String(error), /sentinel/)
  })

  await t.test('the process ends by itself', async (t) => {
    const code = `
      import { openEtcdStore } from '${new URL('../../../src/config/store/etcd/store.ts', import.meta.url)}'
      import { parseEtcdUrl } from '${new URL('../../../src/config/store/etcd/url.ts', import.meta.url)}'
      const store = openEtcdStore(parseEtcdUrl('${url}'))
      await store.change([{ key: '/a', value: '1' }])
      console.log((await store.snapshot(['/'])).get('/a'))
      await store.close()
      await store.close()`
    const begin = Date.now()
    const { stdout } = await run(
      process.execPath,
      ['--import', TYPESCRIPT, '--input-type=module', '--eval', code],
      { timeout: 30_000 },
    )
    t.equal(stdout.trim(), '1')
    t.ok(Date.now() - begin < 20_000)
  })
})
