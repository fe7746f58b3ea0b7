import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { toStepError } from '../../src/core/errors.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { readSettings, resolveEnvironment } from '../../src/settings.ts'
import { parseSettings } from '../support/data/settings.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

const read = (text: string, variables = {}) =>
  parseSettings(text, 'crosscloud.yml', variables, createSecrets())

/** A variable in every kind of place: texts, references, lists, maps, alternatives, durations. */
const LACKING = `app: webapi
war: { path: target/webapi.war, args: [-B, '-Ddb.password=\${DB}'] }
image: { base: scratch, webapp: '\${WEBAPP}' }
ledger: mysql://crosscloud:\${LEDGER}@db/crosscloud
identity: { issuer: '\${ISSUER}', audience: crosscloud, project: team/webapi }
container: { memory: '\${MEMORY}', ports: ['\${PORT}:8080'], env: { ZONE: '\${ZONE}' } }
environments:
  test:
    image: registry.test/webapi
    config: redis://:\${REDIS}@config-test/0
    hosts: { app-01: { address: 'tcp://\${HOST}:2376', certificates: certs } }
  staging:
    from: test
    image: \${REGISTRY}/webapi
    gate: { soak: '\${SOAK}' }
    container: { stop-timeout: '\${STOP}' }
`

t.test('a variable is needed only when a setting with it is used', async (t) => {
  const settings = await read(LACKING)
  const lacks = (use: () => unknown, line: number, name: string) =>
    t.throws(use, {
      code: 'INPUT_INVALID',
      message: `crosscloud.yml:${line} variable ${name} is not set`,
      hint: /^Set the variable where this runs: .* `crosscloud config check` lists all/,
    })
  t.equal(settings.app, 'webapi')
  t.equal(settings.war?.path, 'target/webapi.war')
  t.equal(settings.war?.args[0], '-B')
  lacks(() => [...(settings.war?.args ?? [])], 2, 'DB')
  lacks(() => settings.image?.webapp, 3, 'WEBAPP')
  lacks(() => settings.ledger, 4, 'LEDGER')
  lacks(() => JSON.stringify(settings.identity), 5, 'ISSUER')
})

t.test(
  'a job needs only the variables of its environment; missing ones are reported before anything changes',
  async (t) => {
    const folder = await temporaryFolder(t)
    const file = join(folder, 'crosscloud.yml')
    await writeFile(file, LACKING)
    const settings = await readSettings(file, {}, createSecrets())
    const [test, staging] = ['test', 'staging'].map((name) => resolveEnvironment(settings, name))
    t.match(test, { name: 'test', image: { name: 'webapi' }, containerName: 'webapi-test' })
    t.match(staging, { name: 'staging', from: 'test', config: undefined, hosts: [] })
    for (const [use, expected] of [
      [() => test?.config, 'variable REDIS is not set'],
      [() => test?.hosts, 'variable HOST is not set'],
      [() => test?.container, 'variable MEMORY is not set'],
      [() => staging?.image, 'variable REGISTRY is not set'],
      [() => staging?.gate?.soak, 'variable SOAK is not set'],
    ] as const) {
      t.throws(use, { message: new RegExp(expected) })
    }
    const some = { MEMORY: '1g', STOP: '5s', PORT: '80' }
    const known = await readSettings(file, some, createSecrets())
    t.throws(() => resolveEnvironment(known, 'staging').container, { message: /variable ZONE is/ })
  },
)

t.test('all missing variables of a text are reported together', async (t) => {
  const settings = await read('app: a\nledger: mysql://${USER}:${PW}@${DB:-db}/x\n')
  t.throws(() => settings.ledger, {
    message: 'crosscloud.yml:2 variable USER is not set\ncrosscloud.yml:2 variable PW is not set',
  })
  t.strictSame((await read('app: a\nledger: sqlite:${FILE:-x.db}\n')).ledger, {
    url: 'sqlite:x.db',
  })
})

t.test('a problem that has nothing to do with variables is reported at once', async (t) => {
  const wrong = [
    'app: webapi',
    'typo: ${A}',
    'war: ["${B}"]',
    'environments: { t: { url: "${C}" } }',
  ]
  await t.rejects(read(wrong.join('\n')), {
    message: [
      'crosscloud.yml:3 war is a list; write a map',
      'crosscloud.yml:4 environments.t.image is required',
      'crosscloud.yml:2 typo is not a known setting',
    ].join('\n'),
    hint: /^Correct these lines\. docs\/settings\.md/,
  })
})

async function place(t: Test, text: string) {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'crosscloud.yml'), text)
  return (args: string[], variables: Record<string, string> = {}) =>
    runHere(args, { cwd, variables })
}

t.test('config check lists every missing variable, with the settings that use it', async (t) => {
  const run = await place(t, LACKING)
  const lacking = await run(['config', 'check'], { LEDGER: 'open-sesame', ISSUER: '', REDIS: 'x' })
  t.equal(lacking.code, 2)
  t.match(lacking.stderr, 'crosscloud.yml:5 variable ISSUER is empty: identity.issuer')
  const named = [...lacking.stderr.matchAll(/variable (\w+) is not set/g)].map(([, name]) => name)
  t.strictSame(named, [
    ...['DB', 'WEBAPP', 'MEMORY', 'PORT', 'ZONE', 'HOST', 'REGISTRY', 'SOAK', 'STOP'],
  ])
  t.match(lacking.stdout, /LEDGER +is set +ledger/)
  t.notMatch(lacking.all, 'open-sesame')
  const names = [...LACKING.matchAll(/\$\{(\w+)\}/g)].map(([, name = '']) => name)
  const good = { PORT: '80', MEMORY: '1g', SOAK: '1h', STOP: '5s', WEBAPP: '/srv/web' }
  const all = Object.fromEntries(names.map((name) => [name, 'registry.test']))
  const issuer = { ISSUER: 'https://gitlab.test' }
  const { code, stdout } = await run(['config', 'check', '--json'], { ...all, ...good, ...issuer })
  t.equal(code, 0, stdout)
  t.match(JSON.parse(stdout).variables, [{ name: 'DB', state: 'set', settings: ['war.args.1'] }])
})

t.test('config check lists the variables that secrets of containers come from', async (t) => {
  const common = [
    'app: webapi',
    'container: { secrets: { licence: { environment: LICENCE }, db: { key: /db/password } } }',
    'environments:',
    '  test: { image: registry.test/webapi }',
    '  production:',
    '    image: registry.test/webapi',
    '    container: { secrets: { licence: { environment: LICENCE_OF_PRODUCTION } } }',
  ].join('\n')
  const run = await place(t, common)
  const lacking = await run(['config', 'check'], { LICENCE_OF_PRODUCTION: '' })
  t.equal(lacking.code, 2)
  t.match(
    lacking.stderr,
    'crosscloud.yml:2 variable LICENCE is not set: container.secrets.licence.environment',
  )
  t.match(lacking.stderr, /yml:7 variable LICENCE_OF_PRODUCTION is empty: environments\.production/)
  const given = { LICENCE: 'open-sesame', LICENCE_OF_PRODUCTION: 'open-sesame' }
  const { code, all } = await run(['config', 'check'], given)
  t.equal(code, 0, all)
  t.match(all, /LICENCE +is set +container\.secrets\.licence\.environment/)
  t.notMatch(all, 'open-sesame')
  const own = await place(t, common.replace(/ {2}test: .*\n/, ''))
  const needed = await own(['config', 'check', '--json'], given)
  t.match(JSON.parse(needed.stdout).variables, [{ name: 'LICENCE_OF_PRODUCTION' }])
  t.notMatch(needed.stdout, '"LICENCE"', 'no environment uses the common ones')
})

t.test('commands run without the variables of settings they do not use', async (t) => {
  const run = await place(t, LACKING.replace("soak: '${SOAK}'", 'soak: 1h'))
  const environments = await run(['environments'], { ISSUER: 'https://gitlab.test' })
  t.match(environments, { code: 0, stdout: /staging +test/ })
  const status = await run(['status'])
  t.match(status, { code: 2, stderr: /crosscloud\.yml:4 variable LEDGER is not set/ })
})

t.test('a secret that is empty is reported by its name when it is used', async (t) => {
  const status = async (ledger: string, variables: Record<string, string>) => {
    const run = await place(t, `app: webapi\nledger: ${ledger}\n`)
    return run(['status'], variables)
  }
  const empty = await status('sqlite:${LEDGER}', { LEDGER: '' })
  t.match(empty.stderr, 'LEDGER is empty: is the secret set?', 'in the error')
  t.match(empty.stderr, /→ Set it where this runs; in CI as a variable or secret/)
  t.strictSame(empty.all.match(/variable LEDGER is empty, in ledger/g)?.length, 1, 'once before it')
  const meant = await status('sqlite:ledger.db${MORE:-}', { MORE: '' })
  t.match(meant, { code: 0, stderr: '' }, 'an optional value may be empty')
  t.notMatch(meant.all, 'is empty')
  const other = 'ledger.db\nenvironments: { t: { image: "${REGISTRY}", config: "${STORE}" } }'
  const unused = await status(`sqlite:${other}`, { REGISTRY: '', STORE: '' })
  t.match(unused, { code: 0 }, unused.all)
  t.notMatch(unused.all, 'is empty', 'an unused variable is not reported')
})

t.test('what follows an unexpected token in a file is not reported, too', async (t) => {
  const text = 'app: webapi\nwar: { path: a.war } }\nimage: { base: scratch }\nhosts: { a: b }\n'
  const error = await Promise.resolve(read(text)).catch(toStepError)
  t.match(error, { code: 'INPUT_INVALID', message: /^crosscloud\.yml:2 Unexpected [^\n]*$/ })
})
