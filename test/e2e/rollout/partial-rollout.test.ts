import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runHere } from '../../support/program.ts'
import { noEngine, startEngine, type TestEngine } from '../../support/servers/engine.ts'
import { freePort } from '../../support/servers/ports.ts'
import { createSandbox, type Sandbox } from '../../support/setups/sandbox.ts'
import { createLife } from '../life.ts'

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('partial rollouts', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  const second = await startEngine()
  t.teardown(() => second.stop())
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1', '1.0.2']) await sandbox.release(version)
  await liveThrough(sandbox, second)
}

async function liveThrough(sandbox: Sandbox, second: TestEngine): Promise<void> {
  const { put, back, newest, withLedger } = createLife(sandbox)
  const settings = join(sandbox.folder, 'crosscloud.yml')
  /** Two hosts on one machine: with a port that is given, only the first can have it. */
  const configure = async (port: number | '', ...rollout: string[]) => {
    await sandbox.configure('sqlite:ledger.db', `rollout: { ${rollout.join(', ')} }`)
    const text = await readFile(settings, 'utf8')
    const both = text.replace(/(app-01: "[^"]*")/, `$1, app-02: "${second.address}"`)
    await writeFile(settings, both.replace('127.0.0.1::8080', `127.0.0.1:${port}:8080`))
  }
  const cli = (...args: string[]) =>
    runHere(args, {
      cwd: sandbox.folder,
      variables: { ...sandbox.variables, CROSSCLOUD_SERVER: '' },
    })
  const ids = async () => {
    const containers = [sandbox.engine, second].map(({ docker }) =>
      docker.getContainer('webapi-test').inspect(),
    )
    return (await Promise.all(containers)).map(({ Id }) => Id)
  }
  const missing = ['deploy', '--missing', '--env', 'test']

  /** 1.0.1 on app-01, while 1.0.0 stays on app-02. */
  const leavePart = async (t: Test) => {
    const [, kept] = await ids()
    await configure(await freePort(), 'on-failure: stop')
    await t.rejects(put('1.0.1', { force: true, reason: 'again' }), {
      code: 'CONFLICT',
      message: /app-01: the new container serves\n {2}app-02: the old container serves again/,
      hint: /`crosscloud deploy --missing --release webapi@\S+ --env test` .*`crosscloud rollback --env test --reason …`/,
    })
    await configure('', 'on-failure: stop')
    const [there, untouched] = await ids()
    t.equal(untouched, kept)
    const [failed] = await newest()
    t.match(failed, {
      state: 'failed',
      version: '1.0.1',
      verified: false,
      hosts: [
        { host: 'app-01', ok: true, containerId: there },
        { host: 'app-02', ok: false, containerId: kept },
      ],
    })
    return { id: failed?.id ?? '', there, kept }
  }

  await t.test('a rollback takes back what stays on some hosts, and marks nothing', async (t) => {
    await configure('', 'parallel: 2')
    await put('1.0.0')
    await leavePart(t)
    t.match(await back(), { release: 'webapi@1.0.0', left: 'webapi@1.0.1', marked: false })
    t.match(await newest(), [{ state: 'succeeded', kind: 'rollback', version: '1.0.0' }])
    t.match(await cli('status', '--check'), { code: 0 })
  })

  await t.test('what runs is brought back to the hosts that were changed, alone', async (t) => {
    const { kept } = await leavePart(t)
    const done = await cli(...missing, '--release', 'webapi@1.0.0', '--older')
    t.equal(done.code, 0, done.stderr)
    t.equal((await ids())[1], kept)
    t.match(await newest(), [{ state: 'succeeded', version: '1.0.0' }])
    t.notMatch((await cli('status')).stdout, /failed on other hosts/)
  })

  await t.test('what stays on some hosts is shown, and is brought to the others', async (t) => {
    const { id, there } = await leavePart(t)
    t.match(await cli('status'), {
      code: 0,
      stdout: new RegExp(`app-01 runs 1\\.0\\.1 of ${id}, which failed on other hosts`),
    })
    const live = await cli('status', '--live')
    t.match(live.stdout, new RegExp(`app-01: runs 1\\.0\\.1 of ${id}, as the ledger says`))
    t.match(live.stdout, /app-02: runs, as the ledger says/)
    t.equal((await cli('status', '--check')).code, 1, 'hosts differ')
    t.match(await cli('show', 'webapi@1.0.1'), {
      stdout: new RegExp(`${id} test, app-01: runs as .*\\n.*${id} test, app-02: did not change`),
    })
    t.match(await cli(...missing), {
      code: 1,
      stderr: new RegExp(`hosts of test differ: app-01 runs 1\\.0\\.1 of ${id}`),
    })
    const done = await cli(...missing, '--release', 'webapi@1.0.1')
    t.equal(done.code, 0, done.stderr)
    t.equal((await ids())[0], there, 'the other host is not touched')
    t.match(await newest(), [
      { state: 'succeeded', version: '1.0.1', hosts: [{ ok: true }, { ok: true }] },
    ])
    t.match(await cli('status', '--check'), {
      code: 0,
      stdout: /app-01: runs, as the.*\n.*app-02: runs, as the/,
    })
  })

  await t.test('a rollback across a migration must be meant', async (t) => {
    const migrate = 'before: [/server, "0", migrate tables]'
    await configure('', 'parallel: 2', migrate)
    const { deployment } = await put('1.0.2')
    const events = await cli('history', '--only', 'events')
    t.match(events.stdout, /command .*before started on app-01: \/server 0 migrate tables/)
    const recorded = await withLedger((ledger) => ledger.events({ action: 'command', limit: 9 }))
    t.match(recorded, [
      { subject: deployment, reason: /^before succeeded after .* s\n(?:.*\n)*command migrate/ },
      { subject: deployment, reason: /^before started/ },
    ])
    const refused = {
      code: 'CONFLICT',
      message:
        /^webapi@1\.0\.[01] is older .*\nwebapi@1\.0\.2 \(d\d+\) has run a command there since/,
      hint: /`--across-migration`/,
    }
    const before = await newest()
    await t.rejects(back(), refused)
    await t.rejects(put('1.0.0', { older: true }), refused)
    await t.rejects(put('1.0.0', { older: true, acrossMigration: true }), {
      message: '`--across-migration` needs a reason',
    })
    t.same(await newest(), before, 'none was begun')
    const done = await back({ acrossMigration: true })
    t.match(done, { release: 'webapi@1.0.1', left: 'webapi@1.0.2' })
    const [crossing] = await withLedger((ledger) =>
      ledger.events({ action: 'across-migration', limit: 1 }),
    )
    t.match(crossing, { subject: done.deployment, reason: 'orders fail' })
    const now = await withLedger((ledger) => ledger.events({ action: 'command', limit: 9 }))
    t.equal(now.length, 2, 'a rollback runs no command')
  })

  await t.test('what a command prints is kept, without secrets', async (t) => {
    const secret = 'not-for-the-ledger'
    await configure('', 'before: [/server, "3", "password ${DB_PASSWORD}"]')
    const variables = { ...sandbox.variables, CROSSCLOUD_SERVER: '', DB_PASSWORD: secret }
    const args = ['deploy', '--release', 'webapi@1.0.2', '--env', 'test']
    const forced = [...args, '--force', '--reason', 'again']
    const failed = await runHere(forced, { cwd: sandbox.folder, variables })
    t.match(failed, { code: 1, stderr: /app-01: before ended with exit code 3/ })
    t.match(failed.all, /command password \*+/)
    const [last] = await newest()
    t.match(last, {
      state: 'failed',
      hosts: [],
      error: /exit code 3\n(?:.*\n)* {2}\| command pass/,
    })
    const events = await withLedger((ledger) => ledger.events({ action: 'command', limit: 9 }))
    t.notMatch(JSON.stringify([failed.all, last, events]), secret)
  })
}
