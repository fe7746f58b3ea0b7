import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { openLedger } from '../../../src/ledger/open.ts'
import { startCli } from '../../support/cli.ts'
import { noEngine } from '../../support/servers/engine.ts'
import { makeRepository } from '../../support/servers/git.ts'
import { freePort } from '../../support/servers/ports.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { createSandbox } from '../../support/setups/sandbox.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { until } from '../../support/until.ts'
import type { Browser } from './browser.ts'
import { CLIENT, startProvider } from './provider.ts'
import { driving, newBrowser } from './world.ts'

const skip = noEngine('docker-registry', 'gcc', 'git', 'redis-server')
if (skip) t.test('deployments of people', { skip }, async () => {})
else await people(t)

async function people(t: Test): Promise<void> {
  const { provider, url, ledger, sandbox, deploy } = await startWorld(t)
  const { login } = driving(url)
  const comeAs = async (id: string, name: string, groups: readonly string[]) => {
    provider.at = id
    provider.people.set(id, { preferred_username: name, groups_direct: groups })
    const browser = newBrowser()
    await login(browser)
    return browser
  }

  await t.test('who may, deploys; the ledger names them as their jobs would', async (t) => {
    const browser = await comeAs('1', 'ops-li', ['team/ops'])
    const run = await deploy(browser, { release: 'webapi@1.0.0', reason: 'a test' })
    t.match(run, { finished: { outcome: 'succeeded' } }, JSON.stringify(run))
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.0</h1>')
    t.match(await ledger.currentDeployment('webapi', 'test'), {
      ...{ by: 'ops-li', identity: provider.url, reason: 'a test' },
    })
    t.match((await ledger.audits({ limit: 1, verb: 'deploy' }))[0], {
      ...{ subject: 'ops-li', via: 'session', rule: 'grants[0]' },
    })
  })

  await t.test('a gate knows the account, not only its name', async (t) => {
    const glass = { env: 'production', release: 'webapi@1.0.0', breakGlass: true, reason: 'a fire' }
    const other = await comeAs('2', 'ops-li', ['team/ops'])
    const refused = await deploy(other, glass)
    t.match(refused, { finished: { outcome: 'failed' } })
    t.match(JSON.stringify(refused), 'ops-li may not go past the gate of production')
    const browser = await comeAs('1', 'ops-li', ['team/ops'])
    const run = await deploy(browser, glass)
    t.match(run, { finished: { outcome: 'succeeded' } }, JSON.stringify(run))
    t.match(await ledger.currentDeployment('webapi', 'production'), {
      breakGlass: { by: 'ops-li', byId: '1', identity: provider.url },
    })
  })

  await t.test('who has no grant sees nothing', async (t) => {
    const browser = await comeAs('3', 'wu', ['team/qa'])
    const answer = await deploy(browser, { release: 'webapi@1.0.1', reason: 'a test' })
    t.match(answer, { status: 404 })
  })
}

async function startWorld(t: Test) {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  await sandbox.release('1.0.0')
  const provider = await startProvider(t)
  const redis = await startQueueRedis(t)
  const folder = await temporaryFolder(t)
  const repository = await makeRepository(join(folder, 'repository'))
  const environment = { image: sandbox.repository, config: 'file:config/test.yaml' }
  await repository.commit({
    'crosscloud.yml': stringify({
      app: 'webapi',
      container: {
        ports: ['127.0.0.1::8080'],
        ...{ 'stop-timeout': '1s', health: { http: ':8080/', timeout: '20s' } },
      },
      environments: {
        test: environment,
        production: { ...environment, gate: { approvals: 1, 'break-glass': ['ops-li#1'] } },
      },
    }),
    'config/test.yaml': 'webapi: { greeting: hello }\n',
  })
  const file = join(sandbox.folder, 'ledger.db')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  provider.open(`${url}/login/callback/gitlab`)
  const host = { hosts: { 'app-01': sandbox.engine.address } }
  const settings = {
    listen: { host: '127.0.0.1', port },
    queue: { redis: redis.url, 'stalled-timeout': '2s', 'shutdown-timeout': '1s' },
    ledger: `sqlite:${file}`,
    sessions: { url, issuers: { gitlab: { issuer: provider.url, project: 'team/webapi' } } },
    logins: {
      issuers: {
        gitlab: { issuer: provider.url, 'client-id': CLIENT.id, 'client-secret': CLIENT.secret },
      },
    },
    policy: {
      roles: { operator: ['view', 'logs', 'deploy', 'force'] },
      grants: [{ who: 'group:team/ops', role: 'operator', apps: ['*'], envs: ['*'] }],
    },
    applications: {
      webapi: {
        ...{ repository: `file://${repository.folder}`, branch: 'main', ledger: `sqlite:${file}` },
        identity: { issuer: provider.url, audience: 'crosscloud', project: 'team/webapi' },
        registries: { insecure: [sandbox.repository.split('/')[0]] },
        environments: { test: host, production: host },
      },
    },
  }
  await writeFile(join(folder, 'crosscloud.server.yml'), stringify(settings))
  const env = { ...sandbox.variables, CROSSCLOUD_STATE: join(folder, 'state') }
  const server = startCli(['serve', '--log', 'plain'], { cwd: folder, env })
  await server.until('listening on')
  t.teardown(() => void server.child.kill('SIGKILL'))
  const ledger = await openLedger(file)
  t.teardown(() => ledger.close())
  const deploy = async (browser: Browser, inputs: object): Promise<Record<string, unknown>> => {
    const json = { accept: 'application/json' }
    const body = { app: 'webapi', step: 'deploy', inputs: { env: 'test', ...inputs } }
    const begun = await browser.send(`${url}/api/v1/runs`, {
      method: 'POST',
      headers: { ...json, 'content-type': 'application/json', origin: url },
      body: JSON.stringify(body),
    })
    if (begun.status !== 202) return begun.body
    let run: Record<string, unknown> = {}
    await until(async () => {
      run = (await browser.send(`${url}/api/v1/runs/${begun.body.run}`, { headers: json })).body
      return run.finishedAt !== null && run.finishedAt !== undefined
    }, 60_000)
    return run
  }
  return { provider, url, ledger, sandbox, deploy }
}
