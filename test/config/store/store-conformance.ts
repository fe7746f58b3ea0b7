import type { Test } from 'tap'
import type { ConfigChange, ConfigStore } from '../../../src/config/store/store.ts'
import { isStepError } from '../../../src/core/errors.ts'

export interface StoreUnderTest {
  /** A store without any key, and a second connection to the same keys. */
  open(): Promise<{ first: ConfigStore; second: ConfigStore }>
}

const sorted = (map: ReadonlyMap<string, string>) =>
  Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)))

/** Values that must come back to the byte. */
export const awkwardValues: Record<string, string> = {
  '/values/empty': '',
  '/values/spaces-after': 'jdbc:mysql://db/webapi  ',
  '/values/spaces-before': '  x',
  '/values/only-spaces': '   ',
  '/values/tab': '\tx\t',
  '/values/lines': 'a\nb\n\n  c \n',
  '/values/crlf': 'a\r\nb\r',
  '/values/zeroes': '007',
  '/values/decimal': '1.10',
  '/values/exponent': '1e7',
  '/values/big': '12345678901234567890',
  '/values/boolean': 'true',
  '/values/yes': 'yes',
  '/values/null': 'null',
  '/values/tilde': '~',
  '/values/date': '2024-01-02',
  '/values/octal': '0o17',
  '/values/quotes': `"it's" \\ "so"`,
  '/values/backslash': 'C:\\data\\new\\u0041',
  '/values/hash': 'a # no comment',
  '/values/colon': 'a: b',
  '/values/equals': 'a=b=c',
  '/values/braces': '{"a":[1,2]}',
  '/values/anchor': '&a *b !c',
  '/values/dash': '- x',
  '/values/dots': '...',
  '/values/unicode': 'Größe 中文 😀',
  '/values/no-break': '\u00a0x\u00a0',
  '/values/zero-width': 'a\u200bb',
  '/values/line-separator': 'a\u2028b\u0085c',
  '/values/bom': '\ufeffx',
  '/values/controls': 'a\u0000b\u0007c\u001bd\u007f',
  '/values/long': 'x'.repeat(5000),
  '/values/hashtag': '#x',
  '/values/glob': 'a*b?[c]',
}

/** What every driver of a config centre must do. */
export async function testStore(t: Test, { open }: StoreUnderTest): Promise<void> {
  const start = async (changes: readonly ConfigChange[] = []) => {
    const { first, second } = await open()
    t.teardown(() => Promise.all([first.close(), second.close()]))
    if (changes.length > 0) await first.change(changes)
    return { first, second }
  }
  const set = (key: string, value: string | null): ConfigChange => ({ key, value })

  await t.test('an empty store has no keys, and has a name', async (t) => {
    const { first } = await start()
    t.same(sorted(await first.snapshot(['/'])), {})
    t.match(first.name, /\S/)
  })

  await t.test('keys set by one client are seen by another', async (t) => {
    const { first, second } = await start()
    await first.change([set('/webapi/db/url', 'jdbc:x'), set('/webapi/db/user', 'app')])
    t.same(sorted(await second.snapshot(['/'])), {
      '/webapi/db/url': 'jdbc:x',
      '/webapi/db/user': 'app',
    })
    await second.change([set('/webapi/db/url', 'jdbc:y')])
    t.equal((await first.snapshot(['/'])).get('/webapi/db/url'), 'jdbc:y')
  })

  await t.test('values are read back to the byte', async (t) => {
    const { first, second } = await start()
    await first.change(Object.entries(awkwardValues).map(([key, value]) => set(key, value)))
    const found = await second.snapshot(['/'])
    for (const [key, value] of Object.entries(awkwardValues)) t.equal(found.get(key), value, key)
    t.equal(found.size, Object.keys(awkwardValues).length)
    await first.change(Object.keys(awkwardValues).map((key) => set(key, 'x ')))
    t.ok([...(await second.snapshot(['/'])).values()].every((value) => value === 'x '))
  })

  await t.test('a prefix is a path, not a beginning of a text', async (t) => {
    const { first } = await start(
      ['/web/a', '/web/b/c', '/webapi/a', '/we', '/w*b/a', '/w?b/a', '/w[e]b/a'].map((key) =>
        set(key, key),
      ),
    )
    t.same(Object.keys(sorted(await first.snapshot(['/web']))), ['/web/a', '/web/b/c'])
    t.same(Object.keys(sorted(await first.snapshot(['/web/']))), ['/web/a', '/web/b/c'])
    t.same(Object.keys(sorted(await first.snapshot(['/web/a']))), ['/web/a'], 'the key itself')
    t.same(Object.keys(sorted(await first.snapshot(['/w*b']))), ['/w*b/a'], 'no globbing')
    t.same(Object.keys(sorted(await first.snapshot(['/w[e]b']))), ['/w[e]b/a'])
    t.equal((await first.snapshot(['/nothing'])).size, 0)
    t.equal((await first.snapshot(['/'])).size, 7)
  })

  await t.test('a key may have a value and children', async (t) => {
    const { first, second } = await start([set('/a/b', 'leaf')])
    await first.change([set('/a/b/c', 'child'), set('/a', 'root')])
    t.same(sorted(await second.snapshot(['/a'])), {
      '/a': 'root',
      '/a/b': 'leaf',
      '/a/b/c': 'child',
    })
    await first.change([set('/a/b', null)])
    t.same(sorted(await second.snapshot(['/a'])), { '/a': 'root', '/a/b/c': 'child' })
  })

  await t.test('a removed key is gone, and only that key', async (t) => {
    const { first, second } = await start([set('/a/b', '1'), set('/a/c', '2')])
    await first.change([set('/a/b', null), set('/never/was', null)])
    t.same(sorted(await second.snapshot(['/'])), { '/a/c': '2' })
    await first.change([set('/a/c', null)])
    t.same(sorted(await second.snapshot(['/'])), {})
    await first.change([set('/a/c', 'again')])
    t.same(sorted(await second.snapshot(['/'])), { '/a/c': 'again' })
  })

  await t.test('expectations: all hold, or nothing changes', async (t) => {
    const { first, second } = await start([set('/a', '1'), set('/b', '2')])
    await first.change([set('/a', '3')], [set('/a', '1'), set('/b', '2'), set('/c', null)])
    const conflict = first.change(
      [set('/a', '4'), set('/d', '4')],
      [set('/a', '3'), set('/b', 'secret-9')],
    )
    await t.rejects(conflict, { code: 'CONFLICT' })
    const error = await conflict.catch((e: unknown) => e)
    t.match((error as Error).message, /\/b\b/)
    t.notMatch((error as Error).message, /secret-9/, 'a value is never shown')
    await t.rejects(first.change([set('/d', 'x')], [set('/b', null)]), { code: 'CONFLICT' })
    await t.rejects(
      first.change([set('/d', 'x')], [set('/e', '')]),
      { code: 'CONFLICT' },
      'absent is not empty',
    )
    t.same(sorted(await second.snapshot(['/'])), { '/a': '3', '/b': '2' })
  })

  await t.test('of many changes that expect the same value, one wins', async (t) => {
    const { first, second } = await start([set('/n', '0')])
    const tries = Array.from({ length: 10 }, (_, i) =>
      (i % 2 ? first : second).change(
        [set('/n', `${i + 1}`), set(`/won/${i + 1}`, '1')],
        [set('/n', '0')],
      ),
    )
    const results = await Promise.allSettled(tries)
    t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
    t.ok(results.every((r) => r.status === 'fulfilled' || isStepError(r.reason, 'CONFLICT')))
    const now = await first.snapshot(['/'])
    t.equal(now.get(`/won/${now.get('/n')}`), '1')
    t.equal(now.size, 2)
  })

  await t.test('no change is lost between writers', async (t) => {
    const { first, second } = await start()
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        (i % 2 ? first : second).change([set(`/k/${i}`, `${i}`)]),
      ),
    )
    t.equal((await first.snapshot(['/k'])).size, 20)
  })

  await t.test('keys that no store could keep are refused, all in one error', async (t) => {
    const { first } = await start()
    const bad = ['a', '', '/', '/a/', '/a//b', '/a/../b', '/a/./b', '/a\nb', '/a\u0000']
    const error = await first.change(bad.map((key) => set(key, 'x'))).catch((e: unknown) => e)
    t.ok(isStepError(error, 'INPUT_INVALID'))
    t.equal(String((error as Error).message).split('\n').length, bad.length)
    await t.rejects(first.change([set('/a', '1'), set('/a', '2')]), { code: 'INPUT_INVALID' })
    await t.rejects(first.change([set('/a', '\ud800')]), { code: 'INPUT_INVALID' })
    t.equal((await first.snapshot(['/'])).size, 0)
  })

  await t.test('keys of all scripts are kept', async (t) => {
    const keys = [
      '/größe/中文/😀',
      '/a.b/c.d',
      '/a b/c d',
      '/a=b',
      '/a:b',
      '/#a',
      '/a#b',
      '/!a',
      '/-/x',
      '/0/1',
      '/yes',
      '/null',
      '/~',
      '/"q"',
      "/'q'",
      '/a\\b',
      '/[x]',
      '/{x}',
      '/&a',
      '/*a',
      '/%61',
      '/__proto__/x',
      '/constructor',
      '/<<',
      '/?',
      '/@a',
      '/`a',
      '/,a',
      '/|',
      '/>',
    ]
    const { second } = await start(keys.map((key) => set(key, `value of ${key}`)))
    const found = await second.snapshot(['/'])
    for (const key of keys) t.equal(found.get(key), `value of ${key}`, key)
    t.equal(found.size, keys.length)
  })
}
