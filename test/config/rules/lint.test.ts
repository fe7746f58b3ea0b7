import t from 'tap'
import { type LintedEnvironment, lint, lintValue } from '../../../src/config/rules/lint.ts'

function environment(
  name: string,
  values: Record<string, string>,
  more: Partial<LintedEnvironment> = {},
): LintedEnvironment {
  return {
    name,
    values: new Map(Object.entries(values)),
    sealed: new Set(),
    locked: new Map(),
    isSecret: (key) => key.endsWith('password'),
    canSeal: false,
    used: undefined,
    problems: [],
    ...more,
  }
}

const findings = (...environments: LintedEnvironment[]) =>
  lint(environments).map((one) => `${one.environment} ${one.key} ${one.rule}`)

t.test('a character that is invisible in an editor is found, with its place', async (t) => {
  const table: [value: string, rules: string[], where?: RegExp][] = [
    ['jdbc:mysql://db/webapi', []],
    ['a b', []],
    ['two\nlines', []],
    ['中文 ok', []],
    ['x ', ['outer-space'], /U\+0020 at character 2/],
    [' x', ['outer-space'], /at character 1/],
    ['x\n', ['outer-space'], /U\+000A/],
    ['a\tb', ['tab']],
    ['a\u00a0b', ['odd-space'], /U\+00A0 at character 2/],
    ['a\u3000b', ['odd-space']],
    ['a\u3000', ['outer-space', 'odd-space']],
    ['😀\u200bb', ['invisible'], /U\+200B at character 2/],
    ['\ufeffa', ['outer-space', 'invisible']],
    ['a\u202eb', ['invisible']],
    ['１２３', ['full-width'], /U\+FF11/],
    ['ａ：ｂ', ['full-width']],
    ['a\rb', ['carriage-return']],
    ['a\u0007b', ['control']],
    ['', ['empty']],
  ]
  for (const [value, expected, where] of table) {
    const found = lintValue(value)
    t.same(
      found.map(({ rule }) => rule),
      expected,
      JSON.stringify(value),
    )
    if (where) t.match(found.map(({ text }) => text).join(), where)
  }
  t.notMatch(JSON.stringify(lint([environment('test', { '/a': 'sentinel ' })])), 'sentinel')
})

t.test('a value that names or repeats another environment is found', async (t) => {
  const test = environment('test', {
    '/url': 'https://db.test.example.com',
    '/shared': 'https://one.example.com',
    '/pool': '5',
    '/password': 'same',
    '/host': '10.0.0.1',
    '/latest': 'the latest news',
  })
  const staging = environment('staging', {
    '/url': 'https://db.test.example.com/x',
    '/shared': 'https://one.example.com',
    '/pool': '5',
    '/password': 'same',
    '/host': '10.0.0.1',
    '/latest': 'the latest news',
  })
  t.same(findings(test, staging), [
    'staging /host equal',
    'staging /password equal',
    'staging /shared equal',
    'staging /url other-environment',
  ])
  const preTest = environment('pre-test', { '/url': 'https://db.test.example.com' })
  t.same(findings(environment('test', {}), preTest), [], 'its own name holds the other')
})

t.test('unused keys, secrets in clear and locked values are found', async (t) => {
  const one = environment(
    'test',
    { '/used': 'a', '/stale': 'b', '/db/password': 'clear', '/sealed/password': 'x' },
    {
      used: new Set(['/used', '/db/password', '/sealed/password']),
      sealed: new Set(['/sealed/password']),
      locked: new Map([['/locked', 'its key is not here']]),
      canSeal: true,
      problems: ['key /a is missing in test (templates/x:1)'],
    },
  )
  t.same(findings(one), [
    'test undefined incomplete',
    'test /db/password plain-secret',
    'test /locked locked',
    'test /stale unused',
  ])
  t.same(findings(environment('test', { '/db/password': 'clear' })), [], 'no key, no complaint')
})
