import { join } from 'node:path'
import t from 'tap'
import { deploy } from '../../../src/steps/deploy.ts'
import { runStep } from '../../../src/steps/inputs.ts'
import { noEngine } from '../../support/servers/engine.ts'
import { createSandbox } from '../../support/setups/sandbox.ts'
import { until } from '../../support/until.ts'
import { readEvents } from './event-reader.ts'
import { startWorld } from './world.ts'

const skip = noEngine('docker-registry', 'gcc', 'git', 'redis-server')
const ENV = '/applications/webapi/environments/test'

/** Processes that follow logs. */
const children = () =>
  process.getActiveResourcesInfo().filter((name) => name === 'ProcessWrap').length

if (skip) t.test('instances over HTTP', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  await sandbox.release('1.0.0')
  const world = await startWorld(t, {
    settings: {
      app: 'webapi',
      container: {
        ports: ['127.0.0.1::8080'],
        ...{ 'stop-timeout': '1s', health: { http: ':8080/', timeout: '20s' } },
      },
      environments: { test: { image: sandbox.repository, config: 'file:config/test.yaml' } },
    },
    application: {
      registries: { insecure: [sandbox.repository.split('/')[0]] },
      environments: { test: { hosts: { 'app-01': sandbox.engine.address } } },
    },
    variables: sandbox.variables,
    ledger: join(sandbox.folder, 'ledger.db'),
  })

  await t.test('what runs on the hosts is read as the commands read it', async (t) => {
    await runStep(deploy, { release: 'webapi@1.0.0', env: 'test' }, sandbox.context())
    const get = (path: string) => world.ask('GET', `${ENV}/${path}`, { by: 'zhang' })
    const name = 'webapi-test'
    t.match(await get('instances'), {
      ...{ status: 200 },
      body: { items: [{ host: 'app-01', name, running: true, version: '1.0.0' }], next: null },
    })
    t.match((await get('stats')).body, { items: [{ host: 'app-01', name, cpu: Number }] })
    t.match((await get('hosts')).body, { items: [{}], next: null })
    t.match((await get('images')).body, { items: [{}], next: null })
    const logs = await get('logs?lines=5')
    t.match(logs, { status: 200, body: { items: Array, next: null } })
    const found = await world.ask('GET', '/applications/webapi/explain?thing=webapi-test', {
      by: 'zhang',
    })
    t.match(found.body, { environment: 'test', release: { version: '1.0.0' } })
    const hidden = await world.ask('GET', '/applications/webapi/explain?thing=webapi-test', {
      by: 'wu',
    })
    t.equal(hidden.status, 404)
  })

  await t.test('a log is followed until its reader has enough', async (t) => {
    const before = children()
    const stop = new AbortController()
    const events = readEvents(world, `${ENV}/logs/follow?lines=5`, { signal: stop.signal })
    t.match((await events.next()).value, {
      event: 'line',
      data: { level: 'output', text: / starts|on stderr/ },
    })
    stop.abort()
    await events.next().catch(() => {})
    t.ok(await until(() => children() === before), 'its process has ended')
  })
}
