import t from 'tap'
import { runCli, startCli } from '../support/cli.ts'
import { noEngine } from '../support/servers/engine.ts'
import { freeze } from '../support/servers/freeze.ts'
import { createDeployer } from '../support/setups/deployer.ts'
import { createSandbox, type Sandbox } from '../support/setups/sandbox.ts'

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('deployers that are killed', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1', '1.0.2', '1.0.3']) await sandbox.release(version)
  await killed(sandbox)
}

async function killed(sandbox: Sandbox): Promise<void> {
  const { deployed, container, ledger, startAt, options, deploy } = await createDeployer(sandbox)
  const back = ['rollback', '--env', 'test', '--reason', 'orders fail']
  const plan = async (command: string[]) =>
    JSON.parse((await runCli([...command, '--plan', '--json'], options)).stdout)
  await t.test('after a SIGKILL in any phase the next deployment continues', async (t) => {
    const phases = [
      `pulling ${sandbox.repository}`,
      'created webapi-test.next',
      'stopped the old webapi-test',
      'webapi-test.next is healthy',
      'webapi-test is the new container',
    ]
    await deployed(t, '1.0.1')
    for (const [at, phase] of phases.entries()) {
      const version = `1.0.${at % 2}`
      const running = await startAt(phase, version)
      running.child.kill('SIGKILL')
      await running.finished
      const { newest, lock } = await ledger()
      t.match(newest, { state: 'running', version }, `killed after: ${phase}`)
      t.ok(lock, 'it died with the lock')
      const next = await deployed(t, version)
      t.match(next.stdout, /warning: .* ended without giving back the lock of webapi in test/)
      t.match(next.stdout, `deployment ${newest?.id} of ${version}`)
      const context = sandbox.context()
      const found = await (await context.ledger()).findDeployment(newest?.id ?? '')
      await context.close()
      t.match(found, { state: 'abandoned', error: /never reported its end/ })
      t.equal((await container()).running, true)
      const page = await sandbox.read('webapi-test', '/srv/web/index.html')
      t.equal(page, `<h1>webapi ${version}</h1>`)
    }
  })

  await t.test('a suspended deployer keeps its lock', async (t) => {
    const running = await startAt('stopped the old webapi-test')
    await freeze(running.child)
    const other = await runCli(deploy('1.0.0'), options)
    t.match(other, { code: 1, stderr: /webapi in test is locked by / })
    running.child.kill('SIGCONT')
    const { code, stderr } = await running.finished
    t.equal(code, 0, stderr)
    const { newest, lock } = await ledger()
    t.match(newest, { state: 'succeeded', version: '1.0.1' })
    t.equal(lock, undefined)
  })

  await t.test(
    'a rollback after a killed deployer restores the release it was about to replace, and marks nothing',
    async (t) => {
      await deployed(t, '1.0.0')
      for (const phase of ['stopped the old webapi-test', 'webapi-test is the new container']) {
        await deployed(t, '1.0.1')
        const running = await startAt(phase, '1.0.0')
        running.child.kill('SIGKILL')
        await running.finished
        t.match(
          await plan(back),
          { release: 'webapi@1.0.1', lock: null },
          `planned after: ${phase}`,
        )
        const { code, stdout, stderr } = await runCli(back, options)
        t.equal(code, 0, stderr)
        t.match(
          stdout,
          /webapi@1\.0\.1 runs in test again; the deployment of webapi@1\.0\.0 did not succeed/,
        )
        t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.1</h1>')
      }
      const context = sandbox.context()
      const ledger = await context.ledger()
      for (const version of ['1.0.0', '1.0.1']) {
        t.equal(
          await ledger.findMark('webapi', 'test', version),
          undefined,
          `${version} is as good`,
        )
      }
      await context.close()
      const early = await startAt(`pulling ${sandbox.repository}`, '1.0.0')
      early.child.kill('SIGKILL')
      await early.finished
      const { stdout } = await runCli(back, options)
      t.match(stdout, /webapi@1\.0\.0 runs in test again; webapi@1\.0\.1 is marked bad there/)
    },
  )

  await t.test('a failed retry does not hide the deployment that was cut off', async (t) => {
    await deployed(t, '1.0.0')
    await deployed(t, '1.0.2')
    const running = await startAt('webapi-test is the new container', '1.0.3')
    running.child.kill('SIGKILL')
    await running.finished
    const context = sandbox.context()
    const found = await context.ledger()
    const retry = await found.startDeployment({
      app: 'webapi',
      environment: 'test',
      version: '1.0.3',
      by: 'li',
      reason: undefined,
      digest: (await found.findRelease('webapi', '1.0.3'))?.digest as never,
      configRevision: 'sha256:0',
    })
    await found.endDeployment(retry.id, { state: 'failed', hosts: [], verified: false, error: 'x' })
    await context.close()
    const { stdout, stderr } = await runCli(back, options)
    t.match(
      stdout,
      /webapi@1\.0\.2 runs in test again; the deployment of webapi@1\.0\.3 did not succeed/,
      stderr,
    )
  })

  await t.test('a rollback that was cut off is repeated with the same target', async (t) => {
    const rolling = startCli(back, options)
    await rolling.until('webapi-test is the new container')
    rolling.child.kill('SIGKILL')
    await rolling.finished
    const { stdout, stderr } = await runCli(back, options)
    t.match(stdout, /webapi@1\.0\.0 runs in test again; webapi@1\.0\.2 is marked bad there/, stderr)
  })

  await t.test('a release that a running deployer deploys meanwhile stays', async (t) => {
    await deployed(t, '1.0.3')
    const running = await startAt('stopped the old webapi-test', '1.0.0')
    t.teardown(() => running.child.kill('SIGKILL'))
    await freeze(running.child)
    const waiting = startCli([...back, '--lock-wait', '60s'], options)
    await waiting.until('waiting for it')
    running.child.kill('SIGCONT')
    const { code, stderr } = await running.finished
    t.equal(code, 0, stderr)
    t.match(await waiting.finished, {
      code: 1,
      stderr:
        /test has changed while this rollback of webapi@1\.0\.3 waited: .* put webapi@1\.0\.0/,
    })
    t.equal(await sandbox.read('webapi-test', '/srv/web/index.html'), '<h1>webapi 1.0.0</h1>')
  })
}
