import { readFile } from 'node:fs/promises'
import t from 'tap'
import { parse } from 'yaml'
import { setUp, test } from './world.ts'

const variable = (name: string) => `\${${name}}`
const store = (name: string) => `redis://:${variable(name)}@127.0.0.1:1/0`

/** The server's variables that a step in an environment has. */
const ownOf = (variables: Readonly<Record<string, string>>) =>
  Object.keys(variables).filter((name) => name.startsWith('CROSSCLOUD_OWN_'))

t.test('a chain that the repository writes gives no secret of its environments', async (t) => {
  const places = {
    production: { image: 'registry.example.com/webapi', config: store('PRODUCTION_PASSWORD') },
    staging: { image: 'registry.example.com/staging', config: store('STAGING_PASSWORD') },
  }
  const more = { STAGING_PASSWORD: 's' }
  const { open, commit } = await setUp(t, { environments: places }, more)
  await commit({ test: { ...test, from: 'production' } })
  t.strictSame(ownOf((await open()).variablesFor('test')), [])
  await commit({ test: { ...test, from: 'staging' }, staging: { from: 'production' } })
  t.strictSame(ownOf((await open()).variablesFor('test')), [], 'a chain')
  t.strictSame(ownOf((await open()).variablesFor('staging')), ['CROSSCLOUD_OWN_STAGING_PASSWORD'])

  await t.test('what the server writes of it counts', async (t) => {
    const { production, staging } = places
    const environments = { production, staging: { ...staging, from: 'production' } }
    const { open, commit } = await setUp(t, { environments }, more)
    await commit({ test: { ...test, from: 'staging' } })
    const { variablesFor } = await open()
    t.strictSame(ownOf(variablesFor('test')), [])
    t.strictSame(ownOf(variablesFor('staging')).sort(), [
      'CROSSCLOUD_OWN_PRODUCTION_PASSWORD',
      'CROSSCLOUD_OWN_STAGING_PASSWORD',
    ])
  })

  await t.test(
    'an image that needs a variable is had by a chain of the server alone',
    async (t) => {
      const staging = { image: `${variable('REGISTRY')}/staging` }
      const environments = { staging, production: { image: 'registry.example.com/webapi' } }
      const { open, commit } = await setUp(
        t,
        { environments },
        { REGISTRY: 'registry.example.com' },
      )
      await commit({ test, staging: { from: 'test' }, production: { from: 'staging' } })
      const { variablesFor } = await open()
      t.throws(() => variablesFor('production'), {
        code: 'FORBIDDEN',
        message:
          'webapi in production: only its repository says that releases come from staging, whose image needs variables of the server',
        hint: 'Write `from: staging` under applications.webapi.environments.production in crosscloud.server.yml.',
      })
      t.strictSame(ownOf(variablesFor('staging')), ['CROSSCLOUD_OWN_REGISTRY'])
    },
  )
})

t.test('who may, and where secrets go, is said by the server alone', async (t) => {
  const given: [string, unknown][] = [
    ['identity', 'unverified'],
    ['identity', { issuer: 'https://evil.example.com', audience: 'x', project: 'team/webapi' }],
    ['registries', { insecure: ['registry.example.com'] }],
    ['registries', { ca: { 'registry.example.com': 'evil.pem' } }],
    ['config-key', variable('TEST_KEY')],
    ['ledger', 'mysql://crosscloud@evil.example.com/ledger'],
  ]
  for (const [key, value] of given) {
    const { open, commit } = await setUp(t, { ledger: undefined })
    await commit({ test }, { [key]: value })
    await t.rejects(open(), {
      code: 'INPUT_INVALID',
      message: new RegExp(`webapi: ${key} counts on the server alone`),
      hint: new RegExp(`applications\\.webapi\\.${key} in crosscloud\\.server\\.yml`),
    })
  }
  const { open, commit } = await setUp(t, { 'config-key': variable('PRODUCTION_PASSWORD') })
  await commit({ test: { ...test, 'config-key': variable('TEST_KEY') } })
  await t.rejects(open(), {
    message: /webapi: environments\.test\.config-key counts on the server alone/,
    hint: /applications\.webapi\.environments\.test\.config-key in crosscloud\.server\.yml/,
  })
  await commit({ test })
  t.match(parse(await readFile((await open()).file, 'utf8')), {
    'config-key': variable('CROSSCLOUD_OWN_PRODUCTION_PASSWORD'),
  })

  await t.test(
    'where the server says it, a repository may keep its own for its jobs',
    async (t) => {
      const own = { identity: 'unverified', registries: {}, 'config-key': 'file:a.key' }
      const environments = { test: { 'config-key': 'file:b.key' } }
      const { open, commit } = await setUp(t, { ...own, environments })
      const evil = { issuer: 'https://evil.example.com', audience: 'x', project: 'team/webapi' }
      const mine = { ...test, 'config-key': variable('TEST_KEY') }
      await commit({ test: mine }, { identity: evil, registries: { insecure: ['r.example.com'] } })
      const { settings } = await open()
      t.equal(settings.identity, 'unverified')
      t.strictSame(settings.registries, { insecure: [] })
      t.match(settings.environments.test?.['config-key'], /^file:\/.*b\.key$/)
    },
  )
})

t.test('a GitLab that a commit names is not asked who approved', async (t) => {
  const { open, commit } = await setUp(t, { variables: { GITLAB_TOKEN: 'glpat-1' } })
  await commit({ test }, { gitlab: { url: 'https://evil.example.com', project: 'team/webapi' } })
  t.equal((await open()).settings.gitlab, undefined)
  const gitlab = { url: 'https://gitlab.example.com', project: 'team/webapi' }
  const described = await setUp(t, { gitlab })
  await described.commit({ test }, { gitlab: { url: 'https://evil.example.com', project: 'a/b' } })
  t.match((await described.open()).settings.gitlab, gitlab)
})

t.test('a secret of a container is no variable of the server, however it is named', async (t) => {
  const ledger = `mysql://crosscloud:${variable('PRODUCTION_PASSWORD')}@127.0.0.1/ledger`
  const { open, commit } = await setUp(t, { ledger })
  const environment = 'CROSSCLOUD_${NOT_THERE:-OWN_}PRODUCTION_PASSWORD'
  const container = { secrets: { stolen: { environment } } }
  const refused = {
    code: 'FORBIDDEN',
    message: 'webapi in test: its secret stolen is a variable of the server',
  }
  await commit({ test: { ...test, container } })
  await t.rejects(open(), refused)
  await commit({ test }, { container })
  await t.rejects(open(), refused, 'in the common part, too')
  await commit({ test }, { container: { secrets: { own: { environment: 'MINE' } } } })
  t.ok(await open())
})

t.test('a variable that one environment lacks does not stop the others', async (t) => {
  const image = 'registry.example.com/production/webapi'
  const production = { image, config: store('NOT_ON_THIS_SERVER'), hosts: { a: 'tcp://10.0.0.9' } }
  const { open, commit } = await setUp(t, { environments: { production } })
  const gap = variable('NOT_SET_HERE')
  const broken = { image: `${gap}/x`, config: store('NOT_SET_HERE'), container: { network: gap } }
  await commit({ test, broken, after: { ...test, from: 'broken' } })
  const { variablesFor } = await open()
  t.ok(variablesFor('test'))
  t.ok(variablesFor('after'), 'its source is looked at where it is needed')
  const missing = (name: string) => ({
    ...{ code: 'INPUT_INVALID', message: `crosscloud.yml of webapi: variable ${name} is not set` },
    hint: /applications\.webapi\.variables/,
  })
  t.throws(() => variablesFor('broken'), missing('NOT_SET_HERE'))
  t.throws(() => variablesFor('production'), missing('NOT_ON_THIS_SERVER'))

  await t.test('what cannot be compared with a place of the server is not taken', async (t) => {
    const config = 'redis://10.0.0.9:6379/1'
    await commit({ test: { ...test, config } })
    await t.rejects(open(), {
      code: 'FORBIDDEN',
      message: /in test: its config cannot be told from that of production, which lacks a variable/,
    })
    await commit({ test: { ...test, image }, broken })
    await t.rejects(open(), { message: /in test: it has the image of production/ })
    await commit({ test, broken: { ...broken, image, config: 'file:/etc/passwd' } })
    await t.rejects(open(), { code: 'INPUT_INVALID', message: /broken.config names a file/ })
    await commit({ test, broken: { ...broken, image } })
    await t.rejects(open(), { message: /in broken: it has the image of production/ })
  })
})

t.test('no environment takes the places of another application', async (t) => {
  const production = {
    ...{ image: 'registry.example.com/production/shop', config: 'redis://:s@10.0.0.9:6379/1' },
    hosts: { a: { address: 'ssh://deployer@10.0.0.9', certificates: 'tls' } },
  }
  const shop = {
    ...{ repository: 'https://gitlab.test/shop.git', branch: 'main' },
    environments: { production, test: { config: 'file:config/test.yaml' } },
  }
  const described = { environments: { staging: production } }
  const { open, commit } = await setUp(t, described, {}, { shop })
  const refuse = async (more: object, what: string) => {
    await commit({ test: { ...test, ...more } })
    await t.rejects(open(), {
      ...{ code: 'FORBIDDEN', hint: /applications\.webapi of crosscloud\.server\.yml/ },
      message: new RegExp(`webapi in test: it has the ${what} of production of shop`),
    })
  }
  await refuse({ image: production.image }, 'image')
  await refuse({ config: 'redis://10.0.0.9/1' }, 'config')
  await refuse({ hosts: { mine: 'tcp://10.0.0.9:2375' } }, 'hosts')
  await commit({ test: { ...test, config: 'file:config/test.yaml' } })
  t.ok(await open(), 'what the server itself writes twice is its own matter')
})
