import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { showLiving } from '../../src/core/process/liveness.ts'
import type { Context } from '../../src/delivery/context.ts'
import { findInterruptedDeployment } from '../../src/delivery/deployment/interrupted.ts'
import { readStatus } from '../../src/delivery/deployment/status.ts'
import { lookAtHosts } from '../../src/delivery/verification/live-state.ts'
import type { Lock } from '../../src/ledger/ledger.ts'
import { instanceLabels } from '../../src/targets/labels.ts'
import { SLOT_LABEL } from '../../src/targets/slot.ts'
import { ended, outcome, release, start } from '../ledger/conformance/samples.ts'
import { testContext } from '../support/context.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test('a deployer that was killed is seen before anybody takes its lock', async (t) => {
  const { context, ledger, current, lock, begun } = await killedDeployer(t)
  const environment = await context.environment('test')
  const find = () =>
    findInterruptedDeployment(current, environment, { change: environment.hosts } as never, context)
  const living = await showLiving(...shown(context, lock))
  t.equal(await find(), undefined, 'a deployer that lives is not cut off')
  await living.end('left')
  t.match(await find(), { id: begun.id, state: 'abandoned' }, 'its lock has not expired yet')
  t.ok(await ledger.findLock('webapi', 'test'), 'and stays where it is')
  await ledger.unlock(lock)
  t.match(await find(), { id: begun.id, state: 'abandoned' }, 'as whoever has the lock sees it')
})

t.test('the status shows what a killed deployer has left', async (t) => {
  const { context, lock, begun } = await killedDeployer(t)
  const query = { app: 'webapi', environment: 'test' }
  const living = await showLiving(...shown(context, lock))
  t.match(await readStatus(query, context), [
    { lock: { owner: 'li' }, underway: { state: 'running' } },
  ])
  t.match(await lookAtHosts(await readStatus(query, context), context), [
    { healthy: false },
    { healthy: true, state: /^webapi-test\.next runs, too: 1\.0\.1 of d2 is to replace it/ },
  ])
  await living.end('left')
  const cells = await readStatus(query, context)
  t.match(cells, [{ underway: { deployment: begun.id, state: 'abandoned', hosts: ['app-01'] } }])
  t.equal(cells[0]?.lock, undefined, 'the next command takes it')
  t.match(await lookAtHosts(cells, context), [
    { healthy: false },
    { host: 'app-01', healthy: false, state: /^webapi-test\.next runs, too: .* was left; / },
  ])
})

t.test('a host that was taken out in the proxy is seen in `status --live`', async (t) => {
  const look = async (leftOut: string[]) => {
    const { context } = await killedDeployer(t, leftOut)
    const [host] = await lookAtHosts(await readStatus({ app: 'webapi' }, context), context)
    return host?.state
  }
  t.match(await look(['app-01']), /; nginx on lb-01 sends it no requests: somebody took it out$/)
  t.match(await look([]), /; nginx on lb-01 sends it no requests$/, 'nobody did')
})

t.test('`status --live` says so where nothing serves', async (t) => {
  const { context, ledger, current } = await killedDeployer(t)
  const look = async (slots: { running: boolean }[], modes: string[], states = '') => {
    const value = slots.map(({ running }, at) => ({
      ...{ host: 'app-01', running, name: at === 0 ? 'webapi-test' : 'webapi-test.previous' },
      role: at === 0 ? 'current' : 'previous',
      labels: {
        [instanceLabels.deployment]: current.id,
        [SLOT_LABEL]: JSON.stringify({ slot: 2 - at, ports: [] }),
      },
    }))
    const proxied = modes.map((mode, at) => ({ server: { host: 'app-01', slot: at + 1 }, mode }))
    const target = async () => ({
      instances: async () => [{ host: 'app-01', value }],
      previewProxy: async () => ({ name: 'nginx on lb-01', states: proxied }),
    })
    const own = { ...context, target } as unknown as Context
    const [host] = await lookAtHosts(await readStatus({ app: 'webapi' }, own), own)
    t.match(host, { healthy: states === '' }, states)
    return host?.state
  }
  await ledger.endDeployment('d2', ended('failed'))
  const [up, down] = [{ running: true }, { running: false }]
  const well = 'runs, as the ledger says'
  t.equal(await look([up, down], ['out', 'in']), well)
  t.equal(await look([up, down], ['in', 'in']), well, 'a proxy that finds out by itself')
  const empty = 'nginx on lb-01 sends its requests to slot'
  t.equal(
    await look([down, down], ['out', 'in'], 'bad'),
    `webapi-test is stopped; nothing serves; ${empty} 2, where nothing runs`,
  )
  t.equal(await look([up, down], ['in', 'out'], 'bad'), `${well}; ${empty} 1, where nothing runs`)
  t.equal(await look([down, up], ['in', 'out'], 'bad'), 'webapi-test is stopped')
})

t.test('`status` names the hosts that a killed deployer may have changed', async (t) => {
  const { cwd, context, ledger, lock } = await killedDeployer(t)
  const living = await showLiving(...shown(context, lock))
  await living.end('left')
  const status = async () => (await runHere(['status'], { cwd, variables: { HOME: cwd } })).stdout
  t.match(
    await status(),
    /webapi in test: d2 of 1\.0\.1 by li was abandoned, and may have changed app-01; `crosscloud status --live`/,
  )
  t.notMatch(await status(), /locked by|li deploys/)
  await ledger.unlock(lock)
  const next = await start(ledger, release('1.0.1'), 'test')
  await ledger.endDeployment(next.id, ended('failed'))
  t.match(await status(), /webapi in test: d2 of 1\.0\.1 may have left app-01 changed; /)
})

/** 1.0.0 runs, and a deployment of 1.0.1 was begun, which the host already runs. */
async function killedDeployer(t: Test, leftOut: string[] = []) {
  const cwd = await temporaryFolder(t)
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    'app: webapi\nledger: sqlite:ledger.db\nenvironments: { test: { image: registry.test/webapi, hosts: { app-01: "unix:///absent.sock" } } }\n',
  )
  const opened = testContext(t, cwd)
  const ledger = await opened.ledger()
  for (const version of ['1.0.0', '1.0.1']) await ledger.recordRelease(release(version))
  const current = await start(ledger, release('1.0.0'), 'test')
  await ledger.endDeployment(current.id, ended('succeeded', [outcome('app-01')]))
  const lock = await ledger.lock('webapi', 'test', 'li', 'deploy', 60_000)
  const begun = await start(ledger, release('1.0.1'), 'test', { lockToken: lock.token })
  const labels = { [instanceLabels.deployment]: begun.id, [instanceLabels.version]: '1.0.1' }
  const here = { host: 'app-01', running: true, labels }
  const value = [
    { ...here, role: 'current', name: 'webapi-test' },
    { ...here, role: 'next', name: 'webapi-test.next' },
  ]
  const instances = async () => [{ host: 'app-01', value }]
  const server = (slot: number) => ({ server: { host: 'app-01', slot }, mode: 'out' })
  const previewProxy = async () => ({
    name: 'nginx on lb-01',
    leftOut,
    states: [server(1), server(2)],
  })
  const context = {
    ...opened,
    target: async () => ({ instances, previewProxy }),
  } as unknown as Context
  return { cwd, context, ledger, current, lock, begun }
}

/** As a deployer shows that it has the lock. */
const shown = ({ stateFolder }: Context, { token, ledger }: Lock) =>
  [join(stateFolder, 'locks'), `lock ${token} of ledger ${ledger}`] as const
