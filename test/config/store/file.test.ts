import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { withFileLock } from '../../../src/config/store/file/lock.ts'
import { openFileStore } from '../../../src/config/store/file/store.ts'
import { run } from '../../../src/core/process/process.ts'
import { testStore } from './store-conformance.ts'

const folder = t.testdir()
let count = 0
const put = (extension: string, text: string) => {
  const path = join(folder, `file-${++count}${extension}`)
  writeFileSync(path, text)
  return path
}
const read = async (extension: string, text: string) =>
  Object.fromEntries(await openFileStore(put(extension, text)).snapshot(['/']))
const edit = async (extension: string, text: string, changes: Record<string, string | null>) => {
  const path = put(extension, text)
  await openFileStore(path).change(Object.entries(changes).map(([key, value]) => ({ key, value })))
  return readFileSync(path, 'utf8')
}

for (const [extension, empty] of [
  ['.yaml', ''],
  ['.yml', '# ours\n'],
  ['.json', ''],
  ['.json', '{}\n'],
  ['.properties', ''],
] as const) {
  t.test(`conformance of ${extension} ${JSON.stringify(empty)}`, (t) =>
    testStore(t, {
      async open() {
        const path = put(extension, empty)
        return { first: openFileStore(path), second: openFileStore(path) }
      },
    }),
  )
}

t.test('YAML: scalars stay as they are written', async (t) => {
  t.same(
    await read(
      '.yaml',
      [
        'webapi:',
        '  a: 007',
        '  b: 1.10',
        '  c: yes',
        '  d: 1e7',
        '  e: ~',
        '  f:',
        '  g: "x  "',
        "  h: 'it''s'",
        '  i: 0x1F',
        '  j: 12:30:45',
        '  list: [a, 2.0, {n: No}]',
        '  deep/er: on',
        '/flat/key: 2024-01-02',
        '  # comment',
        'folded: >',
        '  one',
        '  two',
        '007: agent',
      ].join('\n'),
    ),
    {
      '/webapi/a': '007',
      '/webapi/b': '1.10',
      '/webapi/c': 'yes',
      '/webapi/d': '1e7',
      '/webapi/e': '~',
      '/webapi/f': '',
      '/webapi/g': 'x  ',
      '/webapi/h': "it's",
      '/webapi/i': '0x1F',
      '/webapi/j': '12:30:45',
      '/webapi/list/0': 'a',
      '/webapi/list/1': '2.0',
      '/webapi/list/2/n': 'No',
      '/webapi/deep/er': 'on',
      '/flat/key': '2024-01-02',
      '/folded': 'one two\n',
      '/007': 'agent',
    } as Record<string, string>,
  )
})

t.test('YAML: comments and everything else stay when a key changes', async (t) => {
  const text = [
    '# Staging. Ask ops-li first.',
    '',
    'webapi:',
    '  # the main one',
    '  db:',
    '    url: jdbc:old # see wiki',
    '    user: app',
    '',
    '  port: 8080',
    '# end',
    '',
  ].join('\n')
  t.equal(
    await edit('.yaml', text, { '/webapi/db/url': 'jdbc:new' }),
    text.replace('jdbc:old', 'jdbc:new'),
  )
  const noBlank = (s: string) => s.replace(/\n\n+/g, '\n')
  t.equal(
    noBlank(await edit('.yaml', text, { '/webapi/port': null })),
    noBlank(text.replace('  port: 8080\n', '')),
  )
  t.equal(
    await edit('.yaml', 'a:   x   # c\nf: [1,  two, "3"] # d\ne:\ng: \'q\'\n', {
      '/a': '-1',
      '/f/1': 'a,b',
      '/f/2': 'y',
      '/e': 'now',
      '/g': 'r',
    }),
    'a:   "-1"   # c\nf: [1,  "a,b", "y"] # d\ne: now\ng: "r"\n',
    'only the values change',
  )
  const added = await edit('.yaml', text, { '/webapi/db/pool': '007', '/other/x': 'y' })
  t.match(added, /user: app\n\s+pool: "007"\n/)
  for (const comment of text.match(/#.*/g) ?? []) t.match(added, comment)
  t.equal(await edit('.yaml', text, { '/webapi/port': '8080' }), text, 'nothing to change')
  t.match(
    await edit('.yml', '/a/b: 1\n/a/c: 2\n', { '/a/d': 'x' }),
    /^\/a\/b: 1\n\/a\/c: 2\n\/a\/d: x\n$/,
    'flat stays flat',
  )
  t.equal(await edit('.yaml', 'l: [a, b]\n', { '/l/2': 'c' }), 'l: [a, b, c]\n')
  t.equal(
    await edit('.yaml', 'l:\n  - a\n  - b\n  - c\n', { '/l/0': null }),
    'l:\n  "1": b\n  "2": c\n',
  )
  t.equal(await edit('.yaml', 'a:\n  b:\n    c: 1\n', { '/a/b/c': null }), '{}\n', 'empty maps go')
  t.equal(await edit('.yaml', 'a: |\n  x\n  y\nb: 1\n', { '/b': '2' }), 'a: |\n  x\n  y\nb: "2"\n')
})

t.test('YAML: anchors, tags, merge keys and damage are refused with their line', async (t) => {
  for (const text of [
    'a: &x 1\nb: *x\n',
    'a: {b: 1}\nc:\n  <<: {d: 1}\n',
    '- a\n',
    'text\n',
    'a: 1\na: 2\n',
    'a:\n\t- x\n',
    'a: !!binary x\n',
    'a: 1\n---\nb: 2\n',
    '/a/b: 1\na: {b: 2}\n',
    'a/: 1\n',
    '? [x]\n: 1\n',
    'a: "\\ud800"\n',
  ]) {
    await t.rejects(
      read('.yaml', text),
      { code: 'INPUT_INVALID', message: /file-\d+\.yaml:/ },
      JSON.stringify(text),
    )
  }
  await t.rejects(read('.yaml', 'ok: 1\nbad: "x\n'), { message: /\.yaml:\d/ })
})

t.test('JSON: scalars and layout stay as they are written', async (t) => {
  const text =
    '{\n  "webapi": {\n    "port": 8080,\n    "ratio": 1.10,\n    "big": 12345678901234567890,\n    "on": true,\n    "hosts": [\n      "a",\n      "b\\u0041"\n    ]\n  }\n}\n'
  t.same(await read('.json', text), {
    '/webapi/port': '8080',
    '/webapi/ratio': '1.10',
    '/webapi/big': '12345678901234567890',
    '/webapi/on': 'true',
    '/webapi/hosts/0': 'a',
    '/webapi/hosts/1': 'bA',
  })
  t.equal(
    await edit('.json', text, { '/webapi/port': '9090' }),
    text.replace('8080', '"9090"').replace('\\u0041', 'A'),
  )
  t.equal(
    await edit('.json', '{"a":{"b":1.0}}', { '/a/c': ' x ' }),
    '{\n  "a": {\n    "b": 1.0,\n    "c": " x "\n  }\n}\n',
  )
  t.equal(await edit('.json', '{\n\t"a": "1"\n}', { '/b': '2' }), '{\n  "a": "1",\n  "b": "2"\n}\n')
  for (const bad of [
    '{"a": null}',
    '{"a":1,"a":2}',
    '{a: 1}',
    '[1]',
    '"x"',
    '{"a":1',
    '{"a":1} x',
    "{'a':1}",
  ]) {
    await t.rejects(read('.json', bad), { code: 'INPUT_INVALID' }, bad)
  }
})

t.test('properties: as java.util.Properties reads them', async (t) => {
  const text = [
    '# comment = no',
    '! also = no',
    '',
    'webapi.db.url = jdbc:mysql://db/x?a=b',
    '/webapi/v1.2/key:with dot',
    '  indented   value with spaces  ',
    'long = one \\',
    '   two \\',
    '\t three',
    'escaped\\ key\\=x=\\u0041\\t\\\\n',
    'empty',
    'empty2=',
    'trail=x\\u0020 ',
    'grün=ü 中',
    'back\\\\',
    'pair=\\ud83d\\ude00',
    '   ',
  ].join('\n')
  t.same(await read('.properties', text), {
    '/webapi/db/url': 'jdbc:mysql://db/x?a=b',
    '/webapi/v1.2/key': 'with dot',
    '/indented': 'value with spaces  ',
    '/long': 'one two three',
    '/escaped key=x': 'A\t\\n',
    '/empty': '',
    '/empty2': '',
    '/trail': 'x  ',
    '/grün': 'ü 中',
    '/back\\': '',
    '/pair': '😀',
  })
  t.equal(
    await edit('.properties', text, { '/webapi/db/url': ' new ', '/long': 'short' }),
    text
      .replace(/^webapi\.db.*$/m, 'webapi.db.url=\\u0020new\\u0020')
      .replace(/^long[\s\S]*three$/m, 'long=short'),
  )
  t.equal(
    await edit('.properties', '# top\r\na.b = 1\r\n', { '/a/c': '2', '/x.y/z': '3' }),
    '# top\r\na.b = 1\r\na.c=2\r\n/x.y/z=3\r\n',
  )
  t.equal(
    await edit('.properties', '/a/b=1', { '/a/c': '2' }),
    '/a/b=1\n/a/c=2\n',
    'slashes stay slashes',
  )
  for (const bad of ['a.b=1\n/a/b=2', 'a=\\u00g1', '..=1', '=x', 'a..b=1', 'x=\\ud800']) {
    await t.rejects(
      read('.properties', bad),
      { code: 'INPUT_INVALID', message: /\.properties:/ },
      bad,
    )
  }
  await t.rejects(read('.properties', 'ok=1\n\nx=\\u12'), { message: /:3: / })
})

t.test('the file of a store', async (t) => {
  t.test('that is missing is named', async (t) => {
    const store = openFileStore(join(folder, 'none.yaml'))
    await t.rejects(store.snapshot(['/']), {
      code: 'NOT_FOUND',
      message: /^file:.*none\.yaml: there is no file/,
      hint: /crosscloud\.yml/,
    })
    await t.rejects(store.change([{ key: '/a', value: '1' }]), { code: 'NOT_FOUND' })
    t.notOk(existsSync(join(folder, 'none.yaml')), 'is not created')
  })
  t.test('of an unknown kind, a folder, or not in UTF-8 is refused', async (t) => {
    t.throws(() => openFileStore('x.toml'), { code: 'INPUT_INVALID' })
    mkdirSync(join(folder, 'folder.yaml'))
    await t.rejects(openFileStore(join(folder, 'folder.yaml')).snapshot(['/']), {
      code: 'INPUT_INVALID',
    })
    const path = put('.yaml', '')
    writeFileSync(path, Buffer.from([0x61, 0x3a, 0x20, 0xff]))
    await t.rejects(openFileStore(path).snapshot(['/']), {
      code: 'INPUT_INVALID',
      message: /UTF-8/,
    })
  })
  t.test('keeps its mode and its link, and no other file is left', async (t) => {
    const inside = join(folder, 'links')
    mkdirSync(inside)
    writeFileSync(join(inside, 'real.yaml'), 'a: 1\n')
    chmodSync(join(inside, 'real.yaml'), 0o640)
    symlinkSync('real.yaml', join(inside, 'link.yaml'))
    await openFileStore(join(inside, 'link.yaml')).change([{ key: '/a', value: '2' }])
    t.equal(readFileSync(join(inside, 'real.yaml'), 'utf8'), 'a: "2"\n')
    t.equal(statSync(join(inside, 'real.yaml')).mode & 0o7777, 0o640)
    t.same(readdirSync(inside).sort(), ['link.yaml', 'real.yaml'])
  })
  t.test('a cancelled change changes nothing', async (t) => {
    const path = put('.yaml', 'a: 1\n')
    const store = openFileStore(path, { signal: AbortSignal.abort() })
    await t.rejects(store.change([{ key: '/a', value: '2' }]), { code: 'CANCELLED' })
    t.equal(readFileSync(path, 'utf8'), 'a: 1\n')
  })
})

t.test('a lock', async (t) => {
  const path = put('.yaml', 'a: 1\n')
  t.test('of a dead process is taken over, by one process only', async (t) => {
    const { stdout } = await run(process.execPath, ['-p', 'process.pid'])
    const holder = { pid: Number(stdout), host: (await import('node:os')).hostname(), id: 'x' }
    writeFileSync(`${path}.lock`, JSON.stringify(holder))
    let inside = 0
    await Promise.all(
      Array.from({ length: 5 }, () =>
        withFileLock(path, async () => {
          t.equal(++inside, 1)
          await new Promise((resolve) => setTimeout(resolve, 3))
          inside--
        }),
      ),
    )
    t.notOk(existsSync(`${path}.lock`))
  })
  t.test('of a living process is waited for, then its holder is named', async (t) => {
    await withFileLock(path, async () => {
      await t.rejects(
        withFileLock(path, async () => {}, { timeout: 50 }),
        { code: 'CONFLICT', retryable: true, message: new RegExp(`process ${process.pid}`) },
      )
    })
    const otherHost = JSON.stringify({ pid: 1, host: 'elsewhere', id: 'y' })
    writeFileSync(`${path}.lock`, otherHost)
    await t.rejects(
      withFileLock(path, async () => {}, { timeout: 50 }),
      { code: 'CONFLICT', hint: /remove/ },
    )
    t.equal(readFileSync(`${path}.lock`, 'utf8'), otherHost)
  })
})

t.test('several processes write at once and lose nothing', async (t) => {
  const path = put('.yaml', '# kept\nn: 0\n')
  const module = new URL('../../../src/config/store/file/store.ts', import.meta.url).href
  const code = `import { openFileStore } from ${JSON.stringify(module)}
    const store = openFileStore(process.argv[1])
    for (let i = 0; i < 10; i++) await store.change([{ key: '/p' + process.argv[2] + '/' + i, value: String(i) }])`
  const flags = process.execArgv.length > 0 ? process.execArgv : []
  await Promise.all(
    ['1', '2', '3'].map((n) =>
      run(process.execPath, [...flags, '--input-type=module', '-e', code, path, n]),
    ),
  )
  t.equal((await openFileStore(path).snapshot(['/'])).size, 31)
  t.match(readFileSync(path, 'utf8'), /^# kept\n/)
})

t.test('any keys and values come back from any format', async () => {
  const segment = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 8 })
    .map((s) => s.replace(/[/\p{Cc}\p{Cs}]/gu, '_'))
    .filter((s) => s !== '.' && s !== '..')
  const key = fc
    .array(segment, { minLength: 1, maxLength: 3 })
    .map((parts) => `/${parts.join('/')}`)
  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.stringMatching(/^[ \t\n\r#:'"\\a-c0-9{}[\],&*!|>%@`-]{0,12}$/),
  )
  const entries = fc.array(fc.tuple(key, value), { maxLength: 8 })
  for (const extension of ['.yaml', '.json', '.properties']) {
    await fc.assert(
      fc.asyncProperty(entries, entries, async (before, after) => {
        const store = openFileStore(put(extension, ''))
        const wanted = new Map<string, string>()
        for (const batch of [before, after]) {
          const changes = new Map(batch)
          for (const [k, v] of changes) wanted.set(k, v)
          await store.change([...changes].map(([k, v]) => ({ key: k, value: v })))
        }
        const first = [...wanted.keys()][0]
        if (first !== undefined) {
          await store.change([{ key: first, value: null }])
          wanted.delete(first)
        }
        assert.deepStrictEqual(
          new Map([...(await store.snapshot(['/']))].sort()),
          new Map([...wanted].sort()),
        )
      }),
      { numRuns: 20 },
    )
  }
})
