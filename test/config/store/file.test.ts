import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openFileStore } from '../../../src/config/store/file/store.ts'

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
