import t, { type Test } from 'tap'
import { StepError } from '../../../../src/core/errors.ts'
import { createLog } from '../../../../src/core/log.ts'
import { parseAddress } from '../../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../../src/targets/docker/driver.ts'
import type { ContainerSpec, Host, SlotPair } from '../../../../src/targets/docker/host.ts'
import { parseHealth, parsePort } from '../../../../src/targets/docker/notation.ts'
import type { RolloutOptions } from '../../../../src/targets/docker/rollout/options.ts'
import { rollOut } from '../../../../src/targets/docker/rollout/rollout.ts'
import { inSlot } from '../../../../src/targets/docker/slots.ts'
import { slotOf } from '../../../../src/targets/slot.ts'
import { isRolloutFailure } from '../../../../src/targets/target.ts'
import { startDockerRegistry } from '../../../support/servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../../../support/servers/engine.ts'
import { freePort } from '../../../support/servers/ports.ts'
import { publishDemoImage } from '../../../support/setups/demo-image.ts'
import { settings } from '../host-conformance.ts'
import { mortal } from '../mortal.ts'
import { startTraffic } from './traffic.ts'

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('slots', { skip }, async () => {})
else {
  const [first, second] = await Promise.all([startEngine(), startEngine()])
  const registry = await startDockerRegistry()
  t.teardown(() => Promise.all([first.stop(), second.stop(), registry.close()]))
  await inSlots(first, second, `${registry.address}/team/demo`)
}

/** On the host's own network, where a port refuses connections until the application listens. */
async function inSlots(first: TestEngine, second: TestEngine, repository: string): Promise<void> {
  const v1 = await publishDemoImage(first, repository, '1')
  const v2 = await publishDemoImage(first, repository, '2')
  const { signal } = new AbortController()
  const connect = (name: string, { address }: TestEngine) =>
    connectDocker({
      name,
      address: parseAddress(address),
      credentials: async () => undefined,
      signal,
    })
  const a = await connect('app-01', first)
  const b = await connect('app-02', second)

  const place = async () => {
    const ports = [await freePort(), await freePort()] as const
    const slot = (port: number) => ({
      ports: [parsePort(`${port}:8080`)],
      env: { PORT: String(port) },
      values: { name: `at-${port}` },
    })
    const slots: SlotPair = [slot(ports[0]), slot(ports[1])]
    return { ports, slots }
  }
  const spec = (
    name: string,
    image: string,
    slots: SlotPair,
    env: Record<string, string> = {},
  ): ContainerSpec => ({
    name,
    image,
    labels: { 'test.name': name },
    settings: {
      ...settings,
      network: 'host',
      ports: [],
      slots,
      env,
      health: { http: parseHealth(':8080/healthz'), timeout: 60_000 },
    },
    files: [],
  })
  const go = (options: Partial<RolloutOptions> & { spec: ContainerSpec }) =>
    rollOut({ hosts: [a], log: lines().log, signal, verify: async () => {}, ...options })
  const fail = async (options: Partial<RolloutOptions> & { spec: ContainerSpec }) => {
    const error = await go(options).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (!isRolloutFailure(error)) throw new Error(`not a rollout failure: ${error}`)
    return error
  }
  const names = async (host: Host, name: string) => {
    const found = await host.list({ 'test.name': name })
    const show = (each: (typeof found)[number]) =>
      `${each.name} ${slotOf(each.labels)} ${each.running ? 'up' : 'down'}`
    return found.map(show).sort()
  }
  const noneLost = async (t: Test, ports: readonly number[], work: () => Promise<void>) => {
    const traffic = startTraffic(ports)
    await work().finally(() => traffic.stop())
    const { sent, lost } = traffic
    t.same(lost, [], `none of ${sent()} requests is lost`)
    t.ok(sent() > 10)
  }

  t.test('slots on a loopback address are warned of before anything is changed', async (t) => {
    const { slots } = await place()
    const settingsOf = (at: string) => ({
      ...spec('loop', v1, slots).settings,
      network: 'bridge',
      slots: slots.map((slot) => ({
        ...slot,
        ports: slot.ports.map((port) => ({ ...port, hostIp: at })),
      })) as unknown as SlotPair,
    })
    const warned = async (at: string) => {
      const logged = lines()
      const image = `${repository}@sha256:${'0'.repeat(64)}`
      const missing = { ...spec('loop', image, slots), settings: settingsOf(at) }
      await t.rejects(go({ hosts: [a, b], spec: missing, log: logged.log }), { code: 'NOT_FOUND' })
      return logged.text()
    }
    t.match(
      await warned('127.0.0.1'),
      /hosts app-01, app-02: the slots are published on 127\.0\.0\.1: .*`bind`/,
    )
    t.notMatch(await warned('10.1.0.11'), 'are published on')
    t.match(
      await warned(''),
      /hosts app-01, app-02: the slots are published on every address, and a proxy on this machine reaches them on 127\.0\.0\.1: .*`bind`/,
    )
  })

  t.test('the next version starts beside the one that serves', async (t) => {
    const { ports, slots } = await place()
    const seen: string[] = []
    const verify = async (_: Host, { name, running }: { name: string; running: boolean }) => {
      seen.push(`${name} ${running ? 'up' : 'created'}`)
    }
    const content = Buffer.from('@crosscloud.slot.name@ is slot @crosscloud.slot.number@')
    const file = { path: '/conf/slot', content, mode: 0o444, uid: 0, gid: 0 }
    const [result] = await go({
      spec: { ...spec('web', v1, slots, { FILE: '/conf/slot' }), files: [file] },
      verify,
    })
    t.match(
      (await a.logs(result?.instanceId ?? '', 9)).join('\n'),
      `file: at-${ports[0]} is slot 1`,
      'a rendered file has the values of its slot',
    )
    t.match(result, { slot: 1, url: `http://127.0.0.1:${ports[0]}` })
    t.same(seen, ['web.next created', 'web.next up'], 'its files are compared before its start')
    t.same(await names(a, 'web'), ['web 1 up'])
    await noneLost(t, ports, async () => {
      const logged = lines()
      const [next] = await go({ spec: spec('web', v2, slots), log: logged.log })
      t.match(next, { downtime: 0, previousInstanceId: result?.instanceId })
      t.match(logged.text(), /web\.previous stopped by itself after/)
      t.same(await names(a, 'web'), ['web 2 up', 'web.previous 1 down'])
      await go({ spec: spec('web', v1, slots) })
      t.same(await names(a, 'web'), ['web 1 up', 'web.previous 2 down'])
    })
    const policies = await Promise.all(
      ['web', 'web.previous'].map((name) => first.docker.getContainer(name).inspect()),
    )
    t.same(
      policies.map(({ HostConfig }) => HostConfig.RestartPolicy?.Name),
      ['always', 'no'],
      'a reboot starts the one that serves',
    )
  })

  t.test('a container that does not stop in time is reported as cut', async (t) => {
    const { slots } = await place()
    const slow = spec('slow', v1, slots, { STOPPING: '30' })
    await go({ spec: { ...slow, settings: { ...slow.settings, stopTimeout: 1 } } })
    const logged = lines()
    const next = spec('slow', v2, slots)
    await go({ spec: { ...next, settings: { ...next.settings, stopTimeout: 1 } }, log: logged.log })
    t.match(logged.text(), /warning: host app-01: slow\.previous was cut: .* within 1 s/)
    t.same(await names(a, 'slow'), ['slow 2 up', 'slow.previous 1 down'])
  })

  t.test('a version that fails never takes the place of the one that serves', async (t) => {
    const { ports, slots } = await place()
    await go({ spec: spec('sick', v1, slots) })
    const before = await first.docker.getContainer('sick').inspect()
    await noneLost(t, ports.slice(0, 1), async () => {
      const sick = spec('sick', v2, slots, { SICK: 'yes' })
      sick.settings.health = { http: parseHealth(':8080/healthz'), timeout: 1500 }
      const error = await fail({ spec: sick })
      t.match(error.standings, [{ serves: 'old', instanceId: before.Id, touched: true }])
      const verify = async () => Promise.reject(new StepError('VERIFY_FAILED', 'not as baked'))
      t.match(await fail({ spec: spec('sick', v2, slots), verify }), { code: 'VERIFY_FAILED' })
    })
    const after = await first.docker.getContainer('sick').inspect()
    t.equal(after.State.StartedAt, before.State.StartedAt, 'it was never stopped')
    t.same(await names(a, 'sick'), ['sick 1 up'])
  })

  t.test('when a later host fails the hosts before it go back without a gap', async (t) => {
    const { ports, slots } = await place()
    await go({ spec: spec('pair', v1, slots) })
    const old = (await a.inspect('pair'))?.id
    const other = await place()
    await go({ spec: spec('pair', v1, other.slots), hosts: [b] })
    const verify = async (host: Host) => {
      if (host === b) throw new StepError('VERIFY_FAILED', 'not on this one')
    }
    await noneLost(t, ports, async () => {
      const error = await fail({ spec: spec('pair', v2, slots), hosts: [a, b], verify })
      t.match(error.standings, [
        { host: 'app-01', serves: 'old', instanceId: old, error: undefined },
        { host: 'app-02', serves: 'old', error: /not on/ },
      ])
    })
    t.same(await names(a, 'pair'), ['pair 1 up'])
    t.same(await names(b, 'pair'), ['pair 1 up'])
  })

  t.test('a cancelled rollout leaves both containers until the old one serves', async (t) => {
    const { ports, slots } = await place()
    await go({ spec: spec('halt', v1, slots) })
    const stop = new AbortController()
    const checkLock = async () => {
      const previous = await a.inspect('halt.previous')
      if (previous && !previous.running) stop.abort()
    }
    await noneLost(t, ports, async () => {
      const error = await fail({
        spec: spec('halt', v2, slots),
        hosts: [a, b],
        signal: stop.signal,
        checkLock,
      })
      t.equal(error.code, 'CANCELLED')
      t.match(error.standings, [{ host: 'app-01', serves: 'old', unproven: true }, {}])
      const proven = await error.prove?.()
      t.match(proven?.standings, [{ host: 'app-01', serves: 'old' }, {}])
    })
    t.same(await names(a, 'halt'), ['halt 1 up'])
  })

  /** Deploys v1 and then v2 to both hosts, cancelled once app-01 has it, with nothing stopped yet. */
  const cancelSecond = async (name: string, env: Record<string, string>) => {
    const [one, two] = [await place(), await place()]
    await go({ spec: spec(name, v1, one.slots) })
    await go({ spec: spec(name, v1, two.slots), hosts: [b] })
    const stop = new AbortController()
    const verify = async (host: Host) => {
      if (host === b) stop.abort()
    }
    const stops: number[] = []
    const stopping: Host['stop'] = (id, seconds) => {
      if (stop.signal.aborted) stops.push(seconds)
      return a.stop(id, seconds)
    }
    const hosts = [{ ...a, stop: stopping }, b]
    const logged = lines()
    const next = spec(name, v2, one.slots, env)
    const error = await fail({ spec: next, hosts, verify, signal: stop.signal, log: logged.log })
    return { error, stops, text: logged.text }
  }

  t.test('after a cancel the new container ends gracefully, once the old one serves', async (t) => {
    const { error, stops, text } = await cancelSecond('grace', { STOPPING: '2' })
    t.match(error.standings, [{ serves: 'old', unproven: true }, { serves: 'old' }])
    t.same(stops, [], 'nothing is stopped before the ledger is written')
    t.same(await names(a, 'grace'), ['grace 1 up', 'grace.next 2 up'])
    const proven = await error.prove?.()
    t.match(proven?.standings, [{ serves: 'old', error: undefined }, { serves: 'old' }])
    t.same(stops, [settings.stopTimeout])
    t.match(text(), /the old grace serves again[\s\S]*stopped grace\.next/)
    t.notMatch(text(), /was cut/)
    t.same(await names(a, 'grace'), ['grace 1 up'])
    t.same(await names(b, 'grace'), ['grace 1 up'])
  })

  t.test('what another deployment began after a cancel is left alone', async (t) => {
    const { error } = await cancelSecond('queue', {})
    const { id } = (await a.inspect('queue.next')) ?? {}
    await a.remove(id ?? '')
    const { slots } = await place()
    const theirs = await a.create(
      inSlot({ ...spec('queue', v2, slots), name: 'queue.next' }, slots, 2),
    )
    const proven = await error.prove?.()
    t.match(proven?.standings, [{ serves: 'old', error: undefined }, { serves: 'old' }])
    t.equal((await a.inspect('queue.next'))?.id, theirs.id)
  })

  t.test('a host that answers no more before its old container was touched', async (t) => {
    const { slots } = await place()
    await go({ spec: spec('gone', v1, slots) })
    let isGone = false
    const inspect: Host['inspect'] = async (of) => {
      if (isGone) throw new StepError('INTERNAL', 'it answers no more')
      return a.inspect(of)
    }
    const verify = async () => {
      isGone = true
      throw new StepError('INTERNAL', 'it answers no more')
    }
    const { log, text } = lines()
    const error = await fail({
      spec: spec('gone', v2, slots),
      hosts: [{ ...a, inspect }],
      verify,
      log,
    })
    t.match(error.message, /app-01: not touched; what serves there is not known/)
    t.match(text(), /nothing that served was touched; gone\.next may be left/)
    t.notMatch(text() + error.message, /NOT brought back/)
    await go({ spec: spec('gone', v1, slots) })
  })

  t.test('a deployer killed anywhere leaves a container that serves', async (t) => {
    const { ports, slots } = await place()
    await go({ spec: spec('kill', v1, slots) })
    await go({ spec: spec('kill', v2, slots) })
    const states = new Set<string>()
    await noneLost(t, ports, async () => {
      for (const verify of [async () => {}, async () => Promise.reject(new Error('no'))]) {
        for (let verbs = 1; verbs <= 8; verbs++) {
          const hosts = [mortal(a, verbs)]
          await go({ spec: spec('kill', v2, slots), hosts, verify }).catch(() => {})
          states.add((await names(a, 'kill')).join(', '))
        }
      }
      await go({ spec: spec('kill', v1, slots) })
    })
    t.ok(states.size >= 5, [...states].join(' | '))
    t.match((await names(a, 'kill')).join(), /^kill \d up,kill\.previous \d down$/)
  })
}

function lines() {
  const written: string[] = []
  const write = (text: string) => void written.push(text)
  const log = createLog({ format: 'plain', write, mask: (text) => text })
  return { log, text: () => written.join('') }
}
