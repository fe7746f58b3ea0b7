import { readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Libsql from 'libsql'
import t from 'tap'
import { isStepError } from '../../src/core/errors.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { deploy } from '../../src/steps/deploy.ts'
import { runStep } from '../../src/steps/inputs.ts'
import { rollback } from '../../src/steps/rollback.ts'
import { startCuttingProxy } from '../ledger/cutting-proxy.ts'
import { startMariadb } from '../ledger/mariadb.ts'
import { runCli, startCli } from '../support/cli.ts'
import { noEngine, startEngine } from '../support/servers/engine.ts'
import { missingProgram } from '../support/servers/server.ts'
import { createSandbox, listen, type Sandbox } from '../support/setups/sandbox.ts'
import { until } from '../support/until.ts'
import { foreignContainers } from './foreign-containers.ts'
import { whatRuns } from './what-runs.ts'

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('the life of deployments', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1', '1.0.2']) await sandbox.release(version)
  await life(sandbox)
  await t.test('what is compared in a container', (t) => whatRuns(t, sandbox))
  await t.test('containers that are not ours', (t) => foreignContainers(t, sandbox))
}

async function life(sandbox: Sandbox): Promise<void> {
  const FILE = '/tmp/app.properties'
  const put = async (version: string, more: object = {}, log = listen().log) => {
    const context = sandbox.context({ log })
    try {
      return await runStep(deploy, { release: `webapi@${version}`, env: 'test', ...more }, context)
    } finally {
      await context.close()
    }
  }
  const back = async (more: object = {}, log = listen().log) => {
    const context = sandbox.context({ log })
    try {
      return await runStep(rollback, { env: 'test', reason: 'orders fail', ...more }, context)
    } finally {
      await context.close()
    }
  }
  const greet = (text: string) =>
    writeFile(join(sandbox.folder, 'config/test.yaml'), `webapi:\n  greeting: ${text}\n`)
  const asked = async <T>(question: (ledger: Ledger) => Promise<T>) => {
    const context = sandbox.context()
    const found = await question(await context.ledger())
    await context.close()
    return found
  }
  const newest = (limit = 1) => asked((ledger) => ledger.deployments({ limit }))
  const markOf = (version: string) => asked((ledger) => ledger.findMark('webapi', 'test', version))
  const cli = (...args: string[]) => runCli(args, { cwd: sandbox.folder, env: sandbox.variables })
  /** As on another machine, which shares the ledger and nothing else. */
  const elsewhere = { ...sandbox.variables, CROSSCLOUD_STATE: join(sandbox.folder, '.elsewhere') }

  await t.test('rollback brings back the release before, with its config of then', async (t) => {
    const first = await put('1.0.0', { reason: 'first' })
    await greet('hello again')
    await put('1.0.1')
    t.equal(await sandbox.read('webapi-test', FILE), 'greeting=hello again\n')
    const done = await back()
    t.match(done, {
      release: 'webapi@1.0.0',
      left: 'webapi@1.0.1',
      config: 'then',
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
  })

  await t.test('and asked so, with its config of now', async (t) => {
    await t.rejects(back({ to: 'webapi@1.0.0', config: 'now' }), {
      code: 'INPUT_INVALID',
      message: 'webapi@1.0.0 runs there now: its config of now is a deployment',
    })
    await put('1.0.1', { force: true, reason: 'once more' })
    const done = await back({ config: 'now' })
    t.match(done, { release: 'webapi@1.0.0', left: 'webapi@1.0.1', config: 'now' })
    t.equal(await sandbox.read('webapi-test', FILE), 'greeting=hello again\n')
  })

  await t.test('a release left behind comes back only by force, and with a reason', async (t) => {
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
  })

  await t.test('a rollback that is refused marks nothing', async (t) => {
    await put('1.0.0', { older: true })
    await t.rejects(back({ to: 'webapi@1.0.1' }), {
      code: 'GATE_CLOSED',
      message: /known to be bad/,
    })
    t.equal(await markOf('1.0.0'), undefined, 'what runs is as good as before')
    t.match(await newest(), [{ version: '1.0.0', kind: 'deploy' }])
  })

  await t.test('of two rollbacks that wait together one goes back, once', async (t) => {
    await put('1.0.2')
    await put('1.0.0', { older: true })
    await put('1.0.2')
    const held = await asked((ledger) => ledger.lock('webapi', 'test', 'li', 'look', 60_000))
    const said = [listen(), listen()]
    const waiting = said.map(({ log }) => back({ lockWait: '60s' }, log))
    const results = Promise.allSettled(waiting)
    t.ok(await until(() => said.every(({ text }) => text().includes('waiting for it'))))
    await asked((ledger) => ledger.unlock(held))
    const [first, second] = (await results).sort((one) => (one.status === 'fulfilled' ? -1 : 1))
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
    await asked((ledger) =>
      ledger.mark({
        ...{ app: 'webapi', environment: 'test', version: '1.0.2', bad: false },
        ...{ by: 'li', reason: 'it was the network' },
      }),
    )
  })

  await t.test('a release older than the one that runs stops, whoever is late', async (t) => {
    await put('1.0.2')
    const late = { code: 'CONFLICT', hint: /crosscloud rollback --env test.*`--older`/ }
    await t.rejects(put('1.0.0'), {
      ...late,
      message: 'webapi@1.0.2 runs in test, and webapi@1.0.0 is older: it was recorded earlier',
    })
    t.match(await newest(), [{ version: '1.0.2', state: 'succeeded' }], 'none was begun')
    const said = listen()
    await put('1.0.0', { older: true }, said.log)
    t.match(said.text(), /warning: webapi@1\.0\.2 runs in test.*: this sets test back/)
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.0</h1>')
  })

  await t.test('of two deployments started together one waits, or fails', async (t) => {
    const results = await Promise.allSettled([put('1.0.0'), put('1.0.2')])
    const failed = results.filter((one) => one.status === 'rejected')
    t.equal(failed.length, 1)
    t.ok(isStepError(failed[0]?.reason, 'CONFLICT'), 'is locked')
    t.match(failed[0]?.reason.hint, /--lock-wait/)
    const wait = { lockWait: '60s', older: true }
    const said = listen()
    const both = await Promise.all([put('1.0.0', wait, said.log), put('1.0.2', wait, said.log)])
    t.match(said.text(), /is locked by .*waiting for it/)
    const [last, before] = await newest(2)
    t.same(
      new Set([last?.id, before?.id]),
      new Set(both.map(({ deployment }) => deployment)),
      'both came to their end',
    )
    t.ok((last?.startedAt ?? '') >= (before?.finishedAt ?? 'x'), 'one after the other')
  })

  await t.test('the next command names what a killed deployer left, and goes on', async (t) => {
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
    t.match(next.stdout, /never told its end/)
    t.match(next.stdout, /a deployment was cut off/)
    t.match(await newest(2), [
      { state: 'succeeded', hosts: [{ host: 'app-01', ok: true }] },
      { id: left?.id, state: 'abandoned', error: /never reported its end/ },
    ])
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.1</h1>')
  })

  await t.test('a deployer that was cut off does not change a younger deployment', async (t) => {
    const context = sandbox.context()
    const ledger = await context.ledger()
    const { chooseHosts } = await import('../../src/delivery/deployment/host-choice.ts')
    const { putOn, findRelease } = await import('../../src/delivery/deployment/deployment.ts')
    const environment = await context.environment('test')
    const release = await findRelease('webapi@1.0.0', ledger)
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
    const stale = putOn(request, { token: 0, ledger: lock.ledger, check: async () => {} }, context)
    await t.rejects(stale, { code: 'CONFLICT', message: /under lock \d+, younger than ours, 0/ })
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.1</h1>')
  })

  await t.test('one dead host holds up neither the others nor the looking', async (t) => {
    const settings = join(sandbox.folder, 'crosscloud.yml')
    const alone = await readFile(settings, 'utf8')
    const socket = join(sandbox.folder, 'app-02.sock')
    const both = alone.replace(/(app-01: "[^"]*")/, `$1, app-02: "unix://${socket}"`)
    await writeFile(settings, both)
    const begun = (await newest())[0]?.id
    const dead = {
      code: 'UNAVAILABLE',
      message: /^host app-02 .*does not answer/,
      hint: /`--without app-02` with `--reason`; `deploy --missing` catches up later/,
    }
    await t.rejects(put('1.0.2', { older: true }), dead)
    await t.rejects(back(), dead)
    t.equal((await newest())[0]?.id, begun, 'nothing was begun')
    const without = { without: ['app-02'], reason: 'its disk died' }
    await t.rejects(put('1.0.2', { ...without, reason: '' }), { message: /needs a reason/ })
    await put('1.0.2', without)
    t.match(await newest(), [
      {
        ...{ version: '1.0.2', state: 'succeeded', reason: 'its disk died' },
        hosts: [
          { host: 'app-01', ok: true },
          { host: 'app-02', ok: false, containerId: undefined },
        ],
      },
    ])
    const behind = /app-02 is behind, left out of d\d+; `crosscloud deploy --missing --env test`/
    t.match(await cli('status'), { code: 0, stdout: behind })
    const live = await cli('status', '--live')
    t.equal(live.code, 75, 'worth looking again')
    t.match(live.stdout, /test, app-01: runs, as the ledger says\n.*test, app-02: host app-02/)
    t.match(live.stderr, /host app-02 .*does not answer/)
    const list = await cli('hosts', 'list', '--env', 'test')
    t.match(list, { code: 75, stdout: /app-01 .* yes\napp-02 .*does not answer/ })
    t.match(await cli('hosts', 'containers', '--env', 'test'), {
      code: 75,
      stdout: /app-01 +webapi-test +1\.0\.2 +running/,
    })
    t.match(await cli('explain', 'webapi-other'), { code: 75, stderr: /app-02 .*does not answer/ })
    const verified = await cli('verify-md5', '--env', 'test')
    t.match(verified, { code: 0, stdout: /app-02 was left out of d\d+, and is not looked at/ })
    t.match(await cli('verify-md5', '--env', 'test', '--release', 'webapi@1.0.0'), {
      code: 1,
      stderr: /webapi-test on app-01 runs .*\nhost app-02 .*does not answer/,
    })

    const to = { to: 'webapi@1.0.0', without: ['app-02'] }
    const gone = await back(to)
    t.match(gone, {
      release: 'webapi@1.0.0',
      left: 'webapi@1.0.2',
      containers: [{ host: 'app-01' }],
    })
    const missing = ['deploy', '--missing', '--env', 'test']
    t.match(await cli(...missing), { code: 75, stderr: /host app-02 .*does not answer/ })

    const second = await startEngine()
    t.teardown(() => second.stop())
    await symlink(second.socket, socket)
    const kept = await sandbox.engine.docker.getContainer('webapi-test').inspect()
    const gate = 'gate: { approvals: 1, four-eyes: false }'
    await writeFile(
      settings,
      `${both.replace('test: {', `test: { ${gate},`)}\nidentity: unverified`,
    )
    t.match(await cli(...missing), { code: 1, stderr: /needs 1 more approval for test/ })
    await asked(async (ledger) => {
      const place = { app: 'webapi', environment: 'test', version: '1.0.0' }
      const said = { by: 'li', identity: 'unverified', decision: 'approved' } as const
      const release = await ledger.findRelease('webapi', '1.0.0')
      t.ok(release)
      if (release === undefined) return
      // Of no config: what the other hosts run with needs no approval of its own.
      const { digest } = release
      await ledger.recordApproval({ ...place, ...said, digest, groups: [], reason: 'tested' })
    })
    const caught = await cli(...missing, '--json')
    t.equal(caught.code, 0, caught.stderr)
    t.match(JSON.parse(caught.stdout), {
      ...{ release: 'webapi@1.0.0', configRevision: gone.configRevision },
      containers: [{ host: 'app-02' }],
    })
    await writeFile(settings, both)
    const there = await second.docker.getContainer('webapi-test').inspect()
    t.match(await newest(), [
      {
        hosts: [
          { host: 'app-01', ok: true, containerId: kept.Id },
          { host: 'app-02', ok: true, containerId: there.Id },
        ],
      },
    ])
    const untouched = await sandbox.engine.docker.getContainer('webapi-test').inspect()
    t.equal(untouched.State.StartedAt, kept.State.StartedAt)
    const whole = await cli('status', '--check')
    t.match(whole, { code: 0, stdout: /app-01: runs, as the.*\n.*app-02: runs, as the/ })
    t.notMatch(whole.stdout, 'is behind')
    t.match(await cli(...missing), { code: 1, stderr: /no host of webapi in test is behind/ })

    await writeFile(settings, alone)
    const forgotten = /app-02:? was taken out of crosscloud\.yml, and still runs webapi@1\.0\.0/
    t.match(await cli('status', '--check'), { code: 1, stderr: forgotten })
    const said = listen()
    await put('1.0.0', {}, said.log)
    t.match(said.text(), forgotten)
    await second.stop()
    const silent = listen()
    await put('1.0.0', {}, silent.log)
    t.notMatch(
      silent.text(),
      'app-02',
      'who is silent is named only after the last deployment to it',
    )
  })

  const noDatabase = missingProgram('mariadbd')
  await t.test('a ledger that goes away stops no rollout', { skip: noDatabase }, async (t) => {
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
    t.match(done.stdout, /the ledger was not told that d2 succeeded/)
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 2.0.1</h1>')
    proxy.up()
    const history = await cli('history', '--json')
    t.match(history.stderr, /told the ledger now .* deployment d2 succeeded/)
    t.match(JSON.parse(history.stdout), {
      deployments: [
        { id: 'd2', state: 'succeeded', version: '2.0.1' },
        { id: 'd1', state: 'succeeded' },
      ],
    })
  })
}
