import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { compilePathMatch } from '../../src/config/path-match.ts'
import { type RenderOptions, renderAll, requiredKeys } from '../../src/config/render.ts'
import { readTemplates } from '../../src/config/resources.ts'
import { isStepError, type StepError } from '../../src/core/errors.ts'

type Files = Record<string, string>

const resource = (fields: Files) =>
  `[template]\n${Object.entries({ src: '"a.hbs"', dest: '"/etc/a"', ...fields })
    .map(([k, v]) => `${k} = ${v}\n`)
    .join('')}`
const read = (files: Files) =>
  readTemplates(new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)])))
/** Templates by name, all with one prefix and all keys below it. */
const templates = (sources: Files, fields: Files = {}) => {
  const files: Files = {}
  for (const [name, text] of Object.entries(sources)) {
    files[`templates/${name}`] = text
    if (!name.startsWith('_')) {
      files[`conf.d/${name}.toml`] = resource({
        src: `"${name}"`,
        dest: `"/etc/${name}"`,
        ...fields,
      })
    }
  }
  return read(files)
}
const one = (
  source: string,
  keys: Files = {},
  options: Partial<RenderOptions> & { partials?: Files } = {},
) => {
  const { partials = {}, ...rest } = options
  const [file] = renderAll({
    templates: templates({ 'a.hbs': source, ...partials }),
    snapshot: new Map(Object.entries(keys)),
    environment: 'staging',
    ...rest,
  })
  return String(file?.content)
}
const failure = (work: () => unknown): StepError => {
  try {
    work()
  } catch (error) {
    if (isStepError(error)) return error
    throw error
  }
  throw new Error('it did not fail')
}

t.test('path.Match, by the table of Go’s own tests', async (t) => {
  const rows: [string, string, boolean | 'bad'][] = [
    ['abc', 'abc', true],
    ['*', 'abc', true],
    ['*c', 'abc', true],
    ['a*', 'a', true],
    ['a*', 'abc', true],
    ['a*', 'ab/c', false],
    ['a*/b', 'abc/b', true],
    ['a*/b', 'a/c/b', false],
    ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
    ['a*b*c*d*e*/f', 'axbxcxdxexxx/f', true],
    ['a*b*c*d*e*/f', 'axbxcxdxe/xxx/f', false],
    ['a*b*c*d*e*/f', 'axbxcxdxexxx/fff', false],
    ['a*b?c*x', 'abxbbxdbxebxczzx', true],
    ['a*b?c*x', 'abxbbxdbxebxczzy', false],
    ['ab[c]', 'abc', true],
    ['ab[b-d]', 'abc', true],
    ['ab[e-g]', 'abc', false],
    ['ab[^c]', 'abc', false],
    ['ab[^b-d]', 'abc', false],
    ['ab[^e-g]', 'abc', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'ab', false],
    ['a?b', 'a☺b', true],
    ['a[^a]b', 'a☺b', true],
    ['a???b', 'a☺b', false],
    ['a[^a][^a][^a]b', 'a☺b', false],
    ['[a-ζ]*', 'α', true],
    ['*[a-ζ]', 'A', false],
    ['a?b', 'a/b', false],
    ['a*b', 'a/b', false],
    ['[\\]a]', ']', true],
    ['[\\-]', '-', true],
    ['[x\\-]', 'x', true],
    ['[x\\-]', '-', true],
    ['[x\\-]', 'z', false],
    ['[\\-x]', 'x', true],
    ['[\\-x]', '-', true],
    ['[\\-x]', 'a', false],
    ['[]a]', ']', 'bad'],
    ['[-]', '-', 'bad'],
    ['[x-]', 'x', 'bad'],
    ['[x-]', '-', 'bad'],
    ['[x-]', 'z', 'bad'],
    ['[-x]', 'x', 'bad'],
    ['[-x]', '-', 'bad'],
    ['\\', 'a', 'bad'],
    ['[a-b-c]', 'a', 'bad'],
    ['[', 'a', 'bad'],
    ['[^', 'a', 'bad'],
    ['[^bc', 'a', 'bad'],
    ['a[', 'a', 'bad'],
    ['a[', 'ab', 'bad'],
    ['a[', 'x', 'bad'],
    ['a/b[', 'x', 'bad'],
    ['*x', 'xxx', true],
    ['', '', true],
    ['', 'a', false],
    ['**', 'ab', true],
    ['*', '', true],
    ['*', '/', false],
    ['/a/*/c', '/a/b/c', true],
    ['?', '😀', true],
    ['/*', '/a', true],
    ['[a/]', '/', true],
    [']', ']', true],
    ['a*a', 'a', false],
    ['*a*', 'bab', true],
    ['*ab', 'aab', true],
    ['*/x*y', 'q/xxyy', true],
  ]
  for (const [pattern, name, wanted] of rows) {
    const got = (() => {
      try {
        return compilePathMatch(pattern)(name)
      } catch (error) {
        return isStepError(error, 'INPUT_INVALID') ? 'bad' : error
      }
    })()
    t.equal(got, wanted, `${pattern} on ${name}`)
  }
  const start = Date.now()
  t.notOk(compilePathMatch(`${'*a'.repeat(30)}b`)('a'.repeat(2000)))
  t.ok(Date.now() - start < 1000, 'no explosion')
})

const keys: Files = {
  '/db/url': 'jdbc:x',
  '/db/user': 'app',
  '/db/empty': '',
  '/db/pool/min': '1',
  '/db/pool/max': '10',
  '/spaces': 'x  ',
  '/flag': 'true',
  '/n': '7',
  '/up/b': '10.0.0.2',
  '/up/a': '10.0.0.9',
  '/up/c': '10.0.0.1',
  '/up/x/y': 'deep',
  '/csv': 'a,b,c',
  '/upper/ｚ': 'bmp',
  '/upper/😀': 'astral',
  '/json':
    '{"b":1e7,"a":1.10,"n":12345678901234567890,"i":5,"l":[1,{"x":"y"}],"s":"1e7","t":true,"z":null,"__proto__":{"q":"w"}}',
  '/array': '["x",2,3.0]',
}

t.test('helpers, with confd’s meaning', async (t) => {
  const rows: [string, string][] = [
    ['{{getv "/db/url"}}', 'jdbc:x'],
    ['[{{getv "/db/empty" "d"}}]', '[]'],
    ['{{getv "/no" "d"}}', 'd'],
    ['{{getv "/no" (getv "/n")}}', '7'],
    ['{{getv "/n" (getv "/no")}}', '7'],
    ['[{{getv "/spaces"}}]', '[x  ]'],
    ['{{{getv "/db/url"}}}', 'jdbc:x'],
    ['{{getv "/db"  "none"}}', 'none'],
    ['{{#with (get "/db/url")}}{{key}}={{value}}{{/with}}', '/db/url=jdbc:x'],
    ['{{exists "/db/url"}} {{exists "/db"}} {{exists "/db/empty"}}', 'true false true'],
    [
      '{{#each (gets "/up/*")}}{{key}}={{value};{{/each}}'.replace('{{value}', '{{value}}'),
      '/up/a=10.0.0.9;/up/b=10.0.0.2;/up/c=10.0.0.1;',
    ],
    [
      '{{#each (gets "/up/*") as |kv i|}}{{i}}{{base kv.key}}{{#unless @last}},{{/unless}}{{/each}}',
      '0a,1b,2c',
    ],
    ['{{join (getvs "/up/*") " "}}', '10.0.0.1 10.0.0.2 10.0.0.9'],
    ['{{join (getvs "/no/*") " "}}|{{len (gets "/no/*")}}', '|0'],
    ['{{#each (gets "/no/*")}}x{{else}}none{{/each}}', 'none'],
    ['{{#each (gets "/upper/*")}}{{value}} {{/each}}', 'bmp astral '],
    ['{{join (ls "/db") ","}} {{join (ls "/db/") ","}}', 'empty,pool,url,user empty,pool,url,user'],
    ['{{join (ls "/db/url") ","}}', 'url'],
    ['{{len (ls "/nothing")}}', '0'],
    ['{{join (lsdir "/up") ","}} {{join (lsdir "/") ","}}', 'x db,up,upper'],
    ['{{join (ls "/up/x") ","}}', 'y'],
    ['{{base "/a/b"}} {{base "/a/b/"}} {{base ""}} {{base "/"}} {{base "a"}}', 'b b . / a'],
    [
      '{{dir "/a/b"}} {{dir "/a/"}} {{dir ""}} {{dir "a"}} {{dir "/a"}} {{dir "/a//b/../c"}}',
      '/a /a . . / /a',
    ],
    [
      '{{len (split "a,b,c" ",")}} {{join (split "héé" "") "|"}} {{len (split "" ",")}} {{join (split "a--b" "-") "|"}}',
      '3 h|é|é 1 a||b',
    ],
    ['{{join (seq 1 3) "+"}}', '1+2+3'],
    ['{{contains "seafood" "foo"}} {{contains "a" ""}} {{contains "a" "b"}}', 'true true false'],
    ['{{trimSuffix "a.cfg" ".cfg"}} {{trimSuffix "a" "b"}} {{trimSuffix "a" ""}}', 'a a a'],
    [
      '{{replace "oink oink oink" "k" "ky" 2}} {{replace "oink oink" "oink" "moo" -1}} {{replace "ab" "" "-" -1}} {{replace "ab" "" "-" 2}} {{replace "ab" "b" "$&" 1}} {{replace "a" "a" "b" 0}}',
      'oinky oinky oink moo moo -a-b- -a-b a$& a',
    ],
    ['{{toUpper "aß€é"}} {{toLower "ÀBC"}}', 'Aß€É àbc'],
    [
      '{{#with (map "a" 1 "b" (getv "/n"))}}{{a}}{{b}}{{/with}} {{index (map "x-y" "z") "x-y"}} {{len (map)}}',
      '17 z 0',
    ],
    [
      '{{getenv "HOME"}} {{getenv "EMPTY" "d"}} {{getenv "NO" "d"}} [{{getenv "NO"}}]',
      '/root d d []',
    ],
    [
      '{{add 1 2}} {{sub 1 2}} {{mul 3 4}} {{div 7 2}} {{div -7 2}} {{mod 7 3}} {{mod -7 3}} {{div -1 2}}',
      '3 -1 12 3 -3 1 -1 0',
    ],
    ['{{join (seq 3 5) ","}} {{len (seq 5 3)}} {{len (seq 2 2)}}', '3,4,5 0 1'],
    ['{{add (atoi (getv "/n")) 1}} {{atoi "-007"}} {{atoi "+5"}} {{atoi "-0"}}', '8 -7 5 0'],
    ['{{parseBool "T"}} {{parseBool "0"}} {{parseBool "False"}}', 'true false false'],
    ['{{#if (parseBool (getv "/flag"))}}on{{else}}off{{/if}}', 'on'],
    ['{{#if "false"}}on{{/if}}', 'on'],
    [
      '{{join (reverse (split "a,b,c" ",")) ","}} {{#each (reverse (gets "/up/*"))}}{{base key}}{{/each}}',
      'c,b,a cba',
    ],
    [
      '{{join (sortByLength (split "ccc,a,bb,d" ",")) ","}} {{#each (sortKVByLength (gets "/db/*"))}}{{base key}} {{/each}}',
      'a,d,bb,ccc url user empty ',
    ],
    ['{{base64Encode "hé"}} {{base64Decode "aMOp"}} {{base64Decode ""}}', 'aMOp hé '],
    [
      '{{#with (json (getv "/json"))}}{{a}} {{b}} {{n}} {{i}} {{s}} {{t}} {{index (index l 1) "x"}}{{/with}}',
      '1.10 1e7 12345678901234567890 5 1e7 true y',
    ],
    ['{{#each (json (getv "/json"))}}{{@key}} {{/each}}', '__proto__ a b i l n s t z '],
    ['{{join (jsonArray (getv "/array")) " "}}', 'x 2 3.0'],
    ['{{#each (jsonArray "[]")}}x{{/each}}', ''],
    [
      '{{eq "a" "a"}} {{eq "a" "b" "a"}} {{ne 1 2}} {{eq true (exists "/n")}}',
      'true true true true',
    ],
    [
      '{{lt 1 2}} {{lt "10" "9"}} {{le 2 2}} {{gt 2 1}} {{ge 1 2}} {{gt "b" "a"}}',
      'true true true true false true',
    ],
    [
      '{{and "a" "" "b"}}|{{and "a" "b"}}|{{or "" 0 "c"}}|{{or "" "" }}|{{not ""}}|{{not (gets "/no/*")}}',
      '|b|c||true|true',
    ],
    ['{{len "hé"}} {{len (gets "/up/*")}}', '3 3'],
    ['{{index (split "a,b" ",") 1}} {{index (split "a,b" ",") 0}} {{index "abc" 0}}', 'b a 97'],
    [
      '{{printf "%s-%d|%5d|%-5d|%05d|%x|%X|%q|%t|%v|%%|%5.1f|%+d|%c|%o|%b|%08.3f|%e" "a" 1 2 3 4 255 255 "q\\"" true "v" 3.14159 5 65 8 5 3.14159 12345.678}}'.replace(
        '\\"',
        "'",
      ),
      `a-1|    2|3    |00004|ff|FF|"q'"|true|v|%|  3.1|+5|A|10|101|0003.142|1.234568e+04`,
    ],
    ['{{printf "%-4s|%4s|%.2s|%x|%3d%%" "é" "é" "éab" "hi" 5}}', 'é   |   é|éa|6869|  5%'],
    ['{{fileExists "/etc/passwd"}} {{fileExists "/no"}}', 'true false'],
    ['{{datetime}}', '2024-03-05T14:07:09.042Z'],
    [
      '{{datetime "Mon Jan 2 15:04:05 MST 2006 03PM 01/02/06 January Monday .000"}}',
      'Tue Mar 5 14:07:09 UTC 2024 02PM 03/05/24 March Tuesday .042',
    ],
    ['{{{{raw}}}}{{name}} {{{{/raw}}}}x', '{{name}} x'],
    ['C:\\\\{{getv "/n"}}', 'C:\\7'],
    ['{"a":{"b":{{getv "/n"}} }}', '{"a":{"b":7 }}'],
    ['a=<&>"\'`', 'a=<&>"\'`'],
    ['{{! no }}{{!-- {{x}} --}}a', 'a'],
    ['{{#each (split "a,b" ",")}}{{@index}}{{this}}{{@first}}{{/each}}', '0atrue1bfalse'],
    ['{{#if (and (exists "/no") (eq (getv "/no") "x"))}}a{{else}}b{{/if}}', 'b'],
    ['{{#if (exists "/no")}}{{getv "/no"}}{{else}}-{{/if}}', '-'],
    [
      '{{#each (gets "/up/*")}}{{#if (eq key "/up/b")}}{{../this}}{{/if}}{{/each}}'.replace(
        '{{../this}}',
        '{{value}}',
      ),
      '10.0.0.2',
    ],
  ]
  const world = {
    env: { HOME: '/root', EMPTY: '' },
    now: () => new Date('2024-03-05T14:07:09.042Z'),
    fileExists: (path: string) => path === '/etc/passwd',
  }
  for (const [source, wanted] of rows) {
    try {
      t.equal(one(source, keys, world), wanted, source)
    } catch (error) {
      t.fail(`${source}: ${(error as Error).message}`)
    }
  }
})

t.test('helpers refuse what they cannot mean, without showing values', async (t) => {
  const secret = { ...keys, '/secret': 'hunter2hunter2' }
  const rows: [string, RegExp][] = [
    ['{{atoi (getv "/secret")}}', /atoi: .*whole number/],
    ['{{atoi " 1"}}', /atoi/],
    ['{{atoi "1e3"}}', /atoi/],
    ['{{atoi "9007199254740993"}}', /2\^53/],
    ['{{parseBool (getv "/secret")}}', /parseBool/],
    ['{{parseBool "true "}}', /parseBool/],
    ['{{json (getv "/secret")}}', /json/],
    ['{{json "[]"}}', /object/],
    ['{{jsonArray "{}"}}', /array/],
    ['{{base64Decode (getv "/secret")}}', /base64/],
    ['{{base64Decode "/w=="}}', /UTF-8/],
    ['{{add "1" 2}}', /add: needs a whole number, got a string/],
    ['{{div 1 0}}', /zero/],
    ['{{mod 1 0}}', /zero/],
    ['{{mul 9007199254740991 2}}', /2\^53/],
    ['{{add 1.5 1}}', /whole/],
    ['{{eq (getv "/n") 7}}', /cannot compare a string with a number/],
    ['{{lt "a" 1}}', /order/],
    ['{{lt true false}}', /order/],
    ['{{map "a"}}', /pairs/],
    ['{{map 1 2}}', /string/],
    ['{{seq 1 1000000000}}', /at most/],
    ['{{join "a" ","}}', /list/],
    ['{{index (split "a" ",") 1}}', /no item 1/],
    ['{{index (map "a" 1) "b"}}', /no "b"/],
    ['{{len 5}}', /length/],
    ['{{gets "/[a"}}', /malformed/],
    ['{{getv "n"}}', /begin with \//],
    ['{{printf "%d" "a"}}', /%d cannot print a string/],
    ['{{printf "%d"}}', /more verbs/],
    ['{{printf "a" 1}}', /more arguments/],
    ['{{printf "%z" 1}}', /%z/],
    ['{{printf "%"}}', /middle/],
    ['{{printf "%99999d" 1}}', /width/],
    ['{{printf "%s" (gets "/up/*")}}', /a list/],
    ['{{gets "/up/*"}}', /a list to print/],
    ['{{get "/n"}}', /a map to print/],
    ['{{#with (json (getv "/json"))}}{{z}}{{/with}}', /nothing to print/],
    ['{{#with (get "/n")}}{{valeu}}{{/with}}', /nothing to print/],
    ['{{#with (get "/n")}}{{toString}}{{constructor}}{{__proto__}}{{/with}}', /nothing/],
    ['{{#each (getv "/csv")}}x{{/each}}', /each needs a list or a map, got a string/],
    ['{{getenv "HOME"}}', /environment variables/],
    ['{{fileExists "/x"}}', /not known/],
    ['{{sortByLength (seq 1 2)}}', /string/],
    ['{{sortKVByLength (split "a" ",")}}', /string/],
    ['{{contains "a" 1}}', /string/],
  ]
  for (const [source, pattern] of rows) {
    const error = failure(() => one(`\n\n${source}`, secret))
    t.equal(error.code, 'INPUT_INVALID', source)
    t.match(error.message, pattern, source)
    t.match(error.message, /^templates\/a\.hbs:3: /, source)
    t.notMatch(`${error.message}${error.hint}`, /hunter2/, source)
  }
})

t.test('what a template may not say is told with its line, all at once', async (t) => {
  const rows: [string, RegExp][] = [
    ['{{getvv "/n"}}', /no helper "getvv": did you mean getv/],
    ['{{foo}}', /no helper "foo"; keys are read with/],
    ['{{foo.bar}}', /"foo.bar"/],
    ['{{db/url}}', /"db\/url"/],
    ['{{this}}', /"this"/],
    ['{{range "x"}}', /Go template syntax: write \{\{#each/],
    ['{{end}}', /Go template syntax/],
    ['{{constructor}}', /no helper "constructor"/],
    ['{{$x}}', /Go template syntax/],
    ['{{#if foo}}x{{/if}}', /"foo"/],
    ['{{#gets "/x"}}y{{/gets}}', /write \{\{#each \(gets/],
    ['{{#fi true}}{{/fi}}', /did you mean if/],
    ['{{#if}}{{/if}}', /takes 1 argument, got 0/],
    ['{{#if true x=1}}{{/if}}', /name=value/],
    ['{{getv}}', /getv takes 1 or 2 arguments, got 0/],
    ['{{getv "/a" "b" "c"}}', /got 3/],
    ['{{exists "/a" "b"}}', /exists takes 1 argument, got 2/],
    ['{{eq "a"}}', /2 or more/],
    ['{{getv "/a" default="x"}}', /name=value/],
    ['{{log "x"}}', /"log"/],
    ['{{lookup "x" "y"}}', /"lookup"/],
    ['{{helperMissing}}', /helperMissing/],
    ['{{> none}}', /no partial none/],
    ['{{> (getv "/n")}}', /computed/],
    ['{{#> a}}{{/a}}', /partial blocks/],
    ['{{#*inline "x"}}{{/inline}}', /inline partials/],
    ['{{* x}}', /decorators/],
    ['C:\\{{getv "/n"}}', /no value/],
    ['{{"x"}}', /constant/],
    ['{{eq null "a"}}', /null is not a value/],
    ['{{@root}}', /@root/],
    ['{{#each (seq 1 2)}}{{@root.x}}{{/each}}', /@root/],
    ['{{#each (seq 1 2) as |len|}}{{/each}}', /block parameter/],
    ['{{getv "/n"', /syntax error/],
    ['{{#if true}}', /syntax error|close/i],
    ['{{#if true}}{{/each}}', /if doesn't match each/],
    ['{"a":{"b":{{getv "/n"}}}}', /syntax error/],
    ['{{lookupIP "x"}}', /lookupIP/],
    ['{{> a.hbs}}', /includes itself/],
  ]
  for (const [source, pattern] of rows) {
    const error = failure(() => one(`x\n${source}\n`, keys))
    t.equal(error.code, 'INPUT_INVALID', source)
    t.match(error.message, pattern, source)
    if (!source.startsWith('{{> a.hbs'))
      t.match(error.message, /^templates\/a\.hbs:[234]: /, source)
  }
  const error = failure(() =>
    renderAll({
      templates: templates({
        'a.hbs': '{{fo}}\n{{getv}}',
        'b.hbs': '{{#if',
        'c.hbs': '{{getv "/no"}}',
      }),
      snapshot: new Map(),
      environment: 'test',
    }),
  )
  t.match(
    error.message.split('\n').map((line) => line.split(': ')[0]),
    [
      'key /no is missing in test (templates/c.hbs:1)',
      'templates/a.hbs:1',
      'templates/a.hbs:2',
      /templates\/b\.hbs:1/,
    ],
  )
})

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
