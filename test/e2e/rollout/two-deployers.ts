import type { Test } from 'tap'
import { instanceLabels } from '../../../src/targets/labels.ts'
import { runCli, startCli } from '../../support/cli.ts'
import { freeze } from '../../support/servers/freeze.ts'
import type { Placed } from './killed-at-proxy.ts'

/** Of two deployers at once, one works the proxy of two hosts. */
export async function twoDeployers(t: Test, place: Placed): Promise<void> {
  const { counter, deployer, options, containers } = place
  const { deploy, deployed } = deployer
  const modes = async () =>
    Object.fromEntries((await place.modes()).map(({ host, mode }) => [host, mode]))
  const versions = async () =>
    (await containers()).map(
      (all) => all.find(({ State }) => State === 'running')?.Labels[instanceLabels.version],
    )

  await t.test('of two deployers at once, the proxy is left as the winner leaves it', async (t) => {
    await deployed(t, '1.0.0')
    const winner = startCli(deploy('1.0.1'), options)
    t.teardown(() => winner.child.kill('SIGKILL'))
    await winner.until('app-01 is out of it')
    await freeze(winner.child)
    counter.arm()
    const loser = await runCli(deploy('1.0.0'), options)
    t.match(loser, { code: 1, stderr: /webapi in test is locked by / })
    t.same(counter.made(), [], 'without the lock the proxy is not asked for anything')
    t.same(await modes(), { 'app-01': 'out', 'app-02': 'in' })
    winner.child.kill('SIGCONT')
    t.match(await winner.finished, { code: 0 })
    t.same(await modes(), { 'app-01': 'in', 'app-02': 'in' })
    t.same(await versions(), ['1.0.1', '1.0.1'])
  })

  await t.test('who waits for the lock works the proxy only once it is free', async (t) => {
    const first = startCli(deploy('1.0.0'), options)
    t.teardown(() => first.child.kill('SIGKILL'))
    await first.until('app-01 is out of it')
    await freeze(first.child)
    counter.arm()
    const second = startCli([...deploy('1.0.1'), '--lock-wait', '60s'], options)
    t.teardown(() => second.child.kill('SIGKILL'))
    await second.until('waiting for it')
    t.same(counter.made(), [])
    first.child.kill('SIGCONT')
    t.match(await first.finished, { code: 0 })
    const { code, stdout, stderr } = await second.finished
    t.equal(code, 0, stderr)
    t.notMatch(stdout, /somebody took it out|cut off/)
    t.same(await modes(), { 'app-01': 'in', 'app-02': 'in' })
    t.same(await versions(), ['1.0.1', '1.0.1'])
  })
}
