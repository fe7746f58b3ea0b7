import t, { type Test } from 'tap'
import type { StepError } from '../../../src/core/errors.ts'
import { parseAddress } from '../../../src/targets/docker/address.ts'
import { wantedAccess } from '../../../src/targets/docker/container/host-access.ts'
import { connectDocker } from '../../../src/targets/docker/driver.ts'
import type { HealthSettings } from '../../../src/targets/docker/health/check.ts'
import type { ContainerSettings, ContainerSpec, Host } from '../../../src/targets/docker/host.ts'
import { refuseMissingCheck, waitUntilHealthy } from '../../../src/targets/docker/rollout/health.ts'
import { noEngine, startEngine, type TestEngine } from '../../support/servers/engine.ts'
import { startRecorder } from '../../support/servers/proxies/recorder.ts'
import { importDemoImage } from '../../support/setups/demo-image.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { settings as base, until } from './host-conformance.ts'

const { signal } = new AbortController()
const settings: ContainerSettings = { ...base, restart: 'no' }
const skip = noEngine('gcc')
if (skip) t.test('containers', { skip }, async () => {})
else {
  const engine = await startEngine()
  t.teardown(async () => {
    // Its own bridge is removed with the engine; those of networks would stay.
    await engine.docker.pruneNetworks().catch(() => {})
    await engine.stop()
  })
  const host = await connectDocker({
    name: 'app-01',
    address: parseAddress(engine.address),
    credentials: async () => undefined,
    signal,
  })
  t.teardown(() => host.close())
  const image = await importDemoImage(engine, 'demo', '1')
  const spec = (changes: Partial<ContainerSettings>): ContainerSpec => ({
    name: `c-${Math.random().toString(36).slice(2, 8)}`,
    image,
    labels: {},
    settings: { ...settings, ...changes },
    files: [],
  })
  healthChecks(host, engine, spec)
  engineSettings(host, engine, spec)
  limits(engine, image)
}

type Spec = (changes: Partial<ContainerSettings>) => ContainerSpec

function healthChecks(host: Host, engine: TestEngine, spec: Spec): void {
  const start = async (t: Test, changes: Partial<ContainerSettings>) => {
    const created = await host.create(spec(changes))
    t.teardown(() => host.remove(created.id))
    await host.start(created.id)
    return created
  }
  t.test('a container is well by TCP, by a command, or by running', async (t) => {
    const container = await start(t, { env: { SLOW: '1' } })
    const tcp: HealthSettings = { tcp: { port: 8080 }, timeout: 20_000, successes: 2 }
    t.match(await waitUntilHealthy(host, container, tcp), { running: true })
    const cat = ['/server', 'cat', '/app/ROOT/WEB-INF/web.xml']
    const command: HealthSettings = { command: cat, timeout: 20_000 }
    t.match(await waitUntilHealthy(host, container, command), { running: true })
    const running: HealthSettings = { running: 100, timeout: 100 }
    t.match(await waitUntilHealthy(host, container, running), { running: true })
  })

  t.test('a container that is not well says how', async (t) => {
    const container = await start(t, { env: { PORT: '9999', SAYS: 'at\na.b.CException: no db\n' } })
    const rejects = (health: HealthSettings, message: RegExp) =>
      t.rejects(waitUntilHealthy(host, container, health), { code: 'VERIFY_FAILED', message })
    const timeout = 400
    await rejects(
      { tcp: { port: 8080 }, timeout },
      /after 0\.4 s: connecting to :8080: .*closed at once; last exception: a\.b\.CException: no db$/,
    )
    await rejects(
      { command: ['/server', '4', 'ready'], timeout },
      /running \/server: exit code 4: \w.*; last/,
    )
    await rejects({ command: ['/none'], timeout }, /running \/none: .*no such file/)
    await rejects(
      { command: ['/server', '0', 'late', '30'], requestTimeout: 50, timeout },
      /no result/,
    )
    await rejects({ http: { port: 8080, path: '/' }, timeout }, /GET :8080\/: /)
    await rejects({ docker: true, timeout }, /HEALTHCHECK: it has not run/)
  })

  t.test("the image's HEALTHCHECK counts, and is missed before anything is stopped", async (t) => {
    const health = 'HEALTHCHECK --interval=1s CMD ["/server", "cat", "/conf/ready"]'
    const checked = await importDemoImage(engine, 'checked', '1', [health])
    const without = await host.create(spec({}))
    const check: HealthSettings = { docker: true, timeout: 30_000 }
    t.throws(() => refuseMissingCheck(host, without, check), {
      code: 'INPUT_INVALID',
      message: /has no HEALTHCHECK/,
    })
    await host.remove(without.id)
    const file = { path: '/conf/ready', content: Buffer.from('x'), mode: 0o644, uid: 0, gid: 0 }
    const created = await host.create({ ...spec({}), image: checked, files: [file] })
    t.teardown(() => host.remove(created.id))
    refuseMissingCheck(host, created, check)
    await host.start(created.id)
    t.match(await waitUntilHealthy(host, created, check), { health: { status: 'healthy' } })
    const sick = await host.create({ ...spec({}), image: checked })
    t.teardown(() => host.remove(sick.id))
    await host.start(sick.id)
    await until(async () => (await host.inspect(sick.id))?.health?.output || undefined)
    await t.rejects(waitUntilHealthy(host, sick, { ...check, timeout: 100 }), {
      message: /HEALTHCHECK: (un|starting)\w*: .*\/conf\/ready/,
    })
  })

  t.test(
    'a container that ended says its exit code, its exception, and who killed it',
    async (t) => {
      const health: HealthSettings = { tcp: { port: 8080 }, timeout: 30_000 }
      const dead = await start(t, { env: { EXIT: '3', SAYS: 'Caused by: a.b.CException: no db' } })
      await t.rejects(waitUntilHealthy(host, dead, health), {
        code: 'COMMAND_FAILED',
        message: /ended with exit code 3; last exception: a\.b\.CException: no db$/,
      })
      const endOfHog = async () => {
        const hog = await start(t, { env: { HOG: '1' }, memory: 16 * 1024 * 1024 })
        return waitUntilHealthy(host, hog, health).then(
          () => Promise.reject(new Error('it took more memory than it may have')),
          (error: StepError) => error,
        )
      }
      // An engine that is busy does not always hear from the kernel why it ended.
      let end = await endOfHog()
      for (let again = 0; again < 5 && !/memory$/.test(end.message); again++) {
        t.match(end.message, /ended with exit code 137 \(SIGKILL\)$/)
        end = await endOfHog()
      }
      t.match(end, {
        code: 'COMMAND_FAILED',
        message: /ended with exit code 137 \(SIGKILL\), killed by the kernel: out of memory$/,
        hint: /container\.memory/,
      })
    },
  )
}

function engineSettings(host: Host, engine: TestEngine, spec: Spec): void {
  const { docker } = engine
  const networks = ['front', 'back']
  t.before(() => Promise.all(networks.map((Name) => docker.createNetwork({ Name }))))

  t.test('an engine keeps the settings, and the container sees them', async (t) => {
    const settings: Partial<ContainerSettings> = {
      network: 'front',
      moreNetworks: ['back'],
      extraHosts: ['db.internal:10.0.0.5'],
      dns: ['10.0.0.2'],
      hostname: 'web',
      cpus: 0.5,
      memorySwap: 64 * 2 ** 20,
      shmSize: 8 * 2 ** 20,
      ulimits: [{ name: 'nofile', soft: 1000, hard: 2000 }],
      user: '1000:1001',
      readOnly: true,
      tmpfs: [{ path: '/tmp', options: 'size=1m' }],
      devices: [{ source: '/dev/null', path: '/dev/nothing', access: 'r' }],
      capAdd: ['NET_ADMIN'],
      capDrop: ['ALL'],
      init: true,
      stopSignal: 'SIGUSR1',
      logging: { driver: 'json-file', options: { 'max-size': '1m' } },
      labels: { team: 'web' },
      sysctls: { 'net.core.somaxconn': '777' },
    }
    const wanted = spec(settings)
    await host.checkSettings(wanted.settings)
    const { id } = await host.create(wanted)
    t.teardown(() => host.remove(id))
    await host.start(id)
    const found = await docker.getContainer(id).inspect()
    t.same(Object.keys(found.NetworkSettings.Networks).sort(), ['back', 'front'])
    t.match(found.Config, { StopSignal: 'SIGUSR1', User: '1000:1001', Labels: { team: 'web' } })
    t.match(found.HostConfig, {
      Dns: ['10.0.0.2'],
      NanoCpus: 500_000_000,
      Memory: 64 * 2 ** 20,
      MemorySwap: 64 * 2 ** 20,
      ShmSize: 8 * 2 ** 20,
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
      Devices: [{ PathInContainer: '/dev/nothing', CgroupPermissions: 'r' }],
      Init: true,
    })
    const access = ['has the capability NET_ADMIN', 'uses the device /dev/null of the host']
    t.strictSame((await host.inspect(id))?.access, access)
    t.strictSame(wantedAccess(wanted.settings), access, 'as now, when it is deployed again')
    const cat = async (path: string) => {
      const lines: string[] = []
      const onLine = (line: string) => void lines.push(line)
      await host.exec(id, ['/server', 'cat', path], { onLine, signal })
      return lines.join('\n')
    }
    t.match(await cat('/proc/self/limits'), /Max open files +1000 +2000/)
    t.match(await cat('/proc/self/status'), /Uid:\s1000[\s\S]*Gid:\s1001[\s\S]*CapBnd:\s0*1000\n/)
    t.equal(await cat('/proc/sys/net/core/somaxconn'), '777')
    t.equal(await cat('/proc/sys/kernel/hostname'), 'web')
    t.match(await cat('/etc/hosts'), /10\.0\.0\.5\tdb\.internal/)
    const mounts = await cat('/proc/mounts')
    t.match(mounts, / \/ overlay ro,/)
    t.match(mounts, /tmpfs \/tmp tmpfs [^\n]*size=1024k/)
    t.match(mounts, /\/dev\/shm tmpfs [^\n]*size=8192k/)
    t.ok((await host.changes(id)).volumes.includes('/tmp'), 'what is in memory is not compared')
  })

  t.test('a container that ends by itself while it is stopped stays stopped', async (t) => {
    // An engine cannot set the restart policy then; most often a container ends a moment later.
    const socket = `${await temporaryFolder(t)}/engine.sock`
    const recorder = await startRecorder(t, { socketPath: engine.socket }, socket)
    const address = parseAddress(`unix://${socket}`)
    const credentials = async () => undefined
    const through = await connectDocker({ name: 'app-01', address, credentials, signal })
    t.teardown(() => through.close())
    const { id } = await host.create(spec({ restart: 'always' }))
    t.teardown(() => host.remove(id))
    await host.start(id)
    recorder.refuseNext(/^POST .*\/update$/)
    await through.stop(id, 1)
    t.equal(recorder.requests().filter((request) => request.endsWith('/update')).length, 2)
    const { State, HostConfig } = await docker.getContainer(id).inspect()
    t.match([State.Running, HostConfig.RestartPolicy], [false, { Name: 'no' }])
  })

  t.test('what a host lacks is found before anything is changed', async (t) => {
    const rejects = (changes: Partial<ContainerSettings>, code: string, message: RegExp) =>
      t.rejects(host.checkSettings(spec(changes).settings), { code, message })
    await rejects(
      { network: 'fornt' },
      'NOT_FOUND',
      /app-01: there is no network fornt.*mean front/,
    )
    await rejects({ moreNetworks: ['gone'] }, 'NOT_FOUND', /there is no network gone/)
    await rejects({ network: 'container:gone' }, 'NOT_FOUND', /there is no container gone/)
    await rejects({ cpus: 4096 }, 'INPUT_INVALID', /app-01: it has \d+ CPUs, container\.cpus wants/)
    const logging = { driver: 'jsn-file', options: {} }
    await rejects({ logging }, 'INPUT_INVALID', /no log driver jsn-file: did you mean json-file/)
    await host.checkSettings(spec({ network: 'host' }).settings)
  })
}

/** What the settings refuse when they are read, see container-settings.test.ts. */
function limits({ docker }: TestEngine, Image: string): void {
  t.test(
    'an engine refuses what the settings refuse, and takes the least that they take',
    async (t) => {
      const create = (HostConfig: object, more: object = {}) =>
        docker.createContainer({ Image, HostConfig, ...more })
      const least = await create({ Memory: 6 * 1024 ** 2, CapAdd: ['NET_ADMIN'] })
      await least.remove()
      await t.rejects(create({ Memory: 6 * 1024 ** 2 - 1 }), {
        message: /memory limit allowed is 6MB/i,
      })
      await t.rejects(create({ CapAdd: ['NET_ADMINS'] }), { message: /capability/i })
      await t.rejects(create({ Binds: ['./data:/data'] }), { message: /volume name|absolute/ })
      await t.rejects(create({ Binds: ['/srv:/'] }), { message: /destination can't be/ })
      await t.rejects(create({}, { StopSignal: 'SIGTREM' }), { message: /signal/i })
    },
  )
}
