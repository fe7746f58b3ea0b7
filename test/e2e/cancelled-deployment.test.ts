import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Running } from '../support/cli.ts'
import { createDeployer } from '../support/deployer.ts'
import { noEngine } from '../support/engine.ts'
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
  const { behave, deployed, container, ledger, startAt } = await createDeployer(town)
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
    t.match(running.output(), /the ledger is told that d\d+ failed[\s\S]*the lock is free/)
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
    await Promise.all([ending, running.finished])
    await behave({})
    await deployed(t, '1.0.1')
  })

  await t.test('a runner that is gone with its pipes cuts no clean-up', async (t) => {
    const running = await startAt('stopped the old webapi-test')
    const ended = once(running.child, 'exit')
    running.child.stdout?.destroy()
    running.child.stderr?.destroy()
    running.child.kill('SIGTERM')
    await expectClosed(t, running.old, Date.now())
    t.same(await ended, [1, null])
    await deployed(t, '1.0.1')
  })
}
