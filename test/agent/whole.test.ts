import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { AgentInfo } from '../../src/api/agents.ts'
import { noEngine } from '../support/servers/engine.ts'
import { until } from '../support/until.ts'
import { deploy, SECRETS, startWorld } from './world.ts'

const skip = noEngine('docker-registry', 'gcc', 'git', 'redis-server')
if (skip) t.test('runs of an agent, whole', { skip }, async () => {})
else await whole(t)

async function whole(t: Test): Promise<void> {
  const world = await startWorld(t)
  const { ledger, page } = world
  const site = await world.agent(t, 'site-a')
  let jenkins = ''

  await t.test('a run waits for its agent, says so, and goes on when that comes', async (t) => {
    const job = await world.job(t)
    const running = job.start([...deploy('1.0.0'), '--reason', 'a push', '--log', 'plain'])
    await running.until('waits for the agent site-a or site-b, which was never seen here')
    const agent = await site.start()
    const { code, stdout, stderr } = await running.finished
    t.equal(code, 0, stderr)
    t.match(stdout, /webapi@1\.0\.0 runs in test/)
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
    const current = { by: 'dev-wang', identity: world.issuer.url, reason: 'a push' }
    t.match(await ledger.currentDeployment('webapi', 'test'), current)
    const [taken, asked] = await ledger.audits({ limit: 2 })
    t.match(taken, { subject: 'token site-a', verb: 'agent', decision: 'allowed' })
    t.match(asked, { verb: 'deploy', decision: 'allowed' })
    t.match(agent.output(), /job \d+ of team\/webapi \(dev-wang\) may, by grants\[0\]/)
    for (const secret of [...Object.values(SECRETS), site.token]) {
      t.notMatch(`${stdout}${stderr}${world.log()}${agent.output()}`, secret)
      t.notMatch(await textsIn(world.folder), secret, 'nothing of it is on the server')
    }
  })

  await t.test('a plan is made by the agent', async (t) => {
    const job = await world.job(t)
    const { stdout, code, stderr } = await job.run([...deploy('1.0.1'), '--plan', '--json'])
    t.equal(code, 0, stderr)
    t.match(JSON.parse(stdout), { kind: 'deploy', release: 'webapi@1.0.1', ready: true })
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
  })

  await t.test('what the server allows and the agent does not is refused there', async (t) => {
    const branch = await world.job(t, { ref: 'feature', ref_protected: 'false' })
    const ran = await branch.run(deploy('1.0.1'))
    t.equal(ran.code, 1)
    t.match(ran.stderr, /the agent refuses: .*grants\[0\] needs ref-protected true/)
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
  })

  await t.test('a run without an ID token is refused: the agent could not check it', async (t) => {
    const create = ['tokens', 'create', 'jenkins', '--app', 'webapi', '--env', 'test']
    const verbs = ['view', 'logs', 'deploy', 'force'].flatMap((verb) => ['--verb', verb])
    const made = await world.operator([...create, ...verbs, '--expires', '1d'])
    jenkins = made.stdout.trim()
    const machine = await world.job(t, {}, { CROSSCLOUD_ID_TOKEN: '', CROSSCLOUD_TOKEN: jenkins })
    const ran = await machine.run(deploy('1.0.1'))
    t.equal(ran.code, 1)
    t.match(ran.stderr, /token jenkins has no ID token that this agent could check/)
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
  })

  await t.test('an agent token without its key is worth nothing', async (t) => {
    const ask = (authorization: string) =>
      fetch(`${world.url}/api/v1/agents/lease`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json' },
        body: '{"version":"x"}',
      })
    t.equal((await ask(`Bearer ${site.token}`)).status, 401)
    t.equal((await ask(`DPoP ${site.token}`)).status, 401)
  })

  await t.test('a cancelled job cancels its run at the agent', async (t) => {
    const lock = await ledger.lock('webapi', 'test', 'somebody', 'a test', 300_000)
    const job = await world.job(t)
    const running = job.start(deploy('1.0.1', '--lock-wait', '5m'))
    await running.until('somebody')
    running.child.kill('SIGTERM')
    const { code, stderr } = await running.finished
    t.not(code, 0)
    t.match(stderr, /cancel/i)
    await ledger.unlock(lock)
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
  })

  await t.test('an agent whose token is revoked gets no work any more', async (t) => {
    t.equal((await world.operator(['tokens', 'revoke', 'site-a'])).code, 0)
    t.ok(await until(() => /api-token-revoked/.test(world.log()), 60_000))
    const agents = async () => {
      const headers = { authorization: `Bearer ${jenkins}` }
      const answer = await fetch(`${world.url}/api/v1/agents`, { headers })
      return (await answer.json()) as { items: [AgentInfo, AgentInfo] }
    }
    const place = { app: 'webapi', environment: 'test' }
    t.match(await agents(), { items: [{ name: 'site-a', places: [place] }, { lastSeen: null }] })
    t.ok(await until(async () => (await agents()).items[0].connected === false, 60_000))
    const job = await world.job(t)
    const running = job.start(deploy('1.0.1'))
    await running.until('waits for the agent site-a or site-b, last seen')
    running.child.kill('SIGTERM')
    t.match((await running.finished).stderr, /cancel/i)
    t.equal(await page(), '<h1>webapi 1.0.0</h1>')
    t.match(await ledger.verifyAudit(), { intact: true })
  })
}

async function textsIn(folder: string): Promise<string> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = names.filter((entry) => entry.isFile())
  const texts = await Promise.all(
    files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'utf8')),
  )
  return texts.join('\n')
}
