import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { openLedger } from '../../../src/ledger/open.ts'
import { accountOf, gitlabClaims, startIssuer } from '../../identity/issuer.ts'
import { runCli, startCli } from '../../support/cli.ts'
import { noEngine } from '../../support/servers/engine.ts'
import { makeRepository } from '../../support/servers/git.ts'
import { freePort } from '../../support/servers/ports.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { createSandbox } from '../../support/setups/sandbox.ts'
import { temporaryFolder } from '../../support/temporary.ts'

/** What only the server's side knows. */
const SECRETS = {
  DATABASE_PASSWORD: 'of-the-database-7f3a',
  KEY: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
}

const skip = noEngine('docker-registry', 'gcc', 'git', 'redis-server')
if (skip) t.test('steps on a server, whole', { skip }, async () => {})
else await whole(t)

async function whole(t: Test): Promise<void> {
  const world = await startWorld(t)
  const { sandbox, ledger } = world
  const page = () => sandbox.read('webapi-test', '/srv/web/index.html')
  const deploy = (version: string, env = 'test') => ['deploy', `webapi@${version}`, '--env', env]

  await t.test('a job without any key deploys, and the ledger names its person', async (t) => {
    const job = await world.job(t)
    const ran = await job.run([...deploy('1.0.0'), '--reason', 'a push', '--log', 'plain'])
    t.equal(ran.code, 0, ran.stderr)
    t.match(ran.stdout, /webapi@1\.0\.0 runs in test/)
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
    t.match(await ledger.currentDeployment('webapi', 'test'), {
      by: 'dev-wang',
      identity: world.issuer.url,
      reason: 'a push',
    })
    const [record] = await ledger.audits({ limit: 1, verb: 'deploy' })
    t.match(record, { via: 'session', decision: 'allowed', rule: 'grants[0]', run: /^[0-9a-z]+$/ })
    t.match(record?.subject, /^job \d+ of team\/webapi \(dev-wang\)$/)
    for (const secret of Object.values(SECRETS)) {
      t.notMatch(`${ran.stdout}${ran.stderr}`, secret)
      t.notMatch(await textsIn(job.cwd), secret)
    }
  })

  await t.test('a plan on the server is that of a step that runs here', async (t) => {
    const job = await world.job(t)
    const { stdout, code } = await job.run([...deploy('1.0.1'), '--plan', '--json'])
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { kind: 'deploy', release: 'webapi@1.0.1', ready: true })
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
  })

  await t.test('what no grant allows is refused, and recorded', async (t) => {
    const branch = await world.job(t, { ref: 'feature', ref_protected: 'false' })
    const ran = await branch.run(deploy('1.0.1'))
    t.equal(ran.code, 1)
    t.match(ran.stderr, /there is no webapi in test for you here/)
    const main = await world.job(t)
    const beyond = await main.run(deploy('1.0.1', 'production'))
    t.match(beyond.stderr, /there is no webapi in production for you here/)
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
    const refused = await ledger.audits({ limit: 9, decision: 'refused' })
    t.match(refused, [
      { verb: 'deploy', object: { app: 'webapi', environment: 'production' } },
      { verb: 'deploy', object: { app: 'webapi', environment: 'test' }, reason: /ref-protected/ },
    ])
  })

  await t.test(
    'an API token may what its grant and its scope allow, until it is revoked',
    async (t) => {
      const create = [
        'tokens',
        'create',
        'jenkins',
        '--app',
        'webapi',
        '--env',
        'test',
        '--expires',
        '1d',
      ]
      const verbs = ['view', 'logs', 'deploy'].flatMap((verb) => ['--verb', verb])
      const made = await world.operator([...create, ...verbs])
      t.equal(made.code, 0, made.stderr)
      const token = made.stdout.trim()
      t.match(token, /^cct_[\w-]{43}$/)
      const machine = await world.job(t, {}, { CROSSCLOUD_ID_TOKEN: '', CROSSCLOUD_TOKEN: token })
      const ran = await machine.run(deploy('1.0.1'))
      t.equal(ran.code, 0, ran.stderr)
      t.equal(await page(), '<h1>webapi 1.0.1</h1>')
      t.match(await ledger.currentDeployment('webapi', 'test'), { by: 'token:jenkins' })
      const verify = await machine.run(['verify-md5', '--env', 'test'])
      t.match(verify.stderr, /token jenkins may not verify webapi in test/)
      t.equal((await world.operator(['tokens', 'revoke', 'jenkins'])).code, 0)
      const late = await machine.run(deploy('1.0.0'))
      t.equal(late.code, 1)
      t.match(late.stderr, /credentials are not accepted/)
      t.notMatch(`${ran.stdout}${ran.stderr}${late.stderr}${await world.log()}`, token)
    },
  )

  await t.test('a cancelled job cancels its run, and waits for its end', async (t) => {
    const lock = await ledger.lock('webapi', 'test', 'somebody', 'a test', 300_000)
    const job = await world.job(t)
    const running = job.start([...deploy('1.0.0'), '--older', '--lock-wait', '5m'])
    await running.until('somebody')
    running.child.kill('SIGTERM')
    const { code, stderr } = await running.finished
    t.not(code, 0)
    t.match(stderr, /cancel/i)
    await ledger.unlock(lock)
    t.equal(await page(), '<h1>webapi 1.0.1</h1>')
    const [record] = await ledger.audits({ limit: 1, verb: 'cancel' })
    t.match(record, { decision: 'allowed' })
  })

  await t.test(
    'a server that is killed and started again ends the run of a job that waits',
    async (t) => {
      const lock = await ledger.lock('webapi', 'test', 'somebody', 'a test', 300_000)
      const job = await world.job(t)
      const running = job.start([
        'deploy',
        'webapi@1.0.0',
        '--env',
        'test',
        '--older',
        '--lock-wait',
        '5m',
      ])
      await running.until('somebody')
      await world.restart()
      await ledger.unlock(lock)
      const { code, stderr } = await running.finished
      t.equal(code, 0, stderr)
      t.equal(await page(), '<h1>webapi 1.0.0</h1>')
      const done = await ledger.deployments({ app: 'webapi', limit: 20, version: '1.0.0' })
      t.equal(done.filter(({ state }) => state === 'succeeded').length, 2, 'once now, once before')
    },
  )

  await t.test('the audit log is a chain without a gap', async (t) => {
    t.match(await ledger.verifyAudit(), { intact: true })
  })
}

/** A server as docs/server.md sets it up; jobs get only its address and an ID token. */
async function startWorld(t: Test) {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1']) await sandbox.release(version)
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  const redis = await startQueueRedis(t)
  const folder = await temporaryFolder(t)
  const repository = await makeRepository(join(folder, 'repository'))
  await repository.commit({
    'crosscloud.yml': stringify({
      app: 'webapi',
      container: {
        ports: ['127.0.0.1::8080'],
        'stop-timeout': '1s',
        health: { http: ':8080/', timeout: '20s' },
        env: { PASSWORD: '${DATABASE_PASSWORD}' },
      },
      environments: {
        test: { image: sandbox.repository, config: 'file:config/test.yaml' },
        production: { from: 'test', image: sandbox.repository },
      },
    }),
    'config/test.yaml': 'webapi:\n  greeting: hello\n',
  })
  const ledgerFile = join(sandbox.folder, 'ledger.db')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const settings = {
    listen: { host: '127.0.0.1', port },
    queue: { redis: redis.url, 'stalled-timeout': '2s', 'shutdown-timeout': '1s' },
    ledger: `sqlite:${ledgerFile}`,
    sessions: {
      url,
      issuers: { gitlab: { issuer: issuer.url, project: 'team/webapi', 'protected-ref': false } },
    },
    policy: {
      roles: { pipeline: ['view', 'logs', 'verify', 'deploy', 'force', 'cancel'] },
      grants: [
        {
          job: { project: 'team/webapi', 'ref-protected': true },
          ...{ role: 'pipeline', apps: ['webapi'], envs: ['test'] },
        },
        { who: 'token:jenkins', role: 'pipeline', apps: ['webapi'], envs: ['test'] },
      ],
    },
    applications: {
      webapi: {
        repository: `file://${repository.folder}`,
        branch: 'main',
        identity: 'unverified',
        registries: { insecure: [sandbox.repository.split('/')[0]] },
        ledger: `sqlite:${ledgerFile}`,
        variables: { DATABASE_PASSWORD: '${DATABASE_PASSWORD}' },
        'config-key': '${KEY}',
        environments: { test: { hosts: { 'app-01': sandbox.engine.address } } },
      },
    },
  }
  await writeFile(join(folder, 'crosscloud.server.yml'), stringify(settings))
  const env = { ...sandbox.variables, ...SECRETS, CROSSCLOUD_STATE: join(folder, 'state') }
  let server = startCli(['serve', '--log', 'plain'], { cwd: folder, env })
  await server.until('listening on')
  t.teardown(() => void server.child.kill('SIGKILL'))
  const ledger = await openLedger(ledgerFile)
  t.teardown(() => ledger.close())
  let jobs = 300
  return {
    ...{ sandbox, issuer, ledger },
    operator: (args: string[]) =>
      runCli(args, { cwd: sandbox.folder, env: { ...sandbox.variables, USER: 'ops' } }),
    log: async () => server.output(),
    async restart() {
      server.child.kill('SIGKILL')
      await server.finished
      server = startCli(['serve', '--log', 'plain'], { cwd: folder, env })
      await server.until('listening on')
    },
    async job(t: Test, claims: object = {}, variables: Record<string, string> = {}) {
      const cwd = await temporaryFolder(t)
      await writeFile(join(cwd, 'crosscloud.yml'), 'app: webapi\n')
      const id = String(++jobs)
      const all = gitlabClaims(issuer.url, {
        ...{ aud: url, ...accountOf('dev-wang'), job_id: id, environment: undefined },
        ...claims,
      })
      const environment = {
        ...{ HOME: cwd, CROSSCLOUD_STATE: join(cwd, 'state'), CROSSCLOUD_SERVER: url },
        ...{ GITLAB_CI: 'true', CI_JOB_ID: id, CI_SERVER_URL: issuer.url },
        CROSSCLOUD_ID_TOKEN: await issuer.sign(all),
        ...variables,
      }
      return {
        cwd,
        run: (args: string[]) => runCli(args, { cwd, env: environment }),
        start: (args: string[]) => startCli(args, { cwd, env: environment }),
      }
    },
  }
}

/** All that a job leaves on its disk. */
async function textsIn(folder: string): Promise<string> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile())
  const texts = await Promise.all(
    files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8')),
  )
  return texts.join('\n')
}
