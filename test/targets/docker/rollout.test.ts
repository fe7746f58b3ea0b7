import t, { type Test } from 'tap'
import { StepError } from '../../../src/core/errors.ts'
import { parseAddress } from '../../../src/targets/docker/address.ts'
import { connectDocker } from '../../../src/targets/docker/driver.ts'
import type { ContainerSettings, ContainerSpec, Host } from '../../../src/targets/docker/host.ts'
import { parseHealth, parsePort } from '../../../src/targets/docker/notation.ts'
import type { RolloutOptions } from '../../../src/targets/docker/rollout/options.ts'
import { repair } from '../../../src/targets/docker/rollout/repair.ts'
import { rollOut } from '../../../src/targets/docker/rollout/rollout.ts'
import { isRolloutFailure } from '../../../src/targets/target.ts'
import { startDockerRegistry } from '../../support/servers/docker-registry.ts'
import { noEngine, startEngine, type TestEngine } from '../../support/servers/engine.ts'
import { freePort } from '../../support/servers/ports.ts'
import { publishDemoImage } from '../../support/setups/demo-image.ts'
import { listen } from '../../support/setups/sandbox.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { filesOnVolumes } from './files-on-volumes.ts'
import { settings as base, until, untilText } from './host-conformance.ts'
import { mortal } from './mortal.ts'
import { viewOf } from './rollout/views.ts'

const settings: ContainerSettings = { ...base, restart: 'no' }
const none = async () => undefined
const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('rollouts', { skip }, async () => {})
else {
  const engine = await startEngine()
  const registry = await startDockerRegistry()
  t.teardown(() => Promise.all([engine.stop(), registry.close()]))
  await rollouts(engine, `${registry.address}/team/demo`)
}

async function rollouts(engine: TestEngine, repository: string): Promise<void> {
  const v1 = await publishDemoImage(engine, repository, '1')
  const v2 = await publishDemoImage(engine, repository, '2')
  const { signal } = new AbortController()
  const connect = (name: string, address: string) =>
    connectDocker({ name, address: parseAddress(address), credentials: none, signal })
  const on = await connect('engine', engine.address)
  const [a, b] = [viewOf(on, 'app-01'), viewOf(on, 'app-02')]
  // The engine has a dozen addresses.
  const clear = async () => {
    for (const { id } of await on.list({})) await on.remove(id)
  }

  const spec = (name: string, image: string, env: Record<string, string> = {}): ContainerSpec => ({
    name,
    image,
    labels: { 'test.name': name },
    settings: { ...settings, env },
    files: [],
  })
  const go = (options: Partial<RolloutOptions> & { spec: ContainerSpec }) =>
    rollOut({ hosts: [a, b], log: listen().log, signal, verify: async () => {}, ...options })
  const fail = async (options: Partial<RolloutOptions> & { spec: ContainerSpec }) => {
    const logged = listen()
    const error = await go({ log: logged.log, ...options }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (!isRolloutFailure(error)) throw new Error(`not a rollout failure: ${error}`)
    return { error, text: logged.text() }
  }
  const names = async (host: Host, name: string) => {
    const found = await host.list({ 'test.name': name })
    return found.map((each) => `${each.name} ${each.running ? 'up' : 'down'}`).sort()
  }
  const serves = async (host: Host, name: string) =>
    untilText(await until(async () => (await host.inspect(name))?.address(8080)))
  const idOf = async (host: Host, name: string) => (await host.inspect(name))?.id

  t.test('versions replace one another on two hosts', async (t) => {
    t.teardown(clear)
    const logged = listen()
    const file = { content: Buffer.from('placed'), mode: 0o400, uid: 0, gid: 0 }
    const seen: string[] = []
    const results = await go({
      spec: { ...spec('web', v1, { FILE: '/conf/x' }), files: [{ ...file, path: '/conf/x' }] },
      log: logged.log,
      verify: async (host, { name, running }) => {
        seen.push(`${host.name} ${name} ${running}`)
      },
    })
    t.same(seen, ['app-01 web.next true', 'app-02 web.next true'])
    t.match(results, [
      { host: 'app-01', previousInstanceId: undefined, downtime: 0, url: /^http:\/\/127/ },
      { host: 'app-02', previousInstanceId: undefined, downtime: 0 },
    ])
    t.equal(results[0]?.instanceId, await idOf(a, 'web'))
    t.ok((await a.logs((await idOf(a, 'web')) ?? '', 9)).includes('file: placed'))
    t.same(await names(a, 'web'), ['web up'])

    const [next] = await go({ spec: spec('web', v2) })
    t.equal(next?.previousInstanceId, results[0]?.instanceId)
    t.ok(next && next.downtime > 0 && next.downtime <= next.duration)
    for (const host of [a, b]) {
      t.same(await names(host, 'web'), ['web up', 'web.previous down'])
      t.equal(await serves(host, 'web'), '2')
    }
    await go({ spec: spec('web', v1) })
    t.same(await names(a, 'web'), ['web up', 'web.previous down'], 'only one previous is kept')
    t.equal(await idOf(a, 'web.previous'), next?.instanceId)
    t.equal(await serves(b, 'web'), '1')
  })

  t.test('when the first host fails its old container is restored', async (t) => {
    t.teardown(clear)
    await go({ spec: spec('one', v1) })
    const old = await idOf(a, 'one')
    const expectOld = async (t: Test) => {
      t.equal(await idOf(a, 'one'), old, 'the same container as before')
      t.equal(await serves(a, 'one'), '1')
      t.same(await names(a, 'one'), ['one up'])
      t.same(await names(b, 'one'), ['one up'], 'the second host was not touched')
    }

    await t.test('after a container that is never healthy', async (t) => {
      const sick = spec('one', v2, { SICK: 'yes' })
      sick.settings.health = { http: parseHealth(':8080/healthz'), timeout: 1500 }
      const { error, text } = await fail({ spec: sick })
      t.equal(error.code, 'VERIFY_FAILED')
      t.match(error.message, /^host app-01: one\.next is not healthy after 1\.5 s: .*: HTTP 503/)
      t.match(error.message, /app-01: the old container serves again\n {2}app-02: not touched/)
      t.match(text, /\| demo 2 starts/, 'its last lines are shown')
      t.match(error.standings, [
        { host: 'app-01', serves: 'old', touched: true, instanceId: old, error: /healthy/ },
        { host: 'app-02', serves: 'old', touched: false, error: undefined },
      ])
      await expectOld(t)
    })

    await t.test('with the health check of the old container', async (t) => {
      const moved = spec('one', v2)
      moved.settings.health = { http: parseHealth(':8081/moved'), timeout: 500 }
      const { error, text } = await fail({ spec: moved })
      t.match(error.message, /^host app-01: .*:8081\/moved|port 8081/)
      t.match(error.message, /app-01: the old container serves again\n/)
      t.match(text, 'the old one serves again')
      await expectOld(t)
    })

    await t.test('after a container that ends at once', async (t) => {
      const started = Date.now()
      const dying = spec('one', v2, { EXIT: '3' })
      dying.settings.health = { http: parseHealth(':8080/healthz'), timeout: 60_000 }
      const { error, text } = await fail({ spec: dying })
      t.match(error, { code: 'COMMAND_FAILED', message: /one\.next ended with exit code 3/ })
      t.match(text, /\| ending with 3/)
      t.ok(Date.now() - started < 15_000, 'without waiting for the health check')
      dying.settings.restart = 'always'
      const again = (await fail({ spec: dying })).error
      t.match(again.message, /ended.*, and was started again/)
      t.match(
        again.standings,
        [{ serves: 'old', error: /ended/ }, { serves: 'old' }],
        again.message,
      )
      await expectOld(t)
    })

    await t.test('after a container without a health check that ends a little later', async (t) => {
      const dying = spec('one', v2, { EXIT_AFTER: '1' })
      dying.settings.health = undefined
      t.match((await fail({ spec: dying })).error.message, /ended with exit code 9/)
      await expectOld(t)
    })

    await t.test('after a port that is taken', async (t) => {
      const other = await a.create(spec('squatter', v1))
      await a.start(other.id)
      const { port } = new URL((await a.inspect(other.id))?.address(8080) ?? '')
      const taken = spec('one', v2)
      taken.settings.ports = [parsePort(`127.0.0.1:${port}:8080`)]
      t.match((await fail({ spec: taken })).error, {
        code: 'CONFLICT',
        message: new RegExp(`one\\.next: port ${port} is taken`),
      })
      const onHost = spec('one', v2, { PORT: port })
      onHost.settings.network = 'host'
      onHost.settings.health = { http: parseHealth(`:${port}/`), timeout: 1000 }
      t.match(
        (await fail({ spec: onHost })).error,
        {
          code: 'CONFLICT',
          message: new RegExp(`one\\.next: port ${port} is taken`),
        },
        "a stranger's healthy answer is not ours",
      )
      await a.remove(other.id)
      await expectOld(t)
    })

    await t.test('after a container that is not what was baked', async (t) => {
      const verify = async () => {
        throw new StepError('VERIFY_FAILED', 'index.html was changed', { hint: 'bake again' })
      }
      const { error } = await fail({ spec: spec('one', v2), verify })
      t.match(error, {
        code: 'VERIFY_FAILED',
        message: /^host app-01: index\.html/,
        hint: 'bake again',
      })
      await expectOld(t)
    })

    await t.test('after a cancel while the new one is waited for', async (t) => {
      const stop = new AbortController()
      const hanging = spec('one', v2, { SLOW: '60' })
      hanging.settings.health = { http: parseHealth(':8080/'), timeout: 60_000 }
      const abort = until(async () => ((await a.inspect('one.next'))?.running ? true : undefined))
      const [{ error }] = await Promise.all([
        fail({ spec: hanging, signal: stop.signal }),
        abort.then(() => stop.abort()),
      ])
      t.match(error, { code: 'CANCELLED', standings: [{ serves: 'old' }, { serves: 'old' }] })
      await expectOld(t)
    })
  })

  t.test('when the second host fails the first is restored, too', async (t) => {
    t.teardown(clear)
    await go({ spec: spec('two', v1) })
    await go({ spec: spec('two', v1) })
    const before = [await idOf(a, 'two'), await idOf(a, 'two.previous'), await idOf(b, 'two')]
    const expectOld = async (t: Test) => {
      const now = [await idOf(a, 'two'), await idOf(a, 'two.previous'), await idOf(b, 'two')]
      t.same(now, before)
      t.same(await names(a, 'two'), ['two up', 'two.previous down'])
      t.same(await names(b, 'two'), ['two up', 'two.previous down'])
      t.same([await serves(a, 'two'), await serves(b, 'two')], ['1', '1'])
    }
    const verify = async (host: Host) => {
      if (host === b) throw new StepError('VERIFY_FAILED', 'not on this one')
      t.equal(await serves(a, 'two.next'), '2')
    }
    const { error } = await fail({ spec: spec('two', v2), verify })
    t.match(error.standings, [
      { host: 'app-01', serves: 'old', touched: true, instanceId: before[0], error: undefined },
      { host: 'app-02', serves: 'old', touched: true, instanceId: before[2], error: /not on/ },
    ])
    await expectOld(t)

    const stop = new AbortController()
    const cancelling = async (host: Host) => {
      if (host === b) stop.abort()
    }
    const cut = await fail({ spec: spec('two', v2), verify: cancelling, signal: stop.signal })
    t.equal(cut.error.code, 'CANCELLED')
    await expectOld(t)

    let holds = true
    const checkLock = async () => {
      if (!holds) throw new StepError('CONFLICT', 'the lock was lost')
    }
    const losing = async (host: Host) => {
      holds = host !== b
    }
    const lost = await fail({ spec: spec('two', v2), verify: losing, checkLock })
    t.match(
      lost.error,
      {
        code: 'CONFLICT',
        standings: [
          { host: 'app-01', serves: 'new', error: 'the lock was lost' },
          { host: 'app-02', serves: 'old' },
        ],
      },
      'without the lock only the half-changed host is brought back',
    )
  })

  t.test('a host that cannot be restored is reported with what to do', async (t) => {
    await go({ spec: spec('loud', v1), hosts: [a] })
    const verify = async () => {
      const old = await idOf(a, 'loud')
      if (old) await a.remove(old)
      throw new StepError('VERIFY_FAILED', 'wrong')
    }
    const gone = await fail({ spec: spec('loud', v2), hosts: [a], verify })
    t.match(gone.error.standings, [{ serves: 'unknown', error: /old loud was removed/ }])
    t.match(gone.text, /error: host app-01: loud was NOT brought back/)

    await repair(a, 'loud', listen().log)
    await go({ spec: spec('loud', v1), hosts: [a] })
    const dead = { spec: spec('loud', v2, { EXIT: '1' }), hosts: [mortal(a, 3)] }
    const cut = await fail(dead)
    t.match(cut.error.standings, [{ serves: 'unknown', error: /deployer is dead/ }])
    t.match(cut.text, /On that host, run:\n.*stop loud\.next\n.*docker start loud\n.*docker rm/)
    t.match(cut.error.message, /app-01: NOT brought back, look at it now/)
  })

  t.test('a deployer killed anywhere leaves what the next deployer repairs', async (t) => {
    await go({ spec: spec('kill', v1), hosts: [a] })
    await go({ spec: spec('kill', v1), hosts: [a] })
    const states = new Set<string>()
    for (const verify of [async () => {}, async () => Promise.reject(new Error('no'))]) {
      for (let verbs = 1; verbs <= 7; verbs++) {
        const host = mortal(a, verbs)
        await go({ spec: spec('kill', v2), hosts: [host], verify }).catch(() => {})
        const left = (await names(a, 'kill')).join(', ')
        states.add(left)
        await repair(a, 'kill', listen().log)
        const repaired = await names(a, 'kill')
        t.ok(
          ['kill up', 'kill up, kill.previous down'].includes(repaired.join(', ')),
          `${left} → ${repaired}`,
        )
        t.match(await serves(a, 'kill'), /[12]/, `after ${verbs} verbs`)
      }
    }
    t.ok(states.size >= 5, [...states].join(' | '))
    await go({ spec: spec('kill', v2), hosts: [a] })
    t.equal(await serves(a, 'kill'), '2')
  })

  t.test('files on volumes are placed late and restored', (t) => filesOnVolumes(t, a, v1))

  t.test('repair logs what it found, and nothing when all is well', async (t) => {
    const next = await a.create(spec('left.next', v1))
    const logged = listen()
    await repair(a, 'left', logged.log)
    t.match(logged.text(), /warning: host app-01: left: a first deployment was cut off/)
    t.match(logged.text(), /removed left\.next/)
    t.equal(await a.inspect(next.id), undefined)
    const quiet = listen()
    await repair(a, 'left', quiet.log)
    t.equal(quiet.text(), '')
  })

  t.test('nothing is changed when a host is silent or the image is missing', async (t) => {
    await go({ spec: spec('still', v1), hosts: [a] })
    const before = await idOf(a, 'still')
    const silent = await connect('app-08', `unix://${await temporaryFolder(t)}/none.sock`)
    const mute = await connect('app-09', `tcp://127.0.0.1:${await freePort()}`)
    await t.rejects(go({ spec: spec('still', v2), hosts: [silent, a, mute] }), {
      code: 'UNAVAILABLE',
      exitCode: 75,
      message: /app-08 .*\n.*app-09 /,
    })
    const unknown = spec('still', v2.replace(/.{8}$/, '00000000'))
    await t.rejects(go({ spec: unknown, hosts: [a] }), { code: 'NOT_FOUND' })
    const stopped = AbortSignal.abort()
    await t.rejects(go({ spec: spec('still', v2), hosts: [a], signal: stopped }), {
      code: 'CANCELLED',
    })
    t.equal(await idOf(a, 'still'), before)
    t.same(await names(a, 'still'), ['still up'])
  })
}
