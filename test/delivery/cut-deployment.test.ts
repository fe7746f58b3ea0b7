import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { showLiving } from '../../src/core/process/liveness.ts'
import type { Context } from '../../src/delivery/context.ts'
import { findInterruptedDeployment } from '../../src/delivery/deployment/interrupted.ts'
import { instanceLabels } from '../../src/targets/labels.ts'
import { ended, release, start } from '../ledger/conformance/samples.ts'
import { testContext } from '../support/context.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test('a deployer that was killed is seen before anybody takes its lock', async (t) => {
  const { context, ledger, current, lock, begun } = await killedDeployer(t)
  const environment = await context.environment('test')
  const find = () =>
    findInterruptedDeployment(current, environment, { change: environment.hosts } as never, context)
  const living = await showLiving(
    join(context.stateFolder, 'locks'),
    `lock ${lock.token} of ledger ${lock.ledger}`,
  )
  t.equal(await find(), undefined, 'a deployer that lives is not cut off')
  await living.end('left')
  t.match(await find(), { id: begun.id, state: 'abandoned' }, 'its lock has not expired yet')
  t.ok(await ledger.findLock('webapi', 'test'), 'and stays where it is')
  await ledger.unlock(lock)
  t.match(await find(), { id: begun.id, state: 'abandoned' }, 'as whoever has the lock sees it')
})

/** 1.0.0 runs, and a deployment of 1.0.1 was begun, which the host already runs. */
async function killedDeployer(t: Test) {
  const cwd = await temporaryFolder(t)
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    'app: webapi\nledger: sqlite:ledger.db\nenvironments: { test: { image: registry.test/webapi, hosts: { app-01: "unix:///absent.sock" } } }\n',
  )
  const opened = testContext(t, cwd)
  const ledger = await opened.ledger()
  for (const version of ['1.0.0', '1.0.1']) await ledger.recordRelease(release(version))
  const current = await start(ledger, release('1.0.0'), 'test')
  await ledger.endDeployment(current.id, ended('succeeded'))
  const lock = await ledger.lock('webapi', 'test', 'li', 'deploy', 60_000)
  const begun = await start(ledger, release('1.0.1'), 'test', { lockToken: lock.token })
  const instance = { role: 'current', labels: { [instanceLabels.deployment]: begun.id } }
  const instances = async () => [{ host: 'app-01', value: [instance] }]
  const context = { ...opened, target: async () => ({ instances }) } as unknown as Context
  return { context, ledger, current, lock, begun }
}
