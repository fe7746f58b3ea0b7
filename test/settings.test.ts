import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { createSecrets } from '../src/core/secrets.ts'
import { openLedger } from '../src/ledger/open.ts'
import {
  formerTargets,
  readSettings,
  resolveEnvironment,
  settingsSchema,
  withHosts,
} from '../src/settings.ts'
import { parseSettings } from './support/data/settings.ts'
import { temporaryFolder } from './support/temporary.ts'

const FULL = `# what a team writes
app: webapi
war: { path: target/webapi.war }
image:
  base: tomcat:10.1-jre17-temurin
  webapp: /usr/local/tomcat/webapps/ROOT
ledger: mysql://crosscloud:\${LEDGER_PASSWORD}@db/crosscloud
container:
  network: host
  memory: 1g
  env: { JAVA_OPTS: "-Dzone=\${ZONE}" }
  health: { http: ':8080/healthz' }
environments:
  test:
    image: registry.test/team/webapi
    config: redis://:red%20is@config-test:6379/0
    hosts: { app-01: unix:///var/run/docker.sock }
  staging:
    from: test
    image: harbor.example.com/team/webapi
    container: { memory: 2g, name: web, stop-timeout: 1500ms }
    hosts:
      app-02: { address: 'tcp://app-02:2376', certificates: certs/app-02 }
`
const variables = { LEDGER_PASSWORD: 'open-sesame', ZONE: 'blue' }

async function parse(text: string, given: Record<string, string> = variables) {
  const secrets = createSecrets()
  return { settings: await parseSettings(text, 'crosscloud.yml', given, secrets), secrets }
}

/** The lines of the error about a bad file. */
async function problems(text: string, given?: Record<string, string>): Promise<string[]> {
  const error = await parse(text, given).then(
    () => new Error('accepted'),
    (caught) => caught,
  )
  if (error.code !== 'INPUT_INVALID') throw error
  return error.message.split('\n')
}

await t.test(
  'variables are filled in, and secrets are masked before anything is printed',
  async (t) => {
    const { settings, secrets } = await parse(FULL)
    t.strictSame(settings.ledger, { url: 'mysql://crosscloud:open-sesame@db/crosscloud' })
    t.equal(settings.container?.env?.JAVA_OPTS, '-Dzone=blue')
    t.equal(secrets.mask('open-sesame red%20is blue'), '*** *** ***')
  },
)

await t.test("only what needs the approvals' account needs its variable", async (t) => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'crosscloud.yml')
  const at = (user: string, name: string) => `'mysql://${user}:\${${name}}@127.0.0.1:1/x'`
  await writeFile(
    file,
    `app: webapi\nledger: { url: ${at('a', 'P')}, approvals: ${at('b', 'Q')} }\n`,
  )
  const { ledger } = await readSettings(file, { P: 'p' }, createSecrets())
  if (!ledger || !('approvals' in ledger)) throw new Error('no account for approvals')
  await t.rejects(openLedger(ledger), { code: 'UNAVAILABLE' }, 'it goes to the server')
  t.throws(() => ledger.approvals, { message: /variable Q is not set/ })
})

await t.test('an environment has its own settings before the common ones', async (t) => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'crosscloud.yml')
  await writeFile(file, FULL)
  const settings = await readSettings(file, variables, createSecrets())
  t.equal(settings.folder, folder)
  const gib = 2 ** 30
  t.match(resolveEnvironment(settings, 'test'), {
    name: 'test',
    from: undefined,
    image: { registry: 'registry.test', name: 'team/webapi' },
    containerName: 'webapi-test',
    hosts: [
      {
        name: 'app-01',
        address: { kind: 'unix', socket: '/var/run/docker.sock' },
        certificates: undefined,
      },
    ],
    container: {
      network: 'host',
      memory: gib,
      stopTimeout: 30,
      restart: 'unless-stopped',
      health: { http: { port: 8080, path: '/healthz' }, timeout: 60_000 },
    },
  })
  t.match(resolveEnvironment(settings, 'staging'), {
    from: 'test',
    containerName: 'web',
    hosts: [
      {
        name: 'app-02',
        address: { kind: 'tcp', host: 'app-02', port: 2376 },
        certificates: 'certs/app-02',
      },
    ],
    container: { network: 'host', memory: 2 * gib, stopTimeout: 2 },
  })
  for (const name of ['production', 'toString', '__proto__', '']) {
    t.throws(() => resolveEnvironment(settings, name), {
      code: 'INPUT_INVALID',
      hint: 'Known environments: test, staging.',
    })
  }
})

await t.test('hosts of before are asked by the kind of target that they were of', async (t) => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'crosscloud.yml')
  await writeFile(file, FULL)
  const test = resolveEnvironment(await readSettings(file, variables, createSecrets()), 'test')
  const moved = { ...test, kind: 'of another driver' as never, hosts: [] }
  const former = formerTargets(moved, [
    { name: 'old-01', address: 'tcp://old-01:2376' },
    { name: 'old-02', address: 'ssh://deploy@old-02' },
  ])
  t.equal(former.length, 1, 'all of one kind are one target')
  t.match(former, [
    {
      name: 'test',
      kind: 'docker',
      containerName: 'webapi-test',
      hosts: [
        { name: 'old-01', address: { kind: 'tcp', port: 2376 } },
        { name: 'old-02', address: { kind: 'ssh', user: 'deploy' } },
      ],
    },
  ])
  t.strictSame(formerTargets(moved, []), [])
  const fewer = withHosts(moved, test.hosts)
  t.match(fewer, { kind: 'of another driver', hosts: test.hosts })
})

await t.test('every problem is reported at once, each with its line', async (t) => {
  const found = await problems(
    [
      'app: Web API',
      'image:',
      '  base: tomcat',
      '  webapp: relative',
      '  layuot: exploded',
      'ledger: ${NO_SUCH}',
      'environments:',
      '  test: { image: "https://r.example.com/x" }',
      '  staging: { from: tset, image: r.example.com/x:1 }',
      '  loop: { from: loop, image: r.example.com/x }',
    ].join('\n'),
  )
  t.match(found, [
    /^crosscloud\.yml:1 app is not a name/,
    /^crosscloud\.yml:4 image\.webapp is not an absolute path/,
    /^crosscloud\.yml:5 image\.layuot is not a known setting/,
    /^crosscloud\.yml:8 environments\.test\.image .*not a URL/,
    /^crosscloud\.yml:9 environments\.staging\.image .*tag/,
  ])
  const chain = await problems(
    'app: a\nenvironments:\n  b: { from: x, image: r.io/a }\n  c: { from: c, image: r.io/a }\n',
  )
  t.match(chain, [
    /^crosscloud\.yml:3 environments\.b\.from there is no other environment "x"/,
    /^crosscloud\.yml:4 environments\.c\.from there is no other environment "c"/,
  ])
})

await t.test(
  'addresses, ports, volumes and health checks are read with the settings',
  async (t) => {
    const found = await problems(
      [
        'app: a',
        'container:',
        '  ports: ["8080:80800"]',
        '  volumes: ["data"]',
        '  health: { http: healthz }',
        'environments:',
        '  test: { image: r.io/a, hosts: { one: "ftp://x", two: { address: "tcp://u@x" } } }',
      ].join('\n'),
    )
    t.match(found, [
      /^crosscloud\.yml:3 container\.ports\.0 .*not a port mapping/,
      /^crosscloud\.yml:4 container\.volumes\.0 .*not a volume/,
      /^crosscloud\.yml:5 container\.health\.http .*not a port and a path/,
      /^crosscloud\.yml:7 environments\.test\.hosts\.one .*not the address of a Docker Engine/,
      /^crosscloud\.yml:7 environments\.test\.hosts\.two\.address .*not the address/,
    ])
  },
)

await t.test('each builder has settings that mean nothing to the other', async (t) => {
  const image = (lines: string) => `app: webapi\nimage:\n  webapp: /srv/ROOT\n${lines}`
  t.match(await problems('app: webapi\nimage: { layout: packaged }'), [
    /image\.webapp is required/,
    /image\.base is required/,
  ])
  const docker = '  builder: docker\n'
  t.match(await problems(image(`${docker}  base: tomcat\n  start-script: true\n  times: commit`)), [
    /image\.times is not for builder docker/,
    /image\.base is not for builder docker/,
    /image\.start-script is not for builder docker/,
  ])
  t.match(await problems(image('  base: tomcat\n  target: web\n  engine: tcp://build')), [
    /image\.target is for builder docker only/,
    /image\.engine is for builder docker only/,
  ])
  t.match(await problems(image(`${docker}  engine: build-01`)), [
    /image\.engine.*"build-01" is not/,
  ])
  const { settings } = await parse(
    image(`${docker}  args: { ZONE: "\${ZONE}" }\n  engine: tcp://build`),
  )
  t.match(settings.image, { args: { ZONE: 'blue' }, engine: { address: { host: 'build' } } })
})

await t.test('a file that holds no settings is refused', async (t) => {
  const bad: [string, RegExp][] = [
    ['', /app is required/],
    ['just text', /crosscloud\.yml/],
    ['- a\n- b', /crosscloud\.yml/],
    ['app: a\napp: b', /crosscloud\.yml:2 .*unique/i],
    ['app: "a', /crosscloud\.yml:1 /],
    ['app: [a', /crosscloud\.yml:1 /],
    ['app: a\nenvironments: { b: { from: constructor, image: r.io/a } }', /"constructor"/],
  ]
  for (const [text, expected] of bad) {
    t.match((await problems(text)).join('\n'), expected, text)
  }
  const folder = await temporaryFolder(t)
  await t.rejects(readSettings(join(folder, 'crosscloud.yml'), {}, createSecrets()), {
    code: 'INPUT_INVALID',
    message: /does not exist/,
    hint: /--settings/,
  })
})

await t.test('circles of environments are refused', async (t) => {
  const image = 'image: r.io/a'
  const found = await problems(
    [
      'app: a',
      'environments:',
      `  first: { ${image} }`,
      `  good: { from: first, ${image} }`,
      `  b: { from: c, ${image} }`,
      `  c: { from: b, ${image} }`,
      `  beside: { from: b, ${image} }`,
    ].join('\n'),
  )
  t.match(found, [/:5 environments\.b\.from .*circle/, /:6 environments\.c\.from .*circle/])
  t.equal(found.length, 2)
})

await t.test('an error about a secret does not show it', async (t) => {
  const secrets = createSecrets()
  const text =
    'app: a\nledger: "${LEDGER_PASSWORD}"\nenvironments: { t: { image: "${IMAGE_TOKEN}" } }'
  const given = { LEDGER_PASSWORD: 'open-sesame', IMAGE_TOKEN: 'Not A Repository' }
  const error = await parseSettings(text, 'crosscloud.yml', given, secrets).catch(
    (caught) => caught,
  )
  t.match(error.message, /environments\.t\.image/)
  t.notMatch(secrets.mask(error.message), /Not A Repository|open-sesame/)
})

await t.test('the example is read as it stands', async (t) => {
  const file = fileURLToPath(new URL('../examples/webapi/crosscloud.yml', import.meta.url))
  const text = await readFile(file, 'utf8')
  const names = [...text.matchAll(/\$\{(\w+)\}/g)].map(([, name = '']) => [name, 'value'])
  const settings = await readSettings(file, Object.fromEntries(names), createSecrets())
  t.ok(Object.keys(settings.environments).length >= 2)
  for (const name of Object.keys(settings.environments)) t.ok(resolveEnvironment(settings, name))
  t.ok(settingsSchema.shape.app)
})
