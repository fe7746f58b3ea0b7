import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { noEngine } from '../../support/servers/engine.ts'
import { SECRETS, startStepServer } from '../../support/setups/step-server.ts'

const skip = noEngine('docker-registry', 'gcc', 'git', 'redis-server')
if (skip) t.test('steps on a server, whole', { skip }, async () => {})
else await whole(t)

async function whole(t: Test): Promise<void> {
  const world = await startStepServer(t)
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

/** All that a job leaves on its disk. */
async function textsIn(folder: string): Promise<string> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile())
  const texts = await Promise.all(
    files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8')),
  )
  return texts.join('\n')
}
