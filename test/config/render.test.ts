import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { renderAll, requiredKeys } from '../../src/config/render.ts'
import { readTemplates } from '../../src/config/resources.ts'
import { isStepError } from '../../src/core/errors.ts'

import { type Files, failure, keys, one, resource, templates } from '../support/templates.ts'

t.test('bytes', async (t) => {
  const raw = (bytes: Buffer) => () =>
    renderAll({
      templates: readTemplates(
        new Map([
          ['conf.d/a.toml', Buffer.from(resource({}))],
          ['templates/a.hbs', bytes],
        ]),
      ),
      snapshot: new Map(),
      environment: 'x',
    })
  t.match(failure(raw(Buffer.from([0x61, 0xff]))).message, /a\.hbs: is not UTF-8/)
  t.match(failure(raw(Buffer.from('\ufeffa'))).message, /byte order mark/)
  t.equal(String(raw(Buffer.from('a\r\n\tb \n\n'))()[0]?.content), 'a\r\n\tb \n\n')
})

t.test(
  'lines that hold only a block leave no blank line; values keep their spaces and lines',
  async (t) => {
    t.equal(
      one(
        'a\n{{#if (exists "/n")}}\n  n={{getv "/n"}}\n{{else}}\nnone\n{{/if}}\n{{! c }}\nb\n',
        keys,
      ),
      'a\n  n=7\nb\n',
    )
    t.equal(
      one('a\n{{#each (gets "/up/*")}}\n{{base key}}\n{{/each}}\nb\n', keys),
      'a\na\nb\nc\nb\n',
    )
    t.equal(
      one(
        'x:\n  {{> _p}}\nend',
        { '/v': 'l1\nl2  ' },
        { partials: { '_p.hbs': '{{getv "/v"}}|\nsecond\n' } },
      ),
      'x:\n  l1\nl2  |\nsecond\nend',
    )
  },
)

t.test('partials', async (t) => {
  const partials = {
    '_kv.hbs': '{{name}}={{value}};',
    '_dir/_in.hbs': '{{getv "/n"}}',
    '_bad.hbs': '\n{{getv "/absent"}}{{nme}}',
  }
  t.equal(
    one(
      '{{#each (gets "/up/*")}}{{> _kv name=(base key)}}{{/each}}{{> "_dir/_in.hbs"}}{{> _dir/_in}}',
      keys,
      { partials },
    ),
    'a=10.0.0.9;b=10.0.0.2;c=10.0.0.1;77',
  )
  const error = failure(() => one('{{> _bad}}', keys, { partials }))
  t.match(
    error.message,
    /^key \/absent is missing in staging \(templates\/_bad\.hbs:2\)\ntemplates\/_bad\.hbs:2: .*nothing to print$/,
  )
  t.match(
    failure(() => one('{{> _a}}', {}, { partials: { '_a.hbs': '{{> _b}}', '_b.hbs': '{{> _a}}' } }))
      .message,
    /includes itself.*_a\.hbs → templates\/_b\.hbs → templates\/_a/,
  )
  t.match(
    failure(() => one('{{> _kv (get "/absent")}}', {}, { partials })).message,
    /key \/absent is missing/,
  )
})

t.test('all missing keys of all templates, one error', async (t) => {
  const error = failure(() =>
    renderAll({
      templates: templates(
        {
          'app.properties.hbs':
            'ok={{getv "/ok"}}\n\nurl={{getv "/db/url"}}\nport={{add (atoi (getv "/db/port")) 1}}\n{{#if (eq (getv "/mode") "x")}}{{getv "/never/asked"}}{{/if}}',
          'b.hbs':
            '{{#each (split (getv "/list") ",")}}{{getv (printf "/node/%s" this)}}{{/each}}{{getv (printf "/x/%s" (getv "/name"))}}',
          'c.hbs': '{{getv "/ok"}}',
        },
        { prefix: '"webapi"' },
      ),
      snapshot: new Map([
        ['/webapi/ok', '1'],
        ['/webapi/list', 'n1,n2'],
        ['/webapi/node/n1', 'y'],
        ['/db/url', 'not ours'],
      ]),
      environment: 'staging',
    }),
  )
  t.equal(error.code, 'INPUT_INVALID')
  t.same(error.message.split('\n'), [
    'key /webapi/db/url is missing in staging (templates/app.properties.hbs:3)',
    'key /webapi/db/port is missing in staging (templates/app.properties.hbs:4)',
    'key /webapi/mode is missing in staging (templates/app.properties.hbs:5)',
    'key /webapi/name is missing in staging (templates/b.hbs:1)',
    'key /webapi/node/n2 is missing in staging (templates/b.hbs:1)',
  ])
  t.equal(error.hint, 'crosscloud config set --env staging /webapi/db/url VALUE')
  t.equal(error.exitCode, 2)
})

t.test('a template sees only its keys, without the prefix', async (t) => {
  const snapshot = new Map([
    ['/app/db/url', 'u'],
    ['/app/db2/url', 'no'],
    ['/app/web/port', '80'],
    ['/app/web', 'leaf'],
    ['/other/x', 'no'],
    ['/apple/x', 'no'],
  ])
  const render = (source: string, fields: Files) =>
    renderAll({
      templates: templates({ 'a.hbs': source }, fields),
      snapshot,
      environment: 'test',
    })[0]
  const all = '{{#each (gets "/*/*")}}{{key}} {{/each}}{{#each (gets "/*")}}{{key}} {{/each}}'
  const text = (fields: Files, source = all) => String(render(source, fields)?.content)
  t.equal(text({ prefix: '"/app"', keys: '["/db", "web/"]' }), '/db/url /web/port /web ')
  t.equal(text({ prefix: '"/app"', keys: '["/db/url"]' }), '/db/url ')
  t.equal(text({ prefix: '"/app/"' }), '/db/url /db2/url /web/port /web ')
  t.equal(text({ prefix: '"/app"', keys: '[]' }), '')
  t.equal(
    text({ keys: '["/app/db", "/app", "/app/db"]' }, '{{join (ls "/app") ","}}'),
    'db,db2,web',
  )
  t.equal(text({ keys: '["/"]' }, '{{join (ls "/") ","}}'), 'app,apple,other')
  t.same(render('{{getv "/db/url"}}{{getv "/no" "x"}}', { prefix: '"/app"' })?.keys, [
    '/app/db/url',
  ])
  const error = failure(() => render('{{getv "/db2/url"}}', { prefix: '"/app"', keys: '["/db"]' }))
  t.equal(
    error.message,
    'key /app/db2/url is in test, but not below the keys of conf.d/a.hbs.toml (templates/a.hbs:1)',
  )
  t.match(error.hint, /keys/)
})

t.test('the keys templates need', async (t) => {
  const source = [
    '{{getv "/a"}}{{getv "/b" "d"}}{{get "/c"}}',
    '{{#if (exists "/d")}}{{getv "/d"}}{{else}}{{getv "/d"}}{{/if}}',
    '{{#unless (exists "/e")}}-{{else}}{{getv "/e"}}{{/unless}}',
    '{{#if (and (exists "/f") (eq (getv "/f") "1"))}}{{getv "/f"}}{{getv "/g"}}{{/if}}',
    '{{#each (gets "/x/*")}}{{getv "/h"}}{{/each}}{{getv (getv "/i")}}',
    '{{#if (not (exists "/j"))}}{{else}}{{getv "/j"}}{{/if}}',
    '{{getv "/k" (getv "/l")}}{{> _p}}',
    '{{#if (or (exists "/m") (exists "/n"))}}{{getv "/m"}}{{/if}}{{{{raw}}}}{{getv "/raw"}}{{{{/raw}}}}',
    '{{!-- {{getv "/comment"}} --}}',
  ].join('\n')
  const required = requiredKeys(
    templates({ 'a.hbs': source, '_p.hbs': '\n{{getv "/p"}}' }, { prefix: '"/w"' }),
  )
  t.same(
    required.map(
      ({ key, template, line, conditional }) =>
        `${key} ${template.slice(10)}:${line}${conditional ? '?' : ''}`,
    ),
    [
      '/w/p _p.hbs:2',
      '/w/a a.hbs:1',
      '/w/c a.hbs:1',
      '/w/d a.hbs:2?',
      '/w/g a.hbs:4?',
      '/w/h a.hbs:5?',
      '/w/i a.hbs:5',
      '/w/l a.hbs:7?',
      '/w/m a.hbs:8?',
    ],
  )
})

t.test('size and time are bounded', async (t) => {
  const start = Date.now()
  const nested = (depth: number) =>
    `${'{{#each (seq 1 1000)}}'.repeat(depth)}x${'{{/each}}'.repeat(depth)}`
  t.match(failure(() => one(nested(3))).message, /loops too often|too much text/)
  t.match(
    failure(() => one(`{{#each (seq 1 90000)}}${'x'.repeat(2000)}{{/each}}`)).message,
    /too much text/,
  )
  const doubling = (depth: number): string =>
    depth === 0 ? '"aaaaaaaaaa"' : `(replace ${doubling(depth - 1)} "a" "aaaaaaaaaa" -1)`
  t.match(failure(() => one(`{{len ${doubling(9)}}}`)).message, /too large/)
  t.equal(failure(() => one('{{#if true}}'.repeat(20000))).code, 'INPUT_INVALID')
  t.ok(Date.now() - start < 15_000)
})

t.test('10,000 keys and 100 templates', async (t) => {
  const snapshot = new Map(
    Array.from({ length: 10_000 }, (_, i) => [`/app/${i % 100}/k${i}`, `v${i}`]),
  )
  const sources = Object.fromEntries(
    Array.from({ length: 100 }, (_, n) => [
      `t${n}.hbs`,
      Array.from({ length: 50 }, (_, i) => `k${i}={{getv "/app/${n}/k${n + 100 * i}"}}\n`).join(''),
    ]),
  )
  const all = templates(sources, { keys: '["/app"]' })
  const start = performance.now()
  const files = renderAll({ templates: all, snapshot, environment: 'x' })
  const took = performance.now() - start
  t.equal(files.length, 100)
  t.match(String(files[7]?.content), /^k0=v\d+\nk1=v\d+\n/)
  t.comment(`compiled and rendered in ${took.toFixed(0)} ms`)
  t.ok(took < 10_000)
})

t.test('nothing but StepError ever comes out', async (t) => {
  const piece = fc.oneof(
    fc.constantFrom(
      '{{',
      '}}',
      '{{{',
      '{{#each ',
      '{{#if ',
      '{{/if}}',
      '{{/each}}',
      '{{else}}',
      '(',
      ')',
      'getv ',
      'gets ',
      'this',
      '@index',
      '../',
      ' as |a b|',
      '"/a"',
      '"/*"',
      '"/[',
      '\\',
      '{{!',
      '{{>',
      '~',
      '.',
      'x=',
      '1',
      '-1',
      'true',
      'null',
      '\n',
      ' ',
      'printf "%s" ',
      'index ',
      'json ',
      'split ',
      '"',
      '_p',
      '__proto__',
      'constructor',
      'eq ',
      'map ',
      'with ',
    ),
    fc.string({ maxLength: 4 }),
  )
  const call: fc.Arbitrary<string> = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom(
        '"/a"',
        '"/b"',
        '"/*"',
        '1',
        '-3',
        '0',
        'true',
        '""',
        '","',
        '"%s"',
        '"[1,2]"',
        '"{}"',
      ),
      tie('call'),
    ),
    call: fc
      .tuple(
        fc.constantFrom(
          'getv',
          'get',
          'gets',
          'getvs',
          'ls',
          'lsdir',
          'exists',
          'split',
          'join',
          'index',
          'len',
          'eq',
          'lt',
          'and',
          'or',
          'not',
          'map',
          'json',
          'jsonArray',
          'printf',
          'replace',
          'seq',
          'reverse',
          'add',
          'div',
          'atoi',
          'base',
          'dir',
          'toUpper',
          'sortByLength',
          'sortKVByLength',
          'base64Decode',
          'datetime',
          'getenv',
        ),
        fc.array(tie('value'), { maxLength: 4 }),
      )
      .map(([name, args]) => `(${[name, ...args].join(' ')})`),
  })).call as fc.Arbitrary<string>
  const program = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
    call.map((text) => `{{${text.slice(1, -1)}}}`),
    fc
      .tuple(fc.constantFrom('if', 'unless', 'each', 'with'), call, call)
      .map(
        ([name, a, b]) =>
          `{{#${name} ${a}}}{{#each ${b}}}{{this}}{{key}}{{/each}}{{else}}y{{/${name}}}`,
      ),
  )
  const values = fc.dictionary(
    fc.constantFrom('/a', '/b', '/a/b', '/', 'x', '/__proto__'),
    fc.string(),
  )
  let rendered = 0
  fc.assert(
    fc.property(program, values, (source, found) => {
      try {
        const text = one(source, found, { partials: { '_p.hbs': 'p' } })
        assert(!text.includes('[object Object]') || source.includes('[object'))
        rendered++
      } catch (error) {
        assert(isStepError(error, 'INPUT_INVALID'), error as Error)
        assert(
          !/^(?:Cannot read|undefined)|is not a function|is not iterable/m.test(error.message),
          error.message,
        )
      }
    }),
    { numRuns: Number(process.env.FC_RUNS ?? 1500) },
  )
  t.ok(rendered > 50, `${rendered} rendered`)
})
