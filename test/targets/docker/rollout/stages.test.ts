import t, { type Test } from 'tap'
import { StepError } from '../../../../src/core/errors.ts'
import { createLog } from '../../../../src/core/log.ts'
import { parseAddress } from '../../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../../src/targets/docker/driver.ts'
import type { ContainerSpec, Host } from '../../../../src/targets/docker/host.ts'
import { parseHealth } from '../../../../src/targets/docker/notation.ts'
import type { RolloutOptions } from '../../../../src/targets/docker/rollout/options.ts'
import { rollOut } from '../../../../src/targets/docker/rollout/rollout.ts'
import type { RolloutStrategy } from '../../../../src/targets/rollout-settings.ts'
import { oneByOne } from '../../../../src/targets/strategy.ts'
import { isRolloutFailure } from '../../../../src/targets/target.ts'
import { startDockerRegistry } from '../../../support/servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../../../support/servers/engine.ts'
import { publishDemoImage } from '../../../support/setups/demo-image.ts'
import { until } from '../../../support/until.ts'
import { settings as base } from '../host-conformance.ts'
import { oneOffCommands } from './one-off-commands.ts'
import { viewOf } from './views.ts'

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('stages of a rollout', { skip }, async () => {})
else {
  const engine = await startEngine()
  const registry = await startDockerRegistry()
  t.teardown(() => Promise.all([engine.stop(), registry.close()]))
  await stages(engine, `${registry.address}/team/demo`)
}

export type Rollouts = ReturnType<typeof createRollouts>

/** Rollouts over hosts that are all on one engine. */
function createRollouts(on: Host, images: readonly [string, string]) {
  const named = (names: string) => [...names].map((name) => viewOf(on, `host-${name}`))
  const spec = (name: string, version: 1 | 2, more: Partial<ContainerSpec['settings']> = {}) => ({
    name,
    image: images[version - 1] ?? '',
    files: [],
    labels: { 'test.name': name },
    settings: {
      ...base,
      restart: 'no' as const,
      stopTimeout: 1,
      health: { http: parseHealth(':8080/'), timeout: 60_000 },
      ...more,
    },
  })
  const go = async (
    options: Partial<Omit<RolloutOptions, 'strategy'>> & {
      hosts: readonly Host[]
      spec: ContainerSpec
      strategy?: Partial<RolloutStrategy>
      onText?: (text: string) => void
    },
  ) => {
    let text = ''
    const write = (line: string) => {
      text += line
      options.onText?.(text)
    }
    const log = createLog({ format: 'plain', write, mask: (line) => line })
    const { signal } = new AbortController()
    const strategy = { ...oneByOne, ...options.strategy }
    const common = { log, signal, verify: async () => {}, ...options, strategy }
    const thrown = await rollOut(common).then(
      () => undefined,
      (error: unknown) => error,
    )
    return { thrown, text }
  }
  const fail = async (options: Parameters<typeof go>[0]) => {
    const { thrown, text } = await go(options)
    if (!isRolloutFailure(thrown)) throw new Error(`not a rollout failure: ${thrown}\n${text}`)
    return { error: thrown, text }
  }
  /** `host-a 1` where version 1 serves, with what else is there. */
  const seen = async (hosts: readonly Host[], name: string) => {
    const found = hosts.map(async (host) => {
      const containers = (await host.list({ 'test.name': name })).map((each) => {
        const version = images.indexOf(each.image) + 1
        const role = each.name === name ? '' : each.name.slice(name.length)
        return `${version}${role}${each.running ? '' : ' down'}`
      })
      return `${host.name}: ${containers.sort().join(', ')}`
    })
    return Promise.all(found)
  }
  return { named, spec, go, fail, seen }
}

async function stages(engine: TestEngine, repository: string): Promise<void> {
  const images = [
    await publishDemoImage(engine, repository, '1'),
    await publishDemoImage(engine, repository, '2'),
  ] as const
  const on = await connectDocker({
    name: 'engine',
    address: parseAddress(engine.address),
    credentials: async () => undefined,
    signal: new AbortController().signal,
  })
  const rollouts = createRollouts(on, images)
  const { named, spec, go, fail, seen } = rollouts
  const hosts = named('abcd')
  const [a, b, c, d] = hosts
  if (!a || !b || !c || !d) throw new Error('four hosts')
  const name = 'web'
  const expect = async (t: Test, ...wanted: string[]) =>
    t.same(
      await seen(hosts, name),
      wanted.map((each, at) => `${hosts[at]?.name}: ${each}`),
    )
  const failOn = (pattern: RegExp) => async (host: Host) => {
    if (!pattern.test(host.name)) return
    throw new StepError('VERIFY_FAILED', 'it is not what was baked')
  }

  t.test('as many hosts are changed at once as the strategy says', async (t) => {
    let [inside, most] = [0, 0]
    let arrived: (() => void)[] = []
    const verify = async () => {
      most = Math.max(most, ++inside)
      // None goes on until there are two: one after the other they would wait for ever.
      await new Promise<void>((resolve) => {
        arrived.push(resolve)
        if (arrived.length < 2) return
        for (const go of arrived) go()
        arrived = []
      })
      inside--
    }
    const strategy = { parallel: { hosts: 2 } }
    const { thrown, text } = await go({ hosts, spec: spec(name, 1), verify, strategy })
    t.equal(thrown, undefined)
    t.equal(most, 2)
    await expect(t, '1', '1', '1', '1')
    t.match(text, /^host-a, host-b\n/m)
    t.match(text, /^ {2}host-b: created web\.next/m, 'each line names its host')
    t.match(text, /^host-c, host-d\n/m)
  })

  t.test('a failure stops the hosts that are in progress, and all are restored', async (t) => {
    // The third would listen after ten minutes.
    const slow: Host = {
      ...c,
      create: (wanted) =>
        c.create({ ...wanted, settings: { ...wanted.settings, env: { SLOW: '600' } } }),
    }
    const isRunning = async () => (await c.inspect('web.next'))?.running ?? false
    const verify = async (host: Host) => {
      if (host.name === 'host-b') await until(isRunning)
      await failOn(/b$/)(host)
    }
    const { error, text } = await fail({
      hosts: [a, b, slow, d],
      verify,
      strategy: { parallel: { hosts: 3 } },
      spec: spec(name, 2, { health: { http: parseHealth(':8080/'), timeout: 600_000 } }),
    })
    t.match(error.message, /^host host-b: it is not what was baked\n {2}host-a: the old/)
    t.match(error.standings, [
      { host: 'host-a', serves: 'old', touched: true },
      { host: 'host-b', serves: 'old', error: 'it is not what was baked' },
      { host: 'host-c', serves: 'old', error: /stopped on its way, as host-b had failed/ },
      { host: 'host-d', serves: 'old', touched: false },
    ])
    t.match(text, /bringing .*host-b.* back at once/)
    await expect(t, '1', '1', '1', '1')
  })

  t.test('a canary that fails is restored, whatever is set', async (t) => {
    let killed: Promise<void> | undefined
    const kill = async () => {
      const id = (await a.inspect(name))?.id
      if (id) await a.stop(id, 1)
    }
    const { error } = await fail({
      hosts,
      spec: spec(name, 2),
      strategy: { canary: { hosts: 1 }, onFailure: 'continue', watch: 600_000 },
      onText(text) {
        if (text.includes('watching host-a for 600 s')) killed ??= kill()
      },
    })
    await killed
    t.match(error.message, /^host host-a: web ended with exit code 0\n {2}host-a: the old/)
    await expect(t, '1', '1', '1', '1')
  })

  t.test('a cancel ends a pause and a watch at once', async (t) => {
    const cancelAt = async (words: string, strategy: Partial<RolloutStrategy>) => {
      const stop = new AbortController()
      const onText = (text: string) => text.includes(words) && stop.abort()
      const common = { hosts, spec: spec(name, 2), signal: stop.signal }
      const { error } = await fail({ ...common, strategy, onText })
      t.match(error, { code: 'CANCELLED', message: /^cancelled\n {2}host-a: the old/ })
    }
    await cancelAt('waiting 600 s', { pause: 600_000 })
    await cancelAt('watching', { canary: { hosts: 1 }, watch: 600_000 })
    await expect(t, '1', '1', '1', '1')
  })

  t.test('with on-failure: stop, changed hosts stay, and the rest is not touched', async (t) => {
    const strategy = { onFailure: 'stop' } as const
    const verify = failOn(/b$/)
    const { error } = await fail({ hosts, verify, spec: spec(name, 2), strategy })
    t.match(error, {
      code: 'VERIFY_FAILED',
      message: /host-a: the new container serves\n {2}host-b: the old .*\n {2}host-c: not touched/,
      hint: /deploy --missing --release/,
      standings: [
        { serves: 'new', touched: true, error: undefined, result: { host: 'host-a' } },
        { serves: 'old', error: /not what was baked/ },
        { serves: 'old', touched: false },
        { serves: 'old', touched: false },
      ],
    })
    await expect(t, '1.previous down, 2', '1', '1', '1')
  })

  t.test('with on-failure: continue, failed hosts are restored and the rest goes on', async (t) => {
    const strategy = { parallel: { hosts: 2 }, onFailure: 'continue' } as const
    const verify = failOn(/[ac]$/)
    const { error } = await fail({ hosts, verify, spec: spec(name, 2), strategy })
    t.match(error.message, /^host host-a: .*\nhost host-c: .*\n {2}host-a: the old container/)
    t.same(
      error.standings.map(({ serves }) => serves),
      ['old', 'new', 'old', 'new'],
    )
    await expect(t, '1.previous down, 2', '1.previous down, 2', '1', '1.previous down, 2')
  })

  t.test('a lock that is lost during a pause stops the rollout', async (t) => {
    let isLost = false
    const { error } = await fail({
      hosts: [c, a],
      spec: spec(name, 2),
      strategy: { pause: 1, onFailure: 'continue' },
      onText: (text) => {
        isLost ||= text.includes('before the next hosts')
      },
      checkLock: async () => {
        if (isLost) throw new StepError('CONFLICT', 'the lock was lost')
      },
    })
    t.match(error, { code: 'CONFLICT', standings: [{ serves: 'new' }, { touched: false }] })
  })

  t.test('the rest follows a canary that stays healthy', async (t) => {
    const strategy = { canary: { hosts: 1 }, parallel: { hosts: 3 }, watch: 1 }
    const { thrown, text } = await go({ hosts, spec: spec(name, 1), strategy })
    t.equal(thrown, undefined)
    t.match(text, /^host-a \(canary\)\n(?:.*\n)*.*stayed healthy.*\nhost-b, host-c, host-d\n/m)
    const replaced = '1, 2.previous down'
    await expect(t, replaced, replaced, replaced, replaced)
  })

  t.test('commands run once for a deployment', async (t: Test) => {
    // The engine has a dozen addresses.
    for (const { id } of await on.list({})) await on.remove(id)
    await oneOffCommands(t, rollouts)
  })
}
