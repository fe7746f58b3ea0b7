import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Running } from '../support/cli.ts'
import { noEngine } from '../support/servers/engine.ts'
import { startMariadb } from '../support/servers/mariadb.ts'
import { missingProgram } from '../support/servers/server.ts'
import { createDeployer } from '../support/setups/deployer.ts'
import { createSandbox, type Sandbox } from '../support/setups/sandbox.ts'
import { until } from '../support/until.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const ACTION = fileURLToPath(new URL('../../dist/deploy.cjs', import.meta.url))

/** Milliseconds after a cancel until all must be closed: a runner's 6 s, less the way to the job. */
const LONGEST = 5500

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('deployments that a runner ends', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1']) await sandbox.release(version)
  await ends(sandbox)
}

async function ends(sandbox: Sandbox): Promise<void> {
  const deployer = await createDeployer(sandbox)
  const { behave, deployed, container, ledger, startAt, options, deploy } = deployer
  /** What must be so after a cancel, long before the runner's SIGKILL. */
  const expectClosed = async (t: Test, old: { id: string }, cancelled: number) => {
    const isClosed = async () => {
      const { newest, lock } = await ledger()
      return newest?.state === 'failed' && !lock
    }
    t.ok(await until(isClosed, LONGEST), 'the ledger records the failure, and the lock is free')
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

  await t.test(
    'a cancel by GitHub (SIGINT, SIGTERM after 7.5 s, SIGKILL after 10 s) leaves the old container running and the ledger closed',
    async (t) => {
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
      t.match(running.output(), /the ledger has recorded that d\d+ failed[\s\S]*the lock is free/)
      await behave({})
      await deployed(t, '1.0.1')
    },
  )

  await t.test(
    "a cancel by GitLab's docker executor (SIGTERM, SIGKILL after 6 s) leaves the old container running and the ledger closed",
    async (t) => {
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
    },
  )

  await t.test('a closed pipe or terminal does not end a deployment', async (t) => {
    const table: [what: string, gone: (running: Running) => void][] = [
      [
        'EPIPE',
        ({ child }) => void [child.stdout, child.stderr].map((stream) => stream?.destroy()),
      ],
      ['SIGHUP', ({ child }) => void child.kill('SIGHUP')],
    ]
    for (const [what, gone] of table) {
      await deployed(t, '1.0.0')
      const running = await startAt('created webapi-test.next')
      const ended = once(running.child, 'exit')
      gone(running)
      t.same(await ended, [0, null], what)
      t.match(await ledger(), { newest: { version: '1.0.1', state: 'succeeded' }, lock: undefined })
      t.match(await container(), { running: true })
      t.not((await container()).id, running.old.id)
    }
  })

  await t.test(
    'a full disk under the output does not end a deployment, and the loss is reported',
    async (t) => {
      await deployed(t, '1.0.0')
      const full = await open('/dev/full', 'w')
      t.teardown(() => full.close())
      const env = { ...process.env, GITLAB_CI: '', GITHUB_ACTIONS: '', ...options.env }
      // A deployment prints in between; what is printed at the very end is lost no less.
      for (const command of [deploy('1.0.1'), ['status', '--json']]) {
        const child = spawn(process.execPath, [MAIN, ...command], {
          cwd: options.cwd,
          env,
          stdio: ['ignore', full.fd, 'pipe'],
        })
        const errors = text(child.stderr as Readable)
        t.same(await once(child, 'exit'), [1, null], command.join(' '))
        t.match(await errors, 'what was done is done, but not all of it could be printed: ENOSPC')
      }
      t.match(await ledger(), { newest: { version: '1.0.1', state: 'succeeded' }, lock: undefined })
    },
  )

  await t.test('a cancel whose runner is gone still cleans up', async (t) => {
    const running = await startAt('stopped the old webapi-test')
    const ended = once(running.child, 'exit')
    running.child.stdout?.destroy()
    running.child.stderr?.destroy()
    running.child.kill('SIGTERM')
    await expectClosed(t, running.old, Date.now())
    t.same(await ended, [1, null])
    await deployed(t, '1.0.1')
  })

  await t.test('Ctrl-C in a command `before` ends with what became of it', async (t) => {
    await deployed(t, '1.0.0')
    const before = 'rollout: { before: [/server, "0", at-work, "600"] }'
    await sandbox.configure('sqlite:ledger.db', before)
    const running = await startAt('| command at-work')
    running.child.kill('SIGINT')
    const { code, stderr } = await running.finished
    t.equal(code, 1)
    const words =
      /host app-01: stopped by SIGINT: before was killed at its work after [\d.]+ s; its container is removed; no host was changed/
    t.match(stderr, words)
    t.match(stderr, /→ What it has done so far stays\./)
    const { newest, lock } = await ledger()
    t.match(newest, { state: 'failed', error: words })
    t.match(newest?.error, /\| command at-work/, 'its lines are in the ledger')
    t.equal(lock, undefined)
    t.same(await container(), { id: running.old.id, running: true })
    await t.rejects(container('webapi-test.before'), /no such container/i)
  })

  const noDatabase = missingProgram('mariadbd')
  await t.test(
    'a closed pipe or terminal does not end a deployment in an action',
    { skip: noDatabase },
    async (t) => {
      const mariadb = await startMariadb(t)
      await mariadb.query('create database ledger')
      await mariadb.query("create user 'crosscloud'@'%' identified by 'secret'")
      await mariadb.query("grant all on ledger.* to 'crosscloud'@'%'")
      await sandbox.configure(
        `mysql://crosscloud:secret@127.0.0.1:${mariadb.port}/ledger`,
        '',
        'name: webapi-action',
      )
      await sandbox.release('1.0.1')
      const env = { ...sandbox.variables, INPUT_RELEASE: 'webapi@1.0.1', INPUT_ENV: 'test' }
      const child = spawn(process.execPath, [ACTION], {
        cwd: sandbox.folder,
        env: { PATH: process.env.PATH, GITHUB_ACTIONS: 'true', ...env },
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      const ended = once(child, 'exit')
      await new Promise<void>((resolve) => {
        child.stdout.on('data', (printed) => {
          if (String(printed).includes('created webapi-action.next')) resolve()
        })
      })
      child.kill('SIGHUP')
      child.stdout.destroy()
      t.same(await ended, [0, null])
      t.match(await ledger(), { newest: { version: '1.0.1', state: 'succeeded' }, lock: undefined })
      t.match(await container('webapi-action'), { running: true })
    },
  )
}
