import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import fc from 'fast-check'
import { stringify } from 'smol-toml'
import t from 'tap'
import { helpers } from '../../../src/config/template/language/helpers.ts'
import { renderAll } from '../../../src/config/template/render.ts'
import { readTemplates } from '../../../src/config/template/resources.ts'
import { type CompiledTemplate, compileTemplates } from '../../../src/config/template/templates.ts'
import { isStepError } from '../../../src/core/errors.ts'
import { type Files, templates } from '../../support/data/templates.ts'

const RUNS = Number(process.env.FC_RUNS ?? 2000)

const { letrec, oneof, constantFrom, constant, array, tuple } = fc
/** Templates as the grammar has them, of all our helpers and blocks. */
const grammatical = letrec<Record<'value' | 'call' | 'part' | 'text', string>>((tie) => ({
  value: oneof(
    { maxDepth: 3 },
    constantFrom('"/a"', '"/b"', '"/*"', '"/[', '1', '-3', '0', 'true', '""', '","', '"%s"'),
    constantFrom('"[1,2]"', '"{}"', '"/a/*"', 'this', 'key', '@index', '../this', '"localhost"'),
    tie('call'),
    tie('call'),
  ),
  call: tuple(constantFrom(...helpers.keys()), fc.nat({ max: 3 }), array(tie('value'))).map(
    ([name, more, values]) => {
      const [least = 0, most = 0] = helpers.get(name)?.arity ?? []
      const count = Math.min(most, least + (more % 2))
      const args = Array.from({ length: count }, (_, i) => values[i % values.length] ?? '"/a"')
      return `(${[name, ...args].join(' ')})`
    },
  ),
  part: oneof(
    { maxDepth: 3 },
    constantFrom('text\n', ' = ', '{{> _p}}', '{{> _q this}}', '{{!-- c --}}', '{{~"" ~}}'),
    tie('call').map((text) => `{{${text.slice(1, -1)}}}`),
    tuple(constantFrom('if', 'unless', 'each', 'with'), tie('value'), tie('text'), tie('text')).map(
      ([name, value, inside, other]) =>
        `{{#${name} ${value}}}${inside}{{else}}${other}{{/${name}}}`,
    ),
    tuple(tie('call'), tie('text')).map(
      ([call, text]) => `{{#each ${call} as |x i|}}{{x}}{{i}}{{this}}{{@key}}${text}{{/each}}`,
    ),
  ),
  text: array(tie('part'), { maxLength: 3 }).map((parts) => parts.join('')),
})).text
const pieces = constantFrom(
  ...'{{ }} {{{ {{#each {{#if {{/if}} {{/each}} {{else}} ( ) getv gets this @index ../ "/a" "/*" "/['.split(
    ' ',
  ),
  ...'\\ {{! {{> ~ . x= 1 -1 true null \n printf index json " _p __proto__ constructor eq map with'.split(
    ' ',
  ),
  ...[' ', ' as |a b|', '{{{{raw}}}}', '{{{{/raw}}}}', '|', '$print', '\0', '\u2028'],
)
const random = array(oneof(pieces, fc.string({ maxLength: 4, unit: 'binary' })), { maxLength: 14 })

t.test(
  'nothing but StepError ever comes out of random templates, and never too much',
  async (t) => {
    const source = oneof(
      grammatical,
      random.map((parts) => parts.join('')),
    )
    const values = fc.dictionary(
      constantFrom('/a', '/b', '/a/b', '/a/c', '/', 'x', '/__proto__'),
      oneof(fc.string(), constantFrom('{"a":[1]}', '[1,"x"]', '{{getv "/a"}}', 'true', '7')),
    )
    const partials = { '_p.hbs': 'p{{getv "/b" "-"}}', '_q.hbs': '{{#each this}}{{this}}{{/each}}' }
    const reasons = new Map<string, number>()
    let rendered = 0
    const check = (program: CompiledTemplate, text: string, found: Files) => {
      try {
        const { files } = renderAll({
          templates: [program],
          snapshot: new Map(Object.entries(found)),
          environment: 'x',
          env: {},
          fileExists: () => false,
          locked: new Map([['/a/c', 'no key']]),
        })
        const made = String(files[0]?.content)
        assert(made.length < 8 * 1024 * 1024)
        assert(!made.includes('[object Object]') || text.includes('[object'))
        rendered++
      } catch (error) {
        assert(isStepError(error, 'INPUT_INVALID'), error as Error)
        const odd = /Cannot read|is not a function|is not iterable|undefined|cannot be compiled/
        assert(!odd.test(error.message) || odd.test(text), error.message)
        const kind = error.message.replace(/^\S+ /, '').slice(0, 12)
        reasons.set(kind, (reasons.get(kind) ?? 0) + 1)
      }
    }
    // Ten at a time: what tap does for each promise takes longer than a template.
    const pairs = array(tuple(source, values), { minLength: 10, maxLength: 10 })
    await fc.assert(
      fc.asyncProperty(pairs, async (batch) => {
        const named = batch.map(([text], i) => [`t${i}.hbs`, text] as const)
        const programs = await compileTemplates(
          templates({ ...Object.fromEntries(named), ...partials }),
        )
        for (const [i, [text, found]] of batch.entries()) {
          const program = programs.find(({ resource }) => resource.template.endsWith(`/t${i}.hbs`))
          assert(program !== undefined)
          check(program, text, found)
        }
      }),
      { numRuns: RUNS / 10 },
    )
    t.comment(`${rendered} of ${RUNS} rendered, ${reasons.size} kinds of refusals`)
    t.ok(rendered > RUNS / 10, `${rendered} rendered`)
  },
)

t.test('no resource leads out of the destination, whatever its text', async (t) => {
  const path = oneof(
    constantFrom(
      '/etc/a',
      '/etc/a/b',
      'a',
      '/',
      '//',
      '/..',
      '/../x',
      '/a/../../x',
      '/a/./b',
      '/a/',
    ),
    constantFrom('/a\0b', '/a\nb', 'a.hbs', '../a.hbs', 'x/../a.hbs', 'x/../../a', '/a.hbs', '~/a'),
    array(constantFrom('/', '..', '.', 'a', '\0', '\\', '%2e%2e', '…', ' '), { maxLength: 8 }).map(
      (parts) => parts.join(''),
    ),
    fc.string({ unit: 'binary', maxLength: 8 }),
  )
  const value = oneof(path, fc.nat(), fc.boolean(), array(path, { maxLength: 3 }))
  const field = tuple(constantFrom('src', 'dest', 'keys', 'prefix', 'mode', 'uid', 'gid'), value)
  const sound = {
    src: constant('a.hbs'),
    dest: oneof(constantFrom('/etc/a', '/etc/a/b', '/a b'), path),
    keys: array(path, { maxLength: 3 }),
    prefix: path,
    mode: constantFrom('0644', '644', '0777', '4755'),
  }
  const fields = oneof(
    fc.record(sound, { requiredKeys: ['src', 'dest'] }),
    array(field).map((pairs) => Object.fromEntries(pairs)),
  )
  let read = 0
  fc.assert(
    fc.property(fields, (table) => {
      const files = new Map([
        ['conf.d/a.toml', Buffer.from(stringify({ template: table }))],
        ['templates/a.hbs', Buffer.from('x')],
      ])
      try {
        for (const { dest, template, mode, roots, prefix } of readTemplates(files)) {
          assert.equal(template, 'templates/a.hbs')
          assert(resolve('/root/out', `.${dest}`).startsWith('/root/out/'), dest)
          assert(!dest.includes('\0') && resolve(dest) === dest, dest)
          assert(mode <= 0o777)
          assert([prefix, ...roots].every((key) => key.startsWith('/')))
          read++
        }
      } catch (error) {
        assert(isStepError(error, 'INPUT_INVALID'), error as Error)
      }
    }),
    { numRuns: RUNS },
  )
  t.comment(`${read} of ${RUNS} resources were sound`)
  t.ok(read > RUNS / 100)
})
