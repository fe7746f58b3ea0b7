import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { noEngine } from '../support/servers/engine.ts'
import { deploy, startWorld } from './world.ts'

const skip = noEngine('docker-registry', 'gcc', 'git', 'redis-server')
if (skip) t.test('agents and servers that are killed', { skip }, async () => {})
else await kills(t)

/** In every phase the outcome is right, once, and the job ends with its exit code. */
async function kills(t: Test): Promise<void> {
  const world = await startWorld(t)
  const { ledger, page } = world
  const site = await world.agent(t, 'site-a')
  const second = await world.agent(t, 'site-b')
  let agent = await site.start()
  let version = '1.0.0'
  const other = () => {
    version = version === '1.0.0' ? '1.0.1' : '1.0.0'
    return version
  }
  const kill = async () => {
    agent.child.kill('SIGKILL')
    await agent.finished
  }
  /** A run that waits for the lock of the environment: its command has started. */
  const held = async (t: Test) => {
    const lock = await ledger.lock('webapi', 'test', 'somebody', 'a test', 300_000)
    const wanted = other()
    const before = await world.succeeded(wanted)
    const job = await world.job(t)
    const running = job.start(deploy(wanted, '--lock-wait', '5m'))
    await running.until('somebody')
    return {
      /** Lets it go on, and looks at its end. */
      async succeeds() {
        await ledger.unlock(lock)
        const { code, stderr } = await running.finished
        t.equal(code, 0, stderr)
        t.equal(await page(), `<h1>webapi ${wanted}</h1>`)
        t.equal(await world.succeeded(wanted), before + 1, 'once')
        return stderr
      },
    }
  }

  await t.test('an agent is killed while its command runs, and started again', async (t) => {
    const run = await held(t)
    await kill()
    agent = await site.start()
    await run.succeeds()
  })

  await t.test('an agent is killed, and another one goes on', async (t) => {
    const run = await held(t)
    await kill()
    const other = await second.start()
    await other.until('deploy of webapi in test')
    await run.succeeds()
    other.child.kill('SIGTERM')
    t.equal((await other.finished).code, 0)
    agent = await site.start()
  })

  await t.test('an agent that stood still meanwhile reports nothing any more', async (t) => {
    const run = await held(t)
    agent.child.kill('SIGSTOP')
    const other = await second.start()
    await other.until('deploy of webapi in test')
    agent.child.kill('SIGCONT')
    await agent.until('the lease of run')
    await run.succeeds()
    other.child.kill('SIGTERM')
    await other.finished
  })

  await t.test('a server is killed while an agent works for it', async (t) => {
    const run = await held(t)
    await world.stopServer()
    await sleep(5000)
    await world.restartServer()
    await run.succeeds()
  })

  await t.test('a server is away while the command ends', async (t) => {
    const run = await held(t)
    await world.stopServer()
    const ended = run.succeeds()
    await sleep(8000)
    await world.restartServer()
    await ended
  })

  await t.test('the network is cut for longer than a lease lasts', async (t) => {
    const run = await held(t)
    world.network.cut()
    const ended = run.succeeds()
    await sleep(8000)
    world.network.mend()
    await ended
  })

  await t.test('Redis is restarted', async (t) => {
    const run = await held(t)
    // It writes what it has once a second.
    await sleep(1500)
    await world.redis.stop('SIGKILL')
    await sleep(2000)
    await world.redis.start()
    await run.succeeds()
  })

  await t.test('an agent that is stopped gives back what does not end in time', async (t) => {
    const run = await held(t)
    agent.child.kill('SIGTERM')
    const { code, stdout } = await agent.finished
    t.equal(code, 0)
    t.match(stdout, /given back, as this agent stops/)
    agent = await site.start()
    await run.succeeds()
  })

  await t.test(
    'server and agent are killed at once, before and after the command starts',
    async (t) => {
      for (const pause of [0, 300, 900, 2500]) {
        const wanted = other()
        const before = await world.succeeded(wanted)
        const job = await world.job(t)
        const running = job.start(deploy(wanted, '--lock-wait', '5m'))
        await running.until('runs on')
        await sleep(1000 + pause)
        await Promise.all([kill(), world.stopServer()])
        await world.restartServer()
        agent = await site.start()
        const { code, stderr } = await running.finished
        t.equal(code, 0, `${pause} ${stderr}`)
        t.equal(await page(), `<h1>webapi ${wanted}</h1>`)
        t.equal(await world.succeeded(wanted), before + 1, `once, ${pause}`)
      }
    },
  )

  await t.test('the audit log is a chain without a gap', async (t) => {
    t.match(await ledger.verifyAudit(), { intact: true })
  })
}
