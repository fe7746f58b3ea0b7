import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { makeKey } from '../../src/config/rules/encryption.ts'
import { openSqliteLedger } from '../../src/ledger/database/sqlite.ts'
import { type ProgramOptions, runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

const SETTINGS = `
app: webapi
environments:
  test: { image: r.example/webapi, config: 'file:config/test.yaml' }
  staging: { image: r.example/webapi, config: 'file:config/staging.yaml', from: test }
`
const FILES = {
  'crosscloud.yml': SETTINGS,
  'config/test.yaml': 'webapi:\n  greeting: hello # from test\n  db:\n    url: jdbc:test\n',
  'config/staging.yaml': 'webapi:\n  greeting: hello\n',
  'deploy/conf.d/a.toml': '[template]\nsrc = "a"\ndest = "/etc/a"\nprefix = "/webapi"\n',
  'deploy/templates/a':
    'greeting={{getv "/greeting"}}\nurl={{getv "/db/url"}}\npw={{getv "/db/password" ""}}\n',
}

async function project(t: Test, more: Record<string, string> = {}) {
  const folder = await temporaryFolder(t)
  const files: Record<string, string> = { ...FILES, ...more }
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const config = (line: string | readonly string[], options: Partial<ProgramOptions> = {}) =>
    runHere(['config', ...(typeof line === 'string' ? line.split(' ') : line)], {
      cwd: folder,
      ...options,
    })
  const text = (path: string) => readFile(join(folder, path), 'utf8')
  return { folder, config, text }
}

t.test('values are shown, set and removed; who and why is recorded', async (t) => {
  const { config, text } = await project(t)
  t.match(await config('list --env test /webapi'), {
    code: 0,
    stdout: '/webapi/db/url = "jdbc:test"\n/webapi/greeting = "hello"\n',
  })
  t.match(await config('get --env test /webapi/greeting'), { code: 0, stdout: 'hello\n' })
  t.match(await config('get --env test /webapi/nothing'), { code: 1, stderr: /is not in file:/ })
  t.match(await config('get /webapi/greeting'), { code: 2, stderr: /--env is required/ })
  t.match(await config('get --env test webapi'), { code: 2, stderr: /"webapi" is not a key/ })

  const set = ['set', '--env', 'test', '/webapi/greeting', 'good morning', '--reason', 'kinder']
  const questions: string[] = []
  const refused = await config(set, { confirm: (question) => questions.push(question) < 0 })
  t.match(refused, { code: 1, stderr: /nothing was changed/ })
  t.match(refused.stdout, '/webapi/greeting: "hello" → "good morning"')
  t.same(questions, ['Change this key in test?'])
  t.match(await text('config/test.yaml'), 'greeting: hello # from test')

  t.match(await config(set, { confirm: () => true }), { code: 0, stdout: /recorded as \S+\./ })
  t.match(await text('config/test.yaml'), 'greeting: good morning # from test')
  t.match(await config(set), { code: 0, stdout: 'Nothing to change.\n' })
  const expect = (value: string) =>
    config(['set', '--env', 'test', '/webapi/greeting', 'x', '--expect', value])
  t.match(await expect('hello'), { code: 1, stderr: /not what was expected/ })
  t.match(await expect('good morning'), { code: 0 })
  t.match(await config('unset --env test /webapi/db/url'), { code: 0 })
  t.match(await config('unset --env test /webapi/db/url'), { code: 1, stderr: /is not in/ })

  const history = await config('history --env test')
  t.match(history.stdout, /li: kinder\n {2}\/webapi\/greeting: "hello" → "good morning"/)
  t.match(
    history.stdout,
    /^\S+ {2}.*li\n {2}\/webapi\/db\/url: "jdbc:test" → absent/,
    'newest first',
  )
  const one = JSON.parse((await config('history --env test /webapi/db/url --json')).stdout)
  t.equal(one.changes.length, 1)
  t.match(one.changes[0], { by: 'li', changes: [{ key: '/webapi/db/url', after: 'absent' }] })
})

t.test('a value with invisible characters is refused', async (t) => {
  const { config } = await project(t)
  for (const [value, why] of [
    ['jdbc:x ', /ends with white space \(U\+0020 at character 7\)/],
    ['a\u200bb', /invisible character \(U\+200B at character 2\)/],
    ['a\u00a0b', /not the ordinary one/],
  ] as const) {
    const set = ['set', '--env', 'test', '/webapi/db/url', value]
    t.match(await config(set), { code: 2, stderr: why })
    t.match(await config([...set, '--as-is']), { code: 0 })
  }
  const piped = await config(['set', '--env', 'test', '/webapi/db/url', '-'], { input: 'in\n' })
  t.match(piped, { code: 0, stdout: /→ "in"/ })
})

t.test('a change is undone, and an older revision is restored', async (t) => {
  const { config } = await project(t)
  const get = async (key: string) => (await config(['get', '--env', 'test', key])).stdout.trim()
  const set = (key: string, value: string) => config(['set', '--env', 'test', key, value, '--json'])
  const ids: string[] = []
  for (const [key, value] of [
    ['/webapi/greeting', 'one'],
    ['/webapi/db/url', 'jdbc:two'],
    ['/webapi/greeting', 'three'],
    ['/webapi/new', 'four'],
  ] as const) {
    ids.push(JSON.parse((await set(key, value)).stdout).change)
  }
  t.match(await config('rollback --env test /webapi/greeting'), { code: 0 })
  t.equal(await get('/webapi/greeting'), 'one', 'the last change of a key')
  t.match(await config(['rollback', '--env', 'test', '--to', ids[0] ?? '']), { code: 0 })
  t.equal(await get('/webapi/greeting'), 'one')
  t.equal(await get('/webapi/db/url'), 'jdbc:test')
  t.equal(await get('/webapi/new'), '')
  t.match(await config('rollback --env test'), { code: 0 }, 'a rollback can be undone')
  t.equal(await get('/webapi/new'), 'four')
  t.match(await config('rollback --env test --to nothing'), {
    code: 1,
    stderr: /nothing is not one/,
  })
  t.match(await config('rollback --env staging'), { code: 1, stderr: /no change of staging/ })
  t.match(await config('rollback --env test --to sha256:00'), {
    code: 1,
    stderr: /not in the ledger/,
  })
})

t.test('environments are compared, and keys that one lacks are copied', async (t) => {
  const { config, text } = await project(t)
  const diff = await config('diff test staging')
  t.match(diff.stdout, /\/webapi\/db\/url +"jdbc:test" +absent/)
  t.notMatch(diff.stdout, 'greeting')
  t.match(JSON.parse((await config('diff test staging --json')).stdout), {
    differences: [{ key: '/webapi/db/url', kind: 'left-only', left: '"jdbc:test"', right: null }],
  })
  await config(['set', '--env', 'test', '/webapi/token', 'sentinel-token'])
  const promoted = await config('promote-keys test staging')
  t.match(promoted, { code: 0, stdout: /\/webapi\/db\/url: absent → "jdbc:test"/ })
  t.match(promoted.all, /\/webapi\/token is a secret: set it in staging by hand/)
  t.match(await text('config/staging.yaml'), 'url: jdbc:test')
  t.match(await config('diff test staging --json'), { stdout: /left-only/ })
  t.match(await config('promote-keys test staging'), { stdout: /Nothing to change/ })
})

t.test('keys are exported to files and imported from them', async (t) => {
  const { folder, config } = await project(t)
  for (const format of ['yaml', 'json', 'properties']) {
    t.match(await config(`export --env test --out out.${format}`), {
      code: 0,
      stdout: `Wrote 2 keys to out.${format}.\n`,
    })
    t.equal((await stat(join(folder, `out.${format}`))).mode & 0o777, 0o600)
    const wipe = ['unset', '--env', 'staging', '/webapi/greeting']
    await config(wipe)
    t.match(await config(`import --env staging out.${format}`), { code: 0 }, format)
    t.match(await config('diff test staging'), { stdout: 'test and staging are the same.\n' })
  }
  await writeFile(
    join(folder, 'two.yaml'),
    'webapi: { greeting: other, more: x }\nelse: { a: b }\n',
  )
  const kept = await config('import --env test two.yaml --prefix /webapi --keep')
  t.match(kept.stdout, /\/webapi\/more: absent → "x"/)
  t.notMatch(kept.stdout, /greeting|else/)
  t.match(await config('import --env test nothing.yaml'), { code: 1, stderr: /nothing\.yaml/ })
  t.match(await config('export --env test --out a.txt'), { code: 2, stderr: /no format/ })
})

t.test('lint finds errors and warnings, and --strict fails for warnings', async (t) => {
  const { config } = await project(t, {
    'config/staging.yaml':
      'webapi:\n  greeting: "hello "\n  db: { url: "jdbc:db.test.example" }\n  stale: x\n',
  })
  const found = await config('lint --json')
  t.equal(found.code, 1)
  t.match(
    JSON.parse(found.stdout).findings.map(
      (one: { environment: string; key: string; rule: string }) =>
        `${one.environment} ${one.key} ${one.rule}`,
    ),
    [
      'staging /webapi/db/url other-environment',
      'staging /webapi/greeting outer-space',
      'staging /webapi/stale unused',
    ],
  )
  t.match(JSON.parse(found.stdout).error.message, 'the config has', 'and why it failed')
  t.match(await config('lint test'), { code: 0, stdout: /0 errors, 0 warnings in 1 environment/ })
  await config('unset --env test /webapi/greeting')
  t.match(await config('lint test'), {
    code: 1,
    stdout:
      /error: test key \/webapi\/greeting is missing in test \(templates\/a:1\) \[incomplete\]/,
  })
})

t.test('no command prints a secret', async (t) => {
  const keys = { test: makeKey('t1'), staging: makeKey('s1') }
  const variables = { TEST_KEY: keys.test, STAGING_KEY: keys.staging }
  const settings = SETTINGS.replace(
    "test.yaml' }",
    "test.yaml', config-key: '${TEST_KEY}' }",
  ).replace("staging.yaml',", "staging.yaml', config-key: '${STAGING_KEY}',")
  const schema =
    '/webapi/db/password: secret\n/webapi/pin: { type: string, pattern: "^[0-9]+$", secret: true }\n'
  const { folder, config, text } = await project(t, {
    'crosscloud.yml': settings,
    'deploy/config.schema.yaml': schema,
    'config/staging.yaml':
      'webapi: { greeting: hello, db: { url: u, password: sentinel-clear } }\n',
  })
  const said: string[] = []
  const go = async (line: string | readonly string[], code = 0) => {
    for (const json of [[], ['--json'], ['--verbose']]) {
      const words = typeof line === 'string' ? line.split(' ') : line
      const one = await config([...words, ...json], { variables })
      said.push(one.all)
      t.equal(one.code, code, `${words.join(' ')}: ${one.all}`)
    }
  }
  await go(['set', '--env', 'test', '/webapi/db/password', 'sentinel-one'])
  await go(['set', '--env', 'test', '/webapi/pin', 'sentinel-two'], 2)
  await go(['set', '--env', 'test', '/webapi/api-key', 'sentinel-three'])
  await go(['set', '--env', 'test', '/webapi/plain', 'sentinel-four', '--secret'])
  await go(['set', '--env', 'test', '/webapi/plain', 'sentinel-five'])
  t.match(await text('config/test.yaml'), /plain: enc:v1:t1:[\w-]+\n/, 'stays encrypted')
  await go('list --env test')
  await go('get --env test /webapi/db/password', 1)
  await go('history --env test')
  await go('diff test staging')
  await go('promote-keys test staging --with-secrets')
  await go('lint', 1)
  await go('seal --env staging')
  t.match(await text('config/staging.yaml'), /password: enc:v1:s1:/)
  await go('export --env test --out out.yaml')
  await go('export --env test')
  await go('import --env test out.yaml')
  await go('import --env staging out.yaml', 2)
  await go('rollback --env test /webapi/plain')
  const render = async (...args: string[]) => {
    const one = await runHere(['render-config', '--env', 'staging', ...args], {
      cwd: folder,
      variables,
    })
    said.push(one.all)
    t.equal(one.code, 0, one.all)
    return one
  }
  await render('--check')
  await mkdir(join(folder, 'old/etc'), { recursive: true })
  await writeFile(join(folder, 'old/etc/a'), 'greeting=hi\nurl=u\npw=sentinel-old\n')
  const diff = await render('--diff', 'old')
  t.match(diff.stdout, /\+greeting=hello\n(.*\n)*\+pw=\(secret [0-9a-f]{8}, encrypted\)/)
  await render('--out', 'new', '--json')
  t.equal(
    await text('new/etc/a'),
    'greeting=hello\nurl=u\npw=sentinel-clear\n',
    'but it is rendered',
  )
  t.match((await render('--diff', 'new')).stdout, 'Nothing differs.')
  const ledger = await openSqliteLedger(join(folder, '.crosscloud/ledger.db'))
  t.teardown(() => ledger.close())
  for (const file of ['.crosscloud/ledger.db', '.crosscloud/ledger.db-wal']) {
    said.push(await readFile(join(folder, file), 'latin1').catch(() => ''))
  }
  for (const path of ['config/test.yaml', 'config/staging.yaml', 'out.yaml'])
    said.push(await text(path))
  for (const one of said) {
    t.notMatch(one, /sentinel/)
    for (const key of Object.values(keys)) t.notOk(one.includes(key.slice(4)), 'no key')
  }
})

t.test('secrets are encrypted anew with a new key', async (t) => {
  const [old, young] = [makeKey('2025'), makeKey('2026')]
  const { config, text } = await project(t)
  const withKey = (line: string, key: string) =>
    config(line, { variables: { CROSSCLOUD_CONFIG_KEY: key } })
  await withKey('set --env test /webapi/db/password x1 --secret', old)
  t.match(await text('config/test.yaml'), 'enc:v1:2025:')
  t.match(await withKey('seal --env test', `${young}\n${old}`), { code: 0 })
  t.match(await text('config/test.yaml'), 'enc:v1:2026:')
  t.notMatch(await text('config/test.yaml'), 'enc:v1:2025:')
  t.match(await withKey('seal --env test', young), { stdout: /Nothing to change/ })
  const locked = await runHere(['render-config', '--env', 'test', '--check'], {
    cwd: (await project(t, { 'config/test.yaml': await text('config/test.yaml') })).folder,
    variables: { CROSSCLOUD_CONFIG_KEY: old },
  })
  t.match(locked, {
    code: 2,
    stderr: /key \/webapi\/db\/password in test cannot be decrypted: .*"2026".* \(templates\/a:3\)/,
  })
  t.match(await config('seal --env test'), { code: 2, stderr: /there is no key/ })
  t.match(await config('make-key k1'), { stdout: /^k1:[A-Za-z0-9+/]{43}=\n$/ })
  t.match(await config(['make-key', 'a b']), { code: 2 })
})
