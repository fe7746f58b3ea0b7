import { join } from 'node:path'
import Libsql from 'libsql'
import t from 'tap'
import { isStepError } from '../../src/core/errors.ts'
import { runCli, startCli } from '../support/cli.ts'
import { runHere } from '../support/program.ts'
import { noEngine } from '../support/servers/engine.ts'
import { startMariadb } from '../support/servers/mariadb.ts'
import { startCuttingProxy } from '../support/servers/proxies/cutting-proxy.ts'
import { missingProgram } from '../support/servers/server.ts'
import { createSandbox, listen, type Sandbox } from '../support/setups/sandbox.ts'
import { until } from '../support/until.ts'
import { deadHost } from './dead-host.ts'
import { foreignContainers } from './foreign-containers.ts'
import { createLife } from './life.ts'
import { whatRuns } from './what-runs.ts'

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('the life of deployments', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1', '1.0.2']) await sandbox.release(version)
  await liveThrough(sandbox)
  await t.test('what is compared in a container', (t) => whatRuns(t, sandbox))
  await t.test('containers that are not ours', (t) => foreignContainers(t, sandbox))
}

async function liveThrough(sandbox: Sandbox): Promise<void> {
  const FILE = '/tmp/app.properties'
  const life = createLife(sandbox)
  const { put, back, greet, withLedger, newest, markOf } = life
  const cli = (...args: string[]) =>
    runHere(args, {
      cwd: sandbox.folder,
      variables: { ...sandbox.variables, CROSSCLOUD_SERVER: '' },
    })
  /** As on another machine, which shares the ledger and nothing else. */
  const elsewhere = {
    ...sandbox.variables,
    CROSSCLOUD_STATE: join(sandbox.folder, '.elsewhere'),
  }

  await t.test(
    'a rollback restores the previous release with the config it had then',
    async (t) => {
      const first = await put('1.0.0', { reason: 'first' })
      await greet('hello again')
      await put('1.0.1')
      t.equal(await sandbox.read('webapi-test', FILE), 'greeting=hello again\n')
      const done = await back()
      t.match(done, {
        release: 'webapi@1.0.0',
        left: 'webapi@1.0.1',
        config: 'then',
        skipped: [],
        configRevision: first.configRevision,
        digest: first.digest,
      })
      t.equal(await sandbox.read('webapi-test', FILE), 'greeting=hello\n')
      t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.0</h1>')
      t.match(await newest(), [
        {
          kind: 'rollback',
          version: '1.0.0',
          state: 'succeeded',
          reason: 'orders fail',
          configRevision: first.configRevision,
          hosts: [{ host: 'app-01', ok: true }],
        },
      ])
    },
  )

  await t.test(
    'a rollback with --config now restores the release with the current config',
    async (t) => {
      await t.rejects(back({ to: 'webapi@1.0.0', config: 'now' }), {
        code: 'INPUT_INVALID',
        message: "webapi@1.0.0 runs there now: for today's config, deploy it",
      })
      await put('1.0.1', { force: true, reason: 'once more' })
      const done = await back({ config: 'now' })
      t.match(done, { release: 'webapi@1.0.0', left: 'webapi@1.0.1', config: 'now' })
      t.equal(await sandbox.read('webapi-test', FILE), 'greeting=hello again\n')
    },
  )

  await t.test(
    'a release marked bad is deployed again only by force and with a reason',
    async (t) => {
      const refused = { code: 'GATE_CLOSED', message: /1\.0\.1 is known to be bad in test.*orders/ }
      await t.rejects(put('1.0.1'), refused)
      await t.rejects(put('1.0.1', { force: true }), refused)
      t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.0</h1>')
      await put('1.0.1', { force: true, reason: 'it was the network' })
      t.match(await newest(), [{ version: '1.0.1', forced: true, state: 'succeeded' }])
      await t.rejects(back({ to: 'webapi@9.9.9' }), {
        code: 'NOT_FOUND',
        message: 'webapi@9.9.9 never ran in test',
      })
    },
  )

  await t.test('a rollback that is refused marks nothing', async (t) => {
    await put('1.0.0', { older: true })
    await t.rejects(back({ to: 'webapi@1.0.1' }), {
      code: 'GATE_CLOSED',
      message: /known to be bad/,
    })
    t.equal(await markOf('1.0.0'), undefined, 'what runs is as good as before')
    t.match(await newest(), [{ version: '1.0.0', kind: 'deploy' }])
  })

  await t.test('of two rollbacks that wait together exactly one is done', async (t) => {
    await put('1.0.2')
    await put('1.0.0', { older: true })
    await put('1.0.2')
    const held = await withLedger((ledger) => ledger.lock('webapi', 'test', 'li', 'look', 60_000))
    const logs = [listen(), listen()]
    const waiting = logs.map(({ log }) => back({ lockWait: '60s' }, log))
    const results = Promise.allSettled(waiting)
    t.ok(await until(() => logs.every(({ text }) => text().includes('waiting for it'))))
    await withLedger((ledger) => ledger.unlock(held))
    const [first, second] = (await results).sort((result) =>
      result.status === 'fulfilled' ? -1 : 1,
    )
    t.match(first, { value: { release: 'webapi@1.0.0', left: 'webapi@1.0.2' } })
    t.match(second, {
      reason: {
        code: 'CONFLICT',
        message:
          /test has changed while this rollback of webapi@1\.0\.2 waited: .* put webapi@1\.0\.0/,
      },
    })
    t.match(await markOf('1.0.2'), { bad: true, reason: 'orders fail' })
    t.equal(await markOf('1.0.0'), undefined, 'the good one stays good')
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.0</h1>')
    await withLedger((ledger) =>
      ledger.mark({
        app: 'webapi',
        environment: 'test',
        version: '1.0.2',
        bad: false,
        by: 'li',
        reason: 'it was the network',
      }),
    )
  })

  await t.test('a release older than the running one is refused without --older', async (t) => {
    await put('1.0.2')
    const late = { code: 'CONFLICT', hint: /crosscloud rollback --env test.*`--older`/ }
    await t.rejects(put('1.0.0'), {
      ...late,
      message: 'webapi@1.0.2 runs in test, and webapi@1.0.0 is older: it was recorded earlier',
    })
    t.match(await newest(), [{ version: '1.0.2', state: 'succeeded' }], 'none was begun')
    const captured = listen()
    await put('1.0.0', { older: true }, captured.log)
    t.match(captured.text(), /warning: webapi@1\.0\.2 runs in test.*: this sets test back/)
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.0</h1>')
  })

  await t.test('of two deployments started together one waits, or fails', async (t) => {
    const results = await Promise.allSettled([put('1.0.0'), put('1.0.2')])
    const failed = results.filter((result) => result.status === 'rejected')
    t.equal(failed.length, 1)
    t.ok(isStepError(failed[0]?.reason, 'CONFLICT'), 'is locked')
    t.match(failed[0]?.reason.hint, /--lock-wait/)
    const wait = { lockWait: '60s', older: true }
    const captured = listen()
    const both = await Promise.all([
      put('1.0.0', wait, captured.log),
      put('1.0.2', wait, captured.log),
    ])
    t.match(captured.text(), /is locked by .*waiting for it/)
    const [last, before] = await newest(2)
    t.same(
      new Set([last?.id, before?.id]),
      new Set(both.map(({ deployment }) => deployment)),
      'both came to their end',
    )
    t.ok((last?.startedAt ?? '') >= (before?.finishedAt ?? 'x'), 'one after the other')
  })

  await t.test('the next command reports what a killed deployer left and continues', async (t) => {
    const args = ['deploy', '--release', 'webapi@1.0.1', '--env', 'test']
    const forced = [...args, '--older', '--force', '--reason', 'again']
    const running = startCli(forced, { cwd: sandbox.folder, env: sandbox.variables })
    await running.until('stopped the old webapi-test')
    running.child.kill('SIGKILL')
    await running.finished
    const db = new Libsql(join(sandbox.folder, 'ledger.db'))
    const [lock] = db.prepare('select * from locks').all()
    t.ok(lock, 'it died with the lock')
    t.match(await newest(), [{ version: '1.0.1', state: 'running' }])
    const locked = await runCli(forced, { cwd: sandbox.folder, env: elsewhere })
    t.equal(locked.code, 1, 'another machine cannot know that it is dead')
    t.match(locked.stderr, /webapi in test is locked by /)
    t.match(
      locked.stderr,
      /`--lock-wait 10m` waits for it; a run that was killed keeps it a minute/,
    )
    // Its minute is over.
    db.exec("update locks set expires_at = '2020-01-01T00:00:00.000Z'")
    db.close()
    const [left] = await newest()
    t.match(left, { state: 'abandoned', finishedAt: undefined })
    const next = await runCli(forced, { cwd: sandbox.folder, env: elsewhere })
    t.equal(next.code, 0, next.stderr)
    t.match(next.stdout, `deployment ${left?.id} of 1.0.1`)
    t.match(next.stdout, /never reported its end/)
    t.match(next.stdout, /a deployment was cut off/)
    t.match(await newest(2), [
      { state: 'succeeded', hosts: [{ host: 'app-01', ok: true }] },
      { id: left?.id, state: 'abandoned', error: /never reported its end/ },
    ])
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.1</h1>')
  })

  await t.test('a deployer that lost its lock does not change a younger deployment', async (t) => {
    const context = sandbox.context()
    const ledger = await context.ledger()
    const { chooseHosts } = await import('../../src/delivery/deployment/host-choice.ts')
    const { deployUnderLock } = await import('../../src/delivery/deployment/deployment.ts')
    const { findRelease } = await import('../../src/delivery/release.ts')
    const environment = await context.environment('test')
    const release = await findRelease({ app: 'webapi', version: '1.0.0' }, ledger)
    const request = {
      kind: 'deploy' as const,
      release,
      environment,
      hosts: chooseHosts(environment, [], ''),
      reason: '',
      force: false,
      older: true,
    }
    const lock = await ledger.lock('webapi', 'test', 'li', 'to see its ledger', 1000)
    await ledger.unlock(lock)
    const stale = deployUnderLock(
      request,
      { token: 0, ledger: lock.ledger, check: async () => {} },
      context,
    )
    await t.rejects(stale, { code: 'CONFLICT', message: /under lock \d+, younger than ours, 0/ })
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.1</h1>')
  })

  await t.test('a dead host blocks neither the other hosts nor the commands that only read', (t) =>
    deadHost(t, sandbox, life),
  )

  const noDatabase = missingProgram('mariadbd')
  await t.test(
    'a rollout continues when the ledger becomes unreachable',
    { skip: noDatabase },
    async (t) => {
      const mariadb = await startMariadb(t)
      await mariadb.query('create database ledger')
      await mariadb.query("create user 'crosscloud'@'%' identified by 'secret'")
      await mariadb.query("grant all on ledger.* to 'crosscloud'@'%'")
      const proxy = await startCuttingProxy(t, mariadb.port)
      await sandbox.configure(`mysql://crosscloud:secret@127.0.0.1:${proxy.port}/ledger`)
      for (const version of ['2.0.0', '2.0.1']) await sandbox.release(version)
      await put('2.0.0', { adopt: true })
      const args = ['deploy', '--release', 'webapi@2.0.1', '--env', 'test']
      proxy.down()
      const refused = await cli(...args)
      t.match(refused, { code: 75, stderr: /does not answer/ })
      t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 2.0.0</h1>')
      proxy.up()
      const running = startCli(args, { cwd: sandbox.folder, env: sandbox.variables })
      await running.until('stopped the old webapi-test')
      proxy.down()
      const done = await running.finished
      t.equal(done.code, 0, done.stderr)
      t.match(done.stdout, /the ledger could not record that d2 succeeded/)
      t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 2.0.1</h1>')
      proxy.up()
      const history = await cli('history', '--json')
      t.match(history.stderr, /recorded in the ledger now, .* deployment d2 succeeded/)
      t.match(JSON.parse(history.stdout), {
        deployments: [
          { id: 'd2', state: 'succeeded', version: '2.0.1' },
          { id: 'd1', state: 'succeeded' },
        ],
      })
    },
  )
}
