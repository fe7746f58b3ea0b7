import { join } from 'node:path'
import t from 'tap'
import { noEngine } from '../../support/servers/engine.ts'
import { createSandbox, type Sandbox } from '../../support/setups/sandbox.ts'
import { until } from '../../support/until.ts'
import { allLines, readLines } from './event-reader.ts'
import { startWorld, type World } from './world.ts'

const skip = noEngine('docker-registry', 'gcc', 'git', 'redis-server')
if (skip) t.test('deployments by a server', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1']) await sandbox.release(version)
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
  await remote(sandbox, world)
}

async function remote(sandbox: Sandbox, world: World): Promise<void> {
  const deploy = async (version: string, by = 'job') => {
    // Versions alternate: only the job may force.
    const older = by === 'job'
    const inputs = { release: `webapi@${version}`, env: 'test', reason: 'over HTTP', older }
    const body = { app: 'webapi', step: 'deploy', inputs }
    return String((await world.ask('POST', '/runs', { body, by })).body.run)
  }
  const page = () => sandbox.read('webapi-test', '/srv/web/index.html')
  const deploymentsOf = async (run: string) => {
    const all = await world.ledger.deployments({ app: 'webapi', limit: 100 })
    return all.filter(({ jobUrl }) => jobUrl?.endsWith(`/runs/${run}`))
  }

  await t.test('a deployment over HTTP is that of whoever asked', async (t) => {
    const server = await world.startServer()
    const run = await deploy('1.0.0', 'zhang')
    const events = await allLines(world, run)
    const last = events.at(-1)
    t.match(last?.data, {
      ...{ outcome: 'succeeded', exitCode: 0, error: null },
      outputs: { release: 'webapi@1.0.0', environment: 'test', configRevision: String },
    })
    t.ok(events.some(({ data }) => /webapi-test/.test(String(data.text))))
    t.match(await deploymentsOf(run), [
      {
        ...{ state: 'succeeded', by: 'zhang', identity: 'https://gitlab.example.com' },
        ...{ reason: 'over HTTP', version: '1.0.0', verified: true },
      },
    ])
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
    await server.kill('SIGTERM')
  })

  const phases = [
    'created webapi-test.next',
    'stopped the old webapi-test',
    'webapi-test is the new container',
  ]
  for (const [at, phase] of phases.entries()) {
    await t.test(`a server is killed after: ${phase}`, async (t) => {
      const version = `1.0.${(at + 1) % 2}`
      const first = await world.startServer()
      const run = await deploy(version)
      for await (const { event, data } of readLines(world, run)) {
        if (event === 'finished') throw new Error(JSON.stringify(data))
        if (String(data.text).includes(phase)) break
      }
      const second = await world.startServer()
      await first.kill('SIGKILL')
      const events = await allLines(world, run)
      const ends = events.filter(({ event }) => event === 'finished')
      t.match(ends, [{ data: { outcome: 'succeeded', outputs: { release: `webapi@${version}` } } }])
      const done = await deploymentsOf(run)
      t.equal(done.filter(({ state }) => state === 'succeeded').length, 1, JSON.stringify(done))
      t.equal(await page(), `<h1>webapi ${version}</h1>`)
      await second.kill('SIGTERM')
    })
  }

  await t.test(
    'a server is killed when the ledger has the deployment, and the run not',
    async (t) => {
      const first = await world.startServer()
      const run = await deploy('1.0.0')
      const isDone = async () =>
        (await deploymentsOf(run)).some(({ state }) => state === 'succeeded')
      t.ok(await until(isDone))
      await first.kill('SIGKILL')
      const second = await world.startServer()
      const last = (await allLines(world, run)).at(-1)
      t.match(last?.data, { outcome: 'succeeded', outputs: { release: 'webapi@1.0.0' } })
      t.equal((await deploymentsOf(run)).length, 1, 'it was not deployed a second time')
      await second.kill('SIGTERM')
    },
  )
}
