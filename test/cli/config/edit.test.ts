import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { makeKey } from '../../../src/config/rules/encryption.ts'
import { runHere } from '../../support/program.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const FILES = {
  'crosscloud.yml': `
app: webapi
environments:
  test: { image: r.example/webapi, config: 'file:config/test.yaml' }
  staging: { image: r.example/webapi, config: 'file:config/staging.yaml', from: test }
`,
  'config/test.yaml': 'webapi:\n  greeting: hello\n  pool: "5"\n  db:\n    password: old-word\n',
}
const TAG_KEY = 'a key that makes tags'

async function project(t: Test) {
  const folder = await temporaryFolder(t)
  for (const [path, text] of Object.entries(FILES)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const run = async (args: readonly string[], input: unknown) => {
    const text = typeof input === 'string' ? input : JSON.stringify(input)
    const ran = await runHere(['config', ...args, '--env', 'test', '--json'], {
      cwd: folder,
      input: text,
      variables: { CROSSCLOUD_CONFIG_KEY: makeKey('k1') },
    })
    return { ...ran, json: ran.stdout === '' ? {} : JSON.parse(ran.stdout) }
  }
  return {
    edit: (changes: unknown, more: object = {}, args: readonly string[] = []) =>
      run(['edit', '--yes', ...args], { changes, ...more }),
    raw: (text: string) => run(['edit'], text),
    list: () => run(['list', '--tags'], TAG_KEY),
    text: () => readFile(join(folder, 'config/test.yaml'), 'utf8'),
    history: () => run(['history'], ''),
  }
}

t.test('several keys are changed together, and recorded as one change', async (t) => {
  const { edit, text, history } = await project(t)
  const done = await edit(
    [
      { key: '/webapi/pool', value: '20', was: '5' },
      { key: '/webapi/greeting', delete: true },
      { key: '/webapi/new', value: ' x'.trim(), was: null },
    ],
    {},
    ['--reason', 'more load'],
  )
  t.match(done, { code: 0, json: { moved: [], change: String } }, done.stderr)
  t.match(done.json.changes, [
    { key: '/webapi/pool', secret: false, before: '"5"', after: '"20"' },
    { key: '/webapi/greeting', after: 'absent' },
    { key: '/webapi/new', before: 'absent', after: '"x"' },
  ])
  t.notMatch(await text(), /greeting/)
  const { changes } = (await history()).json
  t.equal(changes.length, 1)
  t.match(changes[0], { by: 'li', reason: 'more load' })
})

t.test('a key that is not what was seen: who changed it, and nothing is written', async (t) => {
  const { edit, text } = await project(t)
  await edit([{ key: '/webapi/pool', value: '20' }], {}, ['--reason', 'first'])
  const before = await text()
  const late = await edit([
    { key: '/webapi/greeting', value: 'good morning' },
    { key: '/webapi/pool', value: '30', was: '5' },
  ])
  t.equal(late.code, 1)
  t.match(late.json.error, { code: 'CONFLICT', message: /\/webapi\/pool is "20" now, by li at 20/ })
  t.match(late.json.moved, [{ key: '/webapi/pool', now: '"20"', by: 'li', reason: 'first' }])
  t.equal(await text(), before)
  const unknown = await edit([{ key: '/webapi/greeting', value: 'x', was: null }])
  t.match(unknown.json.moved, [{ key: '/webapi/greeting', by: null }], 'it was never recorded')
})

t.test('tags stand for values, of secrets too; the set has one as well', async (t) => {
  const { edit, list, text } = await project(t)
  const listed = await list()
  const [password] = listed.json.items
  t.match(password, { key: '/webapi/db/password', secret: true, value: null, tag: /^[\w-]{32}$/ })
  t.notMatch(listed.stdout, /old-word/)
  const set = (value: string, more: object) =>
    edit([{ key: '/webapi/db/password', value, ...more }], { tagKey: TAG_KEY })
  const guess = await set('new-word', { was: 'old-word' })
  t.match(guess, { code: 2, stderr: /which no text is compared with/ }, 'guesses are not answered')
  const done = await set('new-word', { tag: password.tag })
  t.match(done, { code: 0 }, done.stderr)
  t.notMatch(done.stdout + done.stderr, /(old|new)-word/)
  t.match(done.json.changes, [{ secret: true, before: /^\(secret/, after: /encrypted\)$/ }])
  t.match(await text(), /password: enc:v1:k1:/)
  t.match(await set('third-word', { tag: password.tag }), { code: 1 })
  const pool = [{ key: '/webapi/pool', value: '6' }]
  const stale = await edit(pool, { tagKey: TAG_KEY, ifMatch: listed.json.etag })
  t.match(stale, { code: 1, json: { moved: [{ key: '/webapi/pool', now: '"5"' }] } })
  const { etag } = (await list()).json
  t.match(await edit(pool, { tagKey: TAG_KEY, ifMatch: etag }), { code: 0 })
})

t.test('a plan writes nothing', async (t) => {
  const { edit, text } = await project(t)
  const before = await text()
  const plan = await edit([{ key: '/webapi/pool', value: '9' }], {}, ['--plan'])
  t.match(plan, { code: 0, json: { changes: [{ before: '"5"', after: '"9"' }] } })
  t.equal(await text(), before)
})

t.test('what the rules refuse is not written, nor cut into shape', async (t) => {
  const { edit, raw, text } = await project(t)
  const before = await text()
  const pool = (value: unknown, more: object = {}) => [{ key: '/webapi/pool', value, ...more }]
  for (const [changes, reason] of [
    [pool('5 '), /ends with white space \(U\+0020 at character 2\)/],
    [pool('db.staging.example.com'), /names the environment staging/],
    [pool('5', { delete: true }), /either value or delete/],
    [pool(undefined), /either value or delete/],
    [pool(5), /value/],
    [[...pool('6'), ...pool('7')], /more than once/],
    [[{ key: 'webapi', value: '6' }], /is not a key/],
    [[{ key: '/webapi/../pool', value: '6' }], /segment/],
    [[], /is empty/],
    [pool('enc:v1:k1:abc'), /encrypted already/],
  ] as const) {
    const ran = await edit(changes)
    t.match(ran, { code: 2, stderr: reason }, JSON.stringify(changes))
  }
  t.match(await raw('{'), { code: 2, stderr: /no JSON/ })
  t.equal(await text(), before)
})
