import t from 'tap'
import { readTemplates } from '../../../src/config/template/resources.ts'
import { compileTemplates } from '../../../src/config/template/templates.ts'
import { StepError } from '../../../src/core/errors.ts'

import {
  type Files,
  failure,
  keys,
  one,
  render as renderFiles,
  resource,
  templates,
} from '../../support/data/templates.ts'

t.test('bytes of a template are printed unchanged', async (t) => {
  const raw = (bytes: Buffer) => () =>
    renderFiles({
      templates: readTemplates(
        new Map([
          ['conf.d/a.toml', Buffer.from(resource({}))],
          ['templates/a.hbs', bytes],
        ]),
      ),
      snapshot: new Map(),
      environment: 'x',
    })
  t.match((await failure(raw(Buffer.from([0x61, 0xff])))).message, /a\.hbs: is not UTF-8/)
  t.match((await failure(raw(Buffer.from('\ufeffa')))).message, /byte order mark/)
  const { files } = await raw(Buffer.from('a\r\n\tb \n\n'))()
  t.equal(String(files[0]?.content), 'a\r\n\tb \n\n')
})

t.test(
  'lines that hold only a block leave no blank line; values keep their spaces and lines',
  async (t) => {
    t.equal(
      await one(
        'a\n{{#if (exists "/n")}}\n  n={{getv "/n"}}\n{{else}}\nnone\n{{/if}}\n{{! c }}\nb\n',
        keys,
      ),
      'a\n  n=7\nb\n',
    )
    t.equal(
      await one('a\n{{#each (gets "/up/*")}}\n{{base key}}\n{{/each}}\nb\n', keys),
      'a\na\nb\nc\nb\n',
    )
    t.equal(
      await one(
        'x:\n  {{> _p}}\nend',
        { '/v': 'l1\nl2  ' },
        { partials: { '_p.hbs': '{{getv "/v"}}|\nsecond\n' } },
      ),
      'x:\n  l1\nl2  |\nsecond\nend',
    )
  },
)

t.test('partials get their context and their parameters', async (t) => {
  const partials = {
    '_kv.hbs': '{{name}}={{value}};',
    '_dir/_in.hbs': '{{getv "/n"}}',
    '_bad.hbs': '\n{{getv "/absent"}}{{nme}}',
  }
  t.equal(
    await one(
      '{{#each (gets "/up/*")}}{{> _kv name=(base key)}}{{/each}}{{> "_dir/_in.hbs"}}{{> _dir/_in}}',
      keys,
      { partials },
    ),
    'a=10.0.0.9;b=10.0.0.2;c=10.0.0.1;77',
  )
  const error = await failure(() => one('{{> _bad}}', keys, { partials }))
  t.match(
    error.message,
    /^key \/absent is missing in staging \(templates\/_bad\.hbs:2\)\ntemplates\/_bad\.hbs:2: .*nothing to print$/,
  )
  t.match(
    (
      await failure(() =>
        one('{{> _a}}', {}, { partials: { '_a.hbs': '{{> _b}}', '_b.hbs': '{{> _a}}' } }),
      )
    ).message,
    /includes itself.*_a\.hbs → templates\/_b\.hbs → templates\/_a/,
  )
  t.match(
    (await failure(() => one('{{> _kv (get "/absent")}}', {}, { partials }))).message,
    /key \/absent is missing/,
  )
})

t.test('all missing keys of all templates are one error', async (t) => {
  const error = await failure(() =>
    renderFiles({
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
  t.equal(error.hint, 'Set it: `crosscloud config set --env staging /webapi/db/url VALUE`.')
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
  const render = async (source: string, fields: Files) => {
    const use = templates({ 'a.hbs': source }, fields)
    return (await renderFiles({ templates: use, snapshot, environment: 'test' })).files[0]
  }
  const all = '{{#each (gets "/*/*")}}{{key}} {{/each}}{{#each (gets "/*")}}{{key}} {{/each}}'
  const text = async (fields: Files, source = all) =>
    String((await render(source, fields))?.content)
  t.equal(await text({ prefix: '"/app"', keys: '["/db", "web/"]' }), '/db/url /web/port /web ')
  t.equal(await text({ prefix: '"/app"', keys: '["/db/url"]' }), '/db/url ')
  t.equal(await text({ prefix: '"/app/"' }), '/db/url /db2/url /web/port /web ')
  t.equal(await text({ prefix: '"/app"', keys: '[]' }), '')
  t.equal(
    await text({ keys: '["/app/db", "/app", "/app/db"]' }, '{{join (ls "/app") ","}}'),
    'db,db2,web',
  )
  t.equal(await text({ keys: '["/"]' }, '{{join (ls "/") ","}}'), 'app,apple,other')
  t.same((await render('{{getv "/db/url"}}{{getv "/no" "x"}}', { prefix: '"/app"' }))?.keys, [
    '/app/db/url',
  ])
  const error = await failure(() =>
    render('{{getv "/db2/url"}}', { prefix: '"/app"', keys: '["/db"]' }),
  )
  t.equal(
    error.message,
    'key /app/db2/url is in test, but not below the keys of conf.d/a.hbs.toml (templates/a.hbs:1)',
  )
  t.match(error.hint, /keys/)
})

t.test('the keys that a template requires are known before it is rendered', async (t) => {
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
  const [compiled] = await compileTemplates(
    templates({ 'a.hbs': source, '_p.hbs': '\n{{getv "/p"}}' }),
  )
  if (compiled === undefined || compiled.program instanceof StepError) throw compiled?.program
  const required = compiled.program.requirements.map(
    ({ key, file, line, conditional }) =>
      `${key} ${file.slice('templates/'.length)}:${line}${conditional ? '?' : ''}`,
  )
  t.same(required, [
    '/a a.hbs:1',
    '/c a.hbs:1',
    '/d a.hbs:2?',
    '/g a.hbs:4?',
    '/h a.hbs:5?',
    '/i a.hbs:5',
    '/l a.hbs:7?',
    '/m a.hbs:8?',
    '/p _p.hbs:2',
  ])
})

t.test('keys that cannot be decrypted are reported as such, not as absent', async (t) => {
  const locked = new Map([
    ['/w/pin', 'it is encrypted with the key "k2", which is not given here'],
    ['/w/up/b', 'no'],
    ['/other/x', 'no'],
  ])
  const snapshot = new Map([['/w/up/a', '1']])
  const use =
    (source: string, fields: Files = { prefix: '"/w"' }) =>
    async () =>
      (
        await renderFiles({
          templates: templates({ 'a.hbs': source }, fields),
          snapshot,
          locked,
          environment: 'live',
        })
      ).files[0]
  const line =
    'key /w/pin in live cannot be decrypted: it is encrypted with the key "k2", which is not given here (templates/a.hbs:1)'
  for (const source of [
    '{{getv "/pin"}}',
    '{{getv "/pin" "default"}}',
    '{{get "/pin"}}',
    '{{toUpper (getv (printf "/%s" "pin"))}}',
    '{{#if (exists "/pin")}}{{getv "/pin"}}{{/if}}',
    '{{#each (getvs "/p*")}}{{this}}{{/each}}',
    '{{#each (gets "/p*")}}{{key}}{{value}}{{/each}}',
  ]) {
    const error = await failure(use(source))
    t.equal(error.message, line, source)
    t.match(error.hint, /CROSSCLOUD_CONFIG_KEY/)
  }
  const text = async (source: string) => String((await use(source)())?.content)
  t.equal(await text('{{#each (gets "/up/*")}}{{key}} {{/each}}'), '/up/a /up/b ', 'unasked value')
  t.equal(await text('{{exists "/pin"}} {{join (ls "/") ","}}'), 'true pin,up')
  t.match((await failure(use('{{getv "/pin"}}{{getv "/none"}}'))).hint, /config set .* \/w\/none/)
  t.match(
    (await failure(use('{{getv "/other/x"}}', { keys: '["/w"]' }))).message,
    /is in live, but not below the keys/,
  )
})

t.test('a constant pattern that matches no key is a warning', async (t) => {
  const warnings = async (source: string, partials: Files = {}) =>
    (
      await renderFiles({
        templates: templates({ 'a.hbs': source, ...partials }, { prefix: '"/w"' }),
        snapshot: new Map([['/w/up/a', '1']]),
        environment: 'test',
      })
    ).warnings
  const warning = (pattern: string, place = 'a.hbs:1') =>
    `no key in test matches /w${pattern} (templates/${place})`
  t.same(await warnings('{{#each (gets "/db/*")}}x{{/each}}'), [warning('/db/*')])
  t.same(await warnings('{{join (getvs "/db/*") ","}}{{join (ls "/no") ","}}'), [
    warning('/db/*'),
    warning('/no'),
  ])
  t.same(await warnings('\n{{> _p}}{{> _p}}', { '_p.hbs': '{{#with (lsdir "/x")}}{{/with}}' }), [
    warning('/x', '_p.hbs:1'),
  ])
  for (const source of [
    '{{#each (gets "/up/*")}}x{{/each}}{{join (ls "/up/") ","}}',
    '{{#each (gets "/db/*")}}x{{else}}none{{/each}}',
    '{{#if (gets "/db/*")}}x{{/if}}{{#unless (and (ls "/db") true)}}-{{/unless}}',
    '{{len (gets "/db/*")}}{{not (ls "/db")}}',
    '{{#if (exists "/db")}}{{join (ls "/db") ","}}{{/if}}',
    '{{#each (split "a,b" ",")}}{{#each (gets (printf "/%s/*" this))}}x{{/each}}{{/each}}',
  ]) {
    t.same(await warnings(source), [], source)
  }
})

t.test('size and time of a rendering are bounded', async (t) => {
  const start = Date.now()
  const nested = (depth: number) =>
    `${'{{#each (seq 1 1000)}}'.repeat(depth)}x${'{{/each}}'.repeat(depth)}`
  t.match((await failure(() => one(nested(3)))).message, /loops too often|too much text/)
  t.match(
    (await failure(() => one(`{{#each (seq 1 90000)}}${'x'.repeat(2000)}{{/each}}`))).message,
    /too much text/,
  )
  const doubling = (depth: number): string =>
    depth === 0 ? '"aaaaaaaaaa"' : `(replace ${doubling(depth - 1)} "a" "aaaaaaaaaa" -1)`
  t.match((await failure(() => one(`{{len ${doubling(9)}}}`))).message, /too large/)
  t.equal((await failure(() => one('{{#if true}}'.repeat(20000)))).code, 'INPUT_INVALID')
  t.ok(Date.now() - start < 15_000)
})

t.test('100 templates render 10,000 keys', async (t) => {
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
  const { files } = await renderFiles({ templates: all, snapshot, environment: 'x' })
  const took = performance.now() - start
  t.equal(files.length, 100)
  t.match(String(files[7]?.content), /^k0=v\d+\nk1=v\d+\n/)
  t.comment(`compiled and rendered in ${took.toFixed(0)} ms`)
  t.ok(took < 10_000)
})
