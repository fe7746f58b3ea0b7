import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Running, runCli, startCli } from '../support/cli.ts'
import { noEngine } from '../support/engine.ts'
import { freeze } from '../support/freeze.ts'
import { buildTown, type Town } from '../support/town.ts'
import { until } from '../support/until.ts'

/** Milliseconds after a cancel until all must be closed: a runner's 6 s, less the way to the job. */
const LONGEST = 5500

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('deployments that a runner ends', { skip }, async () => {})
else {
  const town = await buildTown(t)
  await town.settle('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1']) await town.release(version)
  await ends(town)
}

async function ends(town: Town): Promise<void> {
  const settings = join(town.folder, 'crosscloud.yml')
  const plain = await readFile(settings, 'utf8')
  /** How the application behaves from the next deployment on; it may take 30 s to stop. */
  const behave = (env: Record<string, string>) =>
    writeFile(
      settings,
      plain.replace('stop-timeout: 1s', `stop-timeout: 30s, env: ${JSON.stringify(env)}`),
    )
  const options = { cwd: town.folder, env: town.variables }
  const deploy = (version: string) => ['deploy', '--release', `webapi@${version}`, '--env', 'test']
  const deployed = async (t: Test, version: string) => {
    const done = await runCli(deploy(version), options)
    t.equal(done.code, 0, `${version} is deployed: ${done.stderr}`)
    return done
  }
  const container = async (name = 'webapi-test') => {
    const { Id: id, State } = await town.engine.docker.getContainer(name).inspect()
    return { id, running: State.Running }
  }
  const ledger = async () => {
    const context = town.context()
    const found = await context.ledger()
    const [newest] = await found.deployments({ limit: 1 })
    const lock = await found.findLock('webapi', 'test')
    await context.close()
    return { newest, lock }
  }
  /** Starts 1.0.1 over 1.0.0 and waits until its log says so. */
  const startAt = async (text: string) => {
    const old = await container()
    const running = startCli(deploy('1.0.1'), options)
    await running.until(text)
    return { ...running, old }
  }
  /** What must be so after a cancel, long before the runner's SIGKILL. */
  const expectClosed = async (t: Test, old: { id: string }, cancelled: number) => {
    const isClosed = async () => {
      const { newest, lock } = await ledger()
      return newest?.state === 'failed' && !lock
    }
    t.ok(await until(isClosed, LONGEST), 'the ledger is told, and the lock is free')
    t.comment(`closed ${Date.now() - cancelled} ms after the cancel`)
    t.same(await container(), { id: old.id, running: true }, 'the old container runs')
    const { newest } = await ledger()
    t.match(newest, { version: '1.0.1', error: /^CANCELLED: .*stopped by SIG/ })
    t.match(newest?.error, /app-01: the old container runs again/)
  }
  const stages = async ({ child }: Running, signals: readonly [NodeJS.Signals, number][]) => {
    const start = Date.now()
    for (const [name, at] of signals) {
      await sleep(Math.max(0, start + at - Date.now()))
      if (child.exitCode === null && child.signalCode === null) child.kill(name)
    }
  }

  await t.test('GitHub: SIGINT, SIGTERM after 7.5 s, SIGKILL after 10 s', async (t) => {
    // The old container listens 9 s after its start: its health cannot be seen in time.
    await behave({ STOPPING: '5', SLOW: '9' })
    await deployed(t, '1.0.0')
    const running = await startAt('stopped the old webapi-test')
    const cancelled = Date.now()
    const ending = stages(running, [
      ['SIGINT', 0],
      ['SIGTERM', 7500],
      ['SIGKILL', 10_000],
    ])
    await expectClosed(t, running.old, cancelled)
    await Promise.all([ending, running.finished])
    t.equal(running.child.signalCode, 'SIGKILL', 'SIGTERM did not end the look at its health')
    t.match(running.output(), /the ledger is told, the lock is free/)
    await behave({})
    await deployed(t, '1.0.1')
  })

  await t.test("GitLab's docker executor: SIGTERM, SIGKILL after 6 s", async (t) => {
    await behave({ STOPPING: '5' })
    await deployed(t, '1.0.0')
    const running = await startAt('created webapi-test.next')
    // The engine has asked the old container to stop, which takes its time.
    await sleep(500)
    const cancelled = Date.now()
    const ending = stages(running, [
      ['SIGTERM', 0],
      ['SIGKILL', 6000],
    ])
    await expectClosed(t, running.old, cancelled)
    const { code, stderr } = await running.finished
    await ending
    t.equal(code, 1, 'it came to its own end')
    t.match(stderr, /error: .*stopped by SIGTERM\n {2}app-01: the old container serves again\n/)
    await behave({})
    await deployed(t, '1.0.1')
  })

  await t.test('a runner that is gone with its pipes cuts no clean-up', async (t) => {
    await behave({})
    await deployed(t, '1.0.0')
    const running = await startAt('stopped the old webapi-test')
    const ended = once(running.child, 'exit')
    running.child.stdout?.destroy()
    running.child.stderr?.destroy()
    running.child.kill('SIGTERM')
    await expectClosed(t, running.old, Date.now())
    t.same(await ended, [1, null])
    await deployed(t, '1.0.1')
  })

  await t.test(
    'act: SIGKILL at once, in whatever phase; the next deployment goes on',
    async (t) => {
      const phases = [
        `pulling ${town.repository}`,
        'created webapi-test.next',
        'stopped the old webapi-test',
        'webapi-test.next is healthy',
        'webapi-test is the new container',
      ]
      for (const phase of phases) {
        await deployed(t, '1.0.0')
        const running = await startAt(phase)
        running.child.kill('SIGKILL')
        await running.finished
        t.match(
          await ledger(),
          { newest: { state: 'running' }, lock: {} },
          `killed after: ${phase}`,
        )
        const left = (await ledger()).newest?.id
        const next = await deployed(t, '1.0.1')
        t.match(next.stdout, /warning: .* ended without giving back the lock of webapi in test/)
        t.match(next.stdout, `deployment ${left} of 1.0.1`)
        const context = town.context()
        const found = await (await context.ledger()).findDeployment(left ?? '')
        await context.close()
        t.match(found, { state: 'abandoned', error: /never reported its end/ })
        t.equal((await container()).running, true)
        t.equal(await town.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.1</h1>')
      }
    },
  )

  await t.test('a deployer that only stands still keeps its lock', async (t) => {
    await deployed(t, '1.0.0')
    const running = await startAt('stopped the old webapi-test')
    await freeze(running.child)
    const other = await runCli(deploy('1.0.0'), options)
    t.match(other, { code: 1, stderr: /webapi in test is locked by / })
    running.child.kill('SIGCONT')
    const { code, stderr } = await running.finished
    t.equal(code, 0, stderr)
    t.match(await ledger(), { newest: { state: 'succeeded', version: '1.0.1' }, lock: undefined })
  })
}
