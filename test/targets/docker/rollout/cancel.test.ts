import t, { type Test } from 'tap'
import { createLog } from '../../../../src/core/log.ts'
import { parseAddress } from '../../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../../src/targets/docker/driver.ts'
import type { ContainerSpec, Host } from '../../../../src/targets/docker/host.ts'
import { parseHealth } from '../../../../src/targets/docker/notation.ts'
import type { RolloutOptions } from '../../../../src/targets/docker/rollout/options.ts'
import { rollOut } from '../../../../src/targets/docker/rollout/rollout.ts'
import { isRolloutFailure } from '../../../../src/targets/target.ts'
import { startDockerRegistry } from '../../../support/servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../../../support/servers/engine.ts'
import { publishDemoImage } from '../../../support/setups/demo-image.ts'
import { settings as base, untilText } from '../host-conformance.ts'

/**
 * The docker executor kills a job's container 6.3 s after the cancel. A busy machine may take longer
 * here than one that deploys; whoever waits for what these containers do, waits for 30 s at least.
 */
const LONGEST = 20_000
/** Seconds from SIGTERM to the end of a container that must not be waited for. */
const DEAF = '60'

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('cancelled rollouts', { skip }, async () => {})
else {
  const [first, second] = await Promise.all([startEngine(), startEngine()])
  const registry = await startDockerRegistry()
  t.teardown(() => Promise.all([first.stop(), second.stop(), registry.close()]))
  await cancelled(first, second, `${registry.address}/team/demo`)
}

async function cancelled(first: TestEngine, second: TestEngine, repository: string): Promise<void> {
  const v1 = await publishDemoImage(first, repository, '1')
  const v2 = await publishDemoImage(first, repository, '2')
  const connect = (name: string, address: string) =>
    connectDocker({
      name,
      address: parseAddress(address),
      signal: new AbortController().signal,
      credentials: async () => undefined,
    })
  const a = await connect('app-01', first.address)
  const b = await connect('app-02', second.address)
  const spec = (name: string, image: string, env: Record<string, string>): ContainerSpec => ({
    name,
    image,
    files: [],
    labels: { 'test.name': name },
    settings: {
      ...base,
      env,
      restart: 'no' as const,
      stopTimeout: 30,
      health: { http: parseHealth(':8080/'), timeout: 60_000 },
    },
  })
  const go = (options: Partial<RolloutOptions> & { spec: ContainerSpec }) => {
    const log = createLog({ format: 'plain', write: () => {}, mask: (text) => text })
    const { signal } = new AbortController()
    return rollOut({ hosts: [a, b], log, signal, verify: async () => {}, ...options })
  }

  /** Rolls v2 out over v1 and cancels when the log shows `when`. */
  const cancelAt = async (t: Test, name: string, when: string, env: Record<string, string>) => {
    const old = await go({ spec: spec(name, v1, env) })
    const stop = new AbortController()
    let at = 0
    let logged = ''
    const write = (text: string) => {
      logged += text
      if (at > 0 || !logged.includes(when)) return
      at = Date.now()
      // What is asked next of the engine is under way by then.
      setTimeout(() => stop.abort(), 300)
    }
    const log = createLog({ format: 'plain', write, mask: (text) => text })
    const stops: number[] = []
    const stopping: Host['stop'] = (id, seconds) => {
      if (stop.signal.aborted) stops.push(seconds)
      return a.stop(id, seconds)
    }
    const hosts = [{ ...a, stop: stopping }, b]
    const next = spec(name, v2, { ...env, SLOW: '60' })
    const going = go({ hosts, spec: next, log, signal: stop.signal })
    const error = await going.then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (!isRolloutFailure(error)) throw new Error(`not a rollout failure: ${error}`)
    const took = Date.now() - at - 300
    t.ok(took < LONGEST, `the old containers run ${took} ms after the cancel`)
    t.equal(error.code, 'CANCELLED')
    return { error, old, stops, logged }
  }
  const expectOld = async (t: Test, host: Host, name: string, id: string | undefined) => {
    const found = await host.list({ 'test.name': name })
    t.match(found, [{ name, id, running: true }], `${host.name} has the old container, no other`)
    t.equal(await untilText(found[0]?.address(8080) ?? ''), '1', `${host.name} serves`)
  }

  t.test('a cancelled rollout does not wait for the health of what it restored', async (t) => {
    // It takes 4 s to listen: a wait for its health would be seen.
    const { error, old } = await cancelAt(t, 'slow', 'stopped the old slow', {
      SLOW: '4',
      STOPPING: '0',
    })
    t.match(error.standings, [
      { serves: 'old', unproven: true },
      { serves: 'old', touched: false },
    ])
    t.match(error.message, /app-01: the old container runs again; its health was not looked at/)
    const proven = await error.prove?.()
    t.match(proven?.message, /app-01: the old container serves again\n {2}app-02: not touched/)
    t.match(proven, { code: 'CANCELLED', prove: undefined, standings: [{ serves: 'old' }, {}] })
    t.notOk(proven?.standings[0]?.unproven)
    await expectOld(t, a, 'slow', old[0]?.instanceId)
  })

  t.test('a restored container that is not healthy is reported', async (t) => {
    const { error } = await cancelAt(t, 'sick', 'stopped the old sick', {})
    await a.stop(error.standings[0]?.instanceId ?? '', 1)
    const proven = await error.prove?.()
    t.match(proven?.message, /app-01: NOT brought back, look at it now: .* ended with exit code/)
    t.match(proven?.standings, [{ serves: 'unknown' }, {}])
  })

  t.test('a new container that does not hear SIGTERM is not waited for', async (t) => {
    const { error, old, stops, logged } = await cancelAt(t, 'new', 'stopped the old new', {
      STOPPING: '5',
    })
    t.same(stops, [1], 'seconds that it gets')
    t.match(logged, /warning: host app-01: new\.next was cut: /)
    t.match(error.standings, [{ serves: 'old', unproven: true }, {}])
    await expectOld(t, a, 'new', old[0]?.instanceId)
  })

  t.test('an old container that was just asked to stop is not waited for', async (t) => {
    const { error, old } = await cancelAt(t, 'old', 'created old.next', { STOPPING: DEAF })
    t.match(error.standings, [{ serves: 'old', unproven: true }, {}])
    await expectOld(t, a, 'old', old[0]?.instanceId)
  })

  t.test('after a cancel all hosts are restored at once, finished hosts, too', async (t) => {
    const old = await go({ spec: spec('both', v1, {}) })
    const stop = new AbortController()
    let at = 0
    const verify = async (host: Host) => {
      if (host !== b) return
      at = Date.now()
      stop.abort()
    }
    const next = spec('both', v2, { STOPPING: DEAF })
    const error = await go({ spec: next, verify, signal: stop.signal }).catch(
      (thrown: unknown) => thrown,
    )
    if (!isRolloutFailure(error)) throw new Error(`not a rollout failure: ${error}`)
    const took = Date.now() - at
    t.ok(took < LONGEST, `both run ${took} ms after the cancel`)
    t.match(error.standings, [
      { serves: 'old', touched: true, unproven: true },
      { serves: 'old', touched: true, unproven: true },
    ])
    await expectOld(t, a, 'both', old[0]?.instanceId)
    await expectOld(t, b, 'both', old[1]?.instanceId)
  })

  t.test('a cancel speeds up the restoring of a failed rollout', async (t) => {
    const hosts = [a]
    await go({ hosts, spec: spec('late', v1, { SLOW: '5' }) })
    const stop = new AbortController()
    let at = 0
    const write = (text: string) => {
      if (!text.includes('started late') || at > 0) return
      at = Date.now()
      stop.abort()
    }
    const log = createLog({ format: 'plain', write, mask: (text) => text })
    const verify = async () => {
      throw new Error('not what was baked')
    }
    const error = await go({
      hosts,
      spec: spec('late', v2, {}),
      verify,
      signal: stop.signal,
      log,
    }).catch((thrown: unknown) => thrown)
    if (!isRolloutFailure(error)) throw new Error(`not a rollout failure: ${error}`)
    t.ok(Date.now() - at < 4500, 'its health was not waited for')
    t.match(error, { code: 'INTERNAL', standings: [{ serves: 'old', unproven: true }] })
    t.match((await error.prove?.())?.message, /app-01: the old container serves again/)
  })

  t.test('an old container that a killed deployer had asked to stop runs again', async (t) => {
    const [old] = await go({ hosts: [a], spec: spec('dying', v1, { STOPPING: '2' }) })
    const id = old?.instanceId ?? ''
    await a.create(spec('dying.next', v2, {}))
    const stopping = a.stop(id, 30)
    // It still runs when the hosts are looked at first, and no more when they are changed.
    const pull = () => stopping
    const verify = async () => {
      throw new Error('not what was baked')
    }
    const error = await go({
      hosts: [{ ...a, pull }],
      spec: spec('dying', v2, {}),
      verify,
    }).catch((thrown: unknown) => thrown)
    if (!isRolloutFailure(error)) throw new Error(`not a rollout failure: ${error}`)
    t.match(error.standings, [{ serves: 'old', instanceId: id }])
    await expectOld(t, a, 'dying', id)
  })
}
