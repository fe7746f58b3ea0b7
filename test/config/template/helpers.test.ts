import t from 'tap'

import { failure, keys, one, render, templates } from '../../support/data/templates.ts'

t.test('helpers have confd’s meaning', async (t) => {
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
      t.equal(await one(source, keys, world), wanted, source)
    } catch (error) {
      t.fail(`${source}: ${(error as Error).message}`)
    }
  }
})

t.test('helpers refuse arguments of the wrong kind, without showing values', async (t) => {
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
    const error = await failure(() => one(`\n\n${source}`, secret))
    t.equal(error.code, 'INPUT_INVALID', source)
    t.match(error.message, pattern, source)
    t.match(error.message, /^templates\/a\.hbs:3: /, source)
    t.notMatch(`${error.message}${error.hint}`, /hunter2/, source)
  }
})

t.test('all invalid syntax of a template is reported at once, with lines', async (t) => {
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
    ['{{lookupIP "x"}}', /the network is not asked here/],
    ['{{> a.hbs}}', /includes itself/],
  ]
  for (const [source, pattern] of rows) {
    const error = await failure(() => one(`x\n${source}\n`, keys))
    t.equal(error.code, 'INPUT_INVALID', source)
    t.match(error.message, pattern, source)
    if (!source.startsWith('{{> a.hbs'))
      t.match(error.message, /^templates\/a\.hbs:[234]: /, source)
  }
  const error = await failure(() =>
    render({
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
