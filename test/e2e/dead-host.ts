import { readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { runHere } from '../support/program.ts'
import { startEngine } from '../support/servers/engine.ts'
import { listen, type Sandbox } from '../support/setups/sandbox.ts'
import type { Life } from './life.ts'

/** Commands while one of two hosts is down, and the deployment that catches up once it is back. */
export async function deadHost(t: Test, sandbox: Sandbox, life: Life): Promise<void> {
  const { put, back, withLedger, newest } = life
  const cli = (...args: string[]) =>
    runHere(args, {
      cwd: sandbox.folder,
      variables: { ...sandbox.variables, CROSSCLOUD_SERVER: '' },
    })
  const settings = join(sandbox.folder, 'crosscloud.yml')
  const alone = await readFile(settings, 'utf8')
  const socket = join(sandbox.folder, 'app-02.sock')
  const both = alone.replace(/(app-01: "[^"]*")/, `$1, app-02: "unix://${socket}"`)
  await writeFile(settings, both)
  const begun = (await newest())[0]?.id
  const dead = {
    code: 'UNAVAILABLE',
    message: /^host app-02 .*does not answer/,
    hint: /`--without app-02` with `--reason`; `crosscloud deploy --missing --env test` catches up later/,
  }
  await t.rejects(put('1.0.2', { older: true }), dead)
  await t.rejects(back(), dead)
  t.equal((await newest())[0]?.id, begun, 'nothing was begun')
  const without = { without: ['app-02'], reason: 'its disk died' }
  await t.rejects(put('1.0.2', { ...without, reason: '' }), { message: /needs a reason/ })
  await put('1.0.2', without)
  t.match(await newest(), [
    {
      version: '1.0.2',
      state: 'succeeded',
      reason: 'its disk died',
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
  const check = await cli('hosts', 'check', '--env', 'test')
  t.match(check, {
    code: 75,
    stdout:
      /^app-02: it was left out of d\d+ by \w+: its disk died\n {2}→ `crosscloud deploy --missing --env test` brings 1\.0\.2/m,
  })
  t.notMatch(check.stdout, /^app-01: it was left out/m)
  const list = await cli('hosts', 'list', '--env', 'test')
  t.match(list, { code: 75, stdout: /app-01 .* yes\napp-02 .*does not answer/ })
  t.match(await cli('hosts', 'containers', '--env', 'test'), {
    code: 75,
    stdout: /app-01 +webapi-test +1\.0\.2 +running/,
  })
  t.match(await cli('explain', 'webapi-other'), {
    code: 75,
    stderr: /app-02 .*does not answer/,
  })
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
  await writeFile(settings, `${both.replace('test: {', `test: { ${gate},`)}\nidentity: unverified`)
  t.match(await cli(...missing), { code: 1, stderr: /needs 1 more approval for test/ })
  await withLedger(async (ledger) => {
    const place = { app: 'webapi', environment: 'test', version: '1.0.0' }
    const approval = { by: 'li', identity: 'unverified', decision: 'approved' } as const
    const release = await ledger.findRelease('webapi', '1.0.0')
    t.ok(release)
    if (release === undefined) return
    // Of no config: what the other hosts run with needs no approval of its own.
    const { digest } = release
    await ledger.recordApproval({ ...place, ...approval, digest, groups: [], reason: 'tested' })
  })
  const caught = await cli(...missing, '--json')
  t.equal(caught.code, 0, caught.stderr)
  t.match(JSON.parse(caught.stdout), {
    release: 'webapi@1.0.0',
    configRevision: gone.configRevision,
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
  const captured = listen()
  await put('1.0.0', {}, captured.log)
  t.match(captured.text(), forgotten)
  await second.stop()
  const silent = listen()
  await put('1.0.0', {}, silent.log)
  t.notMatch(silent.text(), 'app-02', 'who is silent is named only after the last deployment to it')
}
