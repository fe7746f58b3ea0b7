import t from 'tap'
import { StepError } from '../../../../src/core/errors.ts'
import type { Host } from '../../../../src/targets/docker/host.ts'
import type { RolloutProxy } from '../../../../src/targets/docker/rollout/proxy.ts'
import { isRolloutFailure } from '../../../../src/targets/target.ts'
import { startDockerRegistry } from '../../../support/servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../../../support/servers/engine.ts'
import { openHostsBehindProxy } from './behind-proxy.ts'

const skip = noEngine('docker-registry', 'gcc', 'haproxy')
if (skip) t.test('restoring that the proxy refuses', { skip }, async () => {})
else {
  const engine = await startEngine()
  const registry = await startDockerRegistry()
  t.teardown(() => Promise.all([engine.stop(), registry.close()]))
  await refusedRestore(engine, `${registry.address}/team/demo`)
}

async function refusedRestore(engine: TestEngine, repository: string): Promise<void> {
  const { v1, v2, kept, fixedPorts } = await openHostsBehindProxy(engine, repository)
  const refuse = async () => {
    throw new StepError('COMMAND_FAILED', 'the proxy refuses it')
  }
  const namesOf = async () => {
    const containers = await engine.docker.listContainers({ all: true })
    return containers.map(({ Names: [name = ''] }) => name.replace(/^.*-(one|two)/, '$1')).sort()
  }
  const failing = { verify: async ({ name }: Host) => void (name === 'app-02' && (await refuse())) }

  t.test('a host that cannot leave the proxy keeps the new container, tidied up', async (t) => {
    const { deploy, proxy } = await fixedPorts(t)
    await deploy(v1)
    await deploy(v2)
    const own = proxy()
    let left = 0
    const takeOut: RolloutProxy['takeOut'] = (host, how) =>
      host.name === 'app-01' && left++ > 0 ? refuse() : own.takeOut(host, how)
    const error = await deploy(v1, { ...failing, proxy: { ...own, takeOut } }).catch(String)
    t.match(error, /app-01: the new container serves: the proxy refuses it/)
    t.same(await namesOf(), ['one', 'one.previous', 'two', 'two.previous'])
    const { log, text } = kept()
    const endingOf = async (host: string) => (host === 'app-01' ? 'd7 failed' : undefined)
    await deploy(v2, { log, endingOf })
    t.notMatch(text(), /cut off/)
    t.match(text(), /warning: host app-01: fixed-\d+: d7 failed; now there runs fixed-\d+-one\n/)
  })

  t.test('a host that cannot go back into the proxy is put in by the next one', async (t) => {
    const { deploy, proxy, reverse } = await fixedPorts(t)
    await deploy(v1)
    const own = proxy()
    const putIn: RolloutProxy['putIn'] = (host, how) =>
      host.name === 'app-02' ? refuse() : own.putIn(host, how)
    const failed = await deploy(v2, { proxy: { ...own, putIn } }).catch((error: unknown) => error)
    t.ok(isRolloutFailure(failed))
    t.match(String(failed), /app-02: the old container runs again, but: the proxy refuses it/)
    const { log, text } = kept()
    const endingOf = async (host: string) => (host === 'app-02' ? 'd8 failed' : undefined)
    await deploy(v2, { log, endingOf })
    t.match(text(), /warning: host app-02: fixed-\d+: d8 failed; now there runs fixed-\d+-two\n/)
    t.notMatch(text(), /cut off|took it out/)
    t.same(await namesOf(), ['one', 'one.previous', 'two', 'two.previous'])
    t.same(
      (await reverse.states()).map(({ mode }) => mode),
      ['in', 'in'],
    )
  })
}
