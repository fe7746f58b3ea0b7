import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openRedisStore as openAddress } from '../../../src/config/store/redis/store.ts'
import type { ConfigStore } from '../../../src/config/store/store.ts'
import { parseRedisUrl } from '../../../src/redis/address.ts'
import type { ConnectOptions } from '../../../src/redis/connection.ts'
import { REDIS_USER, startCluster, startRedis, startSentinel } from '../../support/servers/redis.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { testStore } from './store-conformance.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'openssl')
const encode = encodeURIComponent

const openRedisStore = (url: string, options?: ConnectOptions) =>
  openAddress(parseRedisUrl(url), options)

async function open(t: Test, url: string, options: ConnectOptions = {}): Promise<ConfigStore> {
  const store = await openRedisStore(url, options)
  t.teardown(() => store.close())
  return store
}

const set = (key: string, value: string | null) => ({ key, value })
const sorted = (map: ReadonlyMap<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))

t.test('one server is a config store', { skip }, async (t) => {
  const redis = await startRedis(t)
  const url = `redis://127.0.0.1:${redis.port}/1`
  const empty = async () => redis.cli('flushall')

  await t.test('every behaviour of a config store holds', async (t) => {
    await testStore(t, {
      open: async () => {
        await empty()
        return { first: await openRedisStore(url), second: await openRedisStore(url) }
      },
    })
  })

  await t.test('its Unix socket reaches it, too', async (t) => {
    await empty()
    const store = await open(t, `redis+unix://${join(redis.folder, 's')}?db=1`)
    await store.change([set('/a', '1')])
    t.same([...(await (await open(t, url)).snapshot(['/']))], [['/a', '1']])
    t.equal(store.name, `redis+unix://${join(redis.folder, 's')}?db=1`)
  })

  await t.test('a database that does not exist is an error, never database 0', async (t) => {
    const store = await open(t, `redis://127.0.0.1:${redis.port}/99`)
    const missing = { code: 'COMMAND_FAILED', message: /\/99: .*DB index is out of range/ }
    await t.rejects(store.snapshot(['/']), missing)
    await t.rejects(store.change([set('/a', '1')]), missing)
    const first = await open(t, `redis://127.0.0.1:${redis.port}/0`)
    t.equal((await first.snapshot(['/'])).size, 0)
  })

  await t.test("strings and hashes are read and written in confd's layout", async (t) => {
    await empty()
    const cli = (...args: string[]) => redis.cli('-n', '1', ...args)
    await cli('hset', '/webapi/db', 'url', 'from hash', 'pool/size', '5')
    await cli('set', '/webapi/db/user', 'a string')
    await cli('set', '/webapi/db/url', 'the string counts')
    await cli('hset', '/webapi', 'deep/key', 'x')
    await cli('rpush', '/webapi/list', 'a')
    await cli('sadd', '/webapi/set', 'a')
    await cli('set', '/webapi/bad//key', 'a')
    await cli('set', 'other', 'a')
    const store = await open(t, url)
    const all = [
      ['/webapi/db/pool/size', '5'],
      ['/webapi/db/url', 'the string counts'],
      ['/webapi/db/user', 'a string'],
      ['/webapi/deep/key', 'x'],
    ]
    t.same(sorted(await store.snapshot(['/'])), all)
    t.same(sorted(await store.snapshot(['/webapi/db'])), all.slice(0, 3))
    t.same(sorted(await store.snapshot(['/webapi/deep/key', '/webapi/db/user'])), [all[2], all[3]])
    t.same(sorted(await store.snapshot(['/webapi/deep/key'])), [all[3]], 'a field far below')

    await store.change([set('/webapi/db/pool/size', '6'), set('/webapi/db/new', 'n')])
    t.equal(await cli('hget', '/webapi/db', 'pool/size'), '6')
    t.equal(await cli('hget', '/webapi/db', 'new'), 'n', 'beside its like')
    await store.change([set('/webapi/db/url', null)])
    t.notOk((await store.snapshot(['/'])).has('/webapi/db/url'), 'from both places')
    await t.rejects(store.change([set('/webapi/db', 'x')]), {
      code: 'INPUT_INVALID',
      message: /\/webapi\/db is a hash/,
    })
    await t.rejects(store.change([set('/webapi/list', 'x')]), { message: /is a list/ })
  })

  await t.test('a value that is not text is named', async (t) => {
    await empty()
    await redis.cli('-n', '1', 'setrange', '/a/b', '0', '\xff')
    await redis.cli('-n', '1', 'eval', "redis.call('set','/a/b','\\255\\254')", '0')
    const store = await open(t, url)
    await t.rejects(store.snapshot(['/']), { code: 'INPUT_INVALID', message: /\/a\/b: .*UTF-8/ })
    t.equal((await store.snapshot(['/b'])).size, 0, 'only where it is asked for')
  })

  await t.test('a reader never sees half a change', async (t) => {
    await empty()
    const writers = await Promise.all([0, 1, 2].map(() => open(t, url)))
    const reader = await open(t, url)
    let done = false
    const writing = writers.map(async (store, writer) => {
      for (let n = 0; n < 40; n++) {
        const value = `${writer}.${n}`
        const keys = ['/x/a', '/x/b', `/x/${n % 5}/c`]
        await store.change([...keys.map((key) => set(key, value)), set('/x/last', keys[2] ?? '')])
      }
    })
    const reading = (async () => {
      let seen = 0
      while (!done) {
        const now = await reader.snapshot(['/x'])
        if (now.size === 0) continue
        seen++
        const last = now.get('/x/last') ?? ''
        t.ok(now.get('/x/a') === now.get('/x/b') && now.get(last) === now.get('/x/a'))
      }
      return seen
    })()
    await Promise.all(writing)
    done = true
    t.ok((await reading) > 3)
  })

  await t.test('10,000 keys are read in few commands', async (t) => {
    await empty()
    const store = await open(t, url)
    const keys = Array.from({ length: 10_000 }, (_, n) =>
      set(`/many/${n % 100}/${n}`, `value ${n}`),
    )
    await store.change(keys)
    const found = await store.snapshot(['/'])
    t.equal(found.size, 10_000)
    t.equal((await store.snapshot(keys.slice(0, 5000).map(({ key }) => key))).size, 5000)
    t.equal((await store.snapshot(['/many/7'])).size, 100)
    const before = Number(
      /total_commands_processed:(\d+)/.exec(await redis.cli('info', 'stats'))?.[1],
    )
    await store.snapshot(keys.map(({ key }) => key))
    const after = Number(
      /total_commands_processed:(\d+)/.exec(await redis.cli('info', 'stats'))?.[1],
    )
    t.ok(after - before < 30, `${after - before} commands for 10,000 roots`)
  })
})

t.test('TLS and a user with few rights are enough', { skip }, async (t) => {
  const redis = await startRedis(t, { tls: true })
  const ca = await readFile(join(redis.folder, 'tls/ca.pem'), 'utf8')
  const as = (user: string, password: string, db = 0) =>
    `rediss://${encode(user)}:${encode(password)}@127.0.0.1:${redis.port}/${db}`
  const url = as(REDIS_USER.name, REDIS_USER.password)
  const tls = { ca }
  await t.test('every behaviour of a config store holds', async (t) => {
    await testStore(t, {
      open: async () => {
        await redis.cli('flushall')
        return {
          first: await openRedisStore(url, { tls }),
          second: await openRedisStore(url, { tls }),
        }
      },
    })
  })
  await t.test('wrong credentials, missing TLS and missing rights are distinguished', async (t) => {
    const refused = async (url: string, options: ConnectOptions, expected: object) => {
      const store = await open(t, url, options)
      const error = await store.snapshot(['/']).catch((thrown: unknown) => thrown)
      t.match(error, expected, url)
      t.notMatch(String(error), /sentinel|depl%oyer/)
    }
    await refused(
      as('deployer', 'sentinel'),
      { tls },
      { code: 'UNAUTHORIZED', message: /WRONGPASS/ },
    )
    await refused(
      `rediss://127.0.0.1:${redis.port}`,
      { tls },
      { code: 'UNAUTHORIZED', message: /it asks for a password/ },
    )
    await refused(url, {}, { code: 'UNAVAILABLE', hint: /ca:/ })
    await refused(url.replace('rediss', 'redis'), {}, { code: 'UNAVAILABLE' })
    await redis.cli('acl', 'setuser', 'deployer', '-set')
    const store = await open(t, url, { tls })
    await t.rejects(store.change([set('/a', 'x')]), {
      code: 'UNAUTHORIZED',
      message: /NOPERM/,
      hint: /needs/,
    })
    t.equal((await store.snapshot(['/'])).has('/a'), false)
    t.match(store.name, /^rediss:\/\/127/)
  })
})

t.test('a master behind a Sentinel is a config store', { skip }, async (t) => {
  const { port, master, replica } = await startSentinel(t)
  const url = `redis+sentinel://127.0.0.1:${port}/mymaster/0`
  await t.test('every behaviour of a config store holds', async (t) => {
    await testStore(t, {
      open: async () => {
        await master.cli('flushall')
        return { first: await openRedisStore(url), second: await openRedisStore(url) }
      },
    })
  })
  await t.test('a change goes on at the new master after the master dies', async (t) => {
    const store = await open(t, url)
    await store.change([set('/a', 'before')])
    await master.cli('wait', '1', '1000')
    await master.server.stop('SIGKILL')
    const deadline = Date.now() + 30_000
    let error: unknown
    while (Date.now() < deadline) {
      error = await store
        .change([set('/a', 'after')], [set('/a', 'before')])
        .catch((thrown) => thrown)
      if (error === undefined) break
      t.match(error, { code: 'UNAVAILABLE', exitCode: 75 })
      await sleep(300)
    }
    t.equal(error, undefined)
    t.equal(await replica.cli('get', '/a'), 'after')
  })
})

t.test('a cluster is a config store', { skip }, async (t) => {
  const nodes = await startCluster(t)
  const url = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
  const empty = () => Promise.all(nodes.map((node) => node.cli('flushall')))
  await t.test('every behaviour of a config store holds', async (t) => {
    await testStore(t, {
      open: async () => {
        await empty()
        return { first: await openRedisStore(url), second: await openRedisStore(url) }
      },
    })
  })
  await t.test('the journal of a writer that died is completed by the next writer', async (t) => {
    await empty()
    const store = await open(t, url)
    await store.change([set('/a', '1'), set('/b', '1'), set('/gone', '1')])
    const journal = JSON.stringify({
      id: 'dead',
      changes: [set('/a', '2'), set('/b', '2'), set('/gone', null)],
    })
    const cli = (...args: string[]) => nodes[0]?.cli('-c', ...args)
    await cli('set', '{crosscloud}:journal', journal)
    await cli('set', '/a', '2')
    t.same(sorted(await store.snapshot(['/'])), [
      ['/a', '2'],
      ['/b', '2'],
    ])
    await store.change([set('/c', '3')], [set('/b', '2')])
    t.equal(await cli('get', '/b'), '2', 'the next writer completes it')
    t.equal(await cli('exists', '/gone'), '0')
    t.equal(await cli('exists', '{crosscloud}:journal'), '0')
    t.equal(await cli('exists', '{crosscloud}:lock'), '0')
  })
  await t.test('a reader never sees half a change', async (t) => {
    await empty()
    const writers = await Promise.all([open(t, url), open(t, url)])
    const reader = await open(t, url)
    let done = false
    const writing = Promise.all(
      writers.map(async (store, writer) => {
        for (let n = 0; n < 10; n++) {
          await store.change(['/a', '/b', '/c'].map((key) => set(key, `${writer}.${n}`)))
        }
      }),
    ).finally(() => {
      done = true
    })
    while (!done) {
      const now = await reader.snapshot(['/']).catch(() => new Map<string, string>())
      t.ok(new Set(now.values()).size <= 1)
    }
    await writing
  })
})

t.test('a server that goes away is UNAVAILABLE, and never empty', { skip }, async (t) => {
  t.test('nobody listens at its address', async (t) => {
    const store = await open(t, 'redis://127.0.0.1:1/0')
    await t.rejects(store.snapshot(['/']), {
      code: 'UNAVAILABLE',
      exitCode: 75,
      message: /ECONNREFUSED/,
    })
    const cluster = await open(t, 'redis+cluster://127.0.0.1:1')
    await t.rejects(cluster.snapshot(['/']), { code: 'UNAVAILABLE' })
  })
  t.test('a server is killed while it answers a snapshot', async (t) => {
    const redis = await startRedis(t)
    const store = await open(t, `redis://127.0.0.1:${redis.port}/0`)
    await store.change([set('/a', '1'), set('/b', '2')])
    redis.server.child.kill('SIGSTOP')
    const reading = t.rejects(store.snapshot(['/']), { code: 'UNAVAILABLE', exitCode: 75 })
    await redis.server.stop('SIGKILL')
    await reading
  })
  t.test('a cancelled store reads nothing', async (t) => {
    const redis = await startRedis(t)
    const stop = new AbortController()
    const store = await open(t, `redis://127.0.0.1:${redis.port}/0`, { signal: stop.signal })
    await store.change([set('/a', '1')])
    stop.abort()
    await t.rejects(store.snapshot(['/']), { code: 'CANCELLED' })
  })
})
