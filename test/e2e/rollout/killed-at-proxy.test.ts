import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { silentLog } from '../../../src/core/log.ts'
import { openProxy } from '../../../src/proxies/open.ts'
import { instanceLabels } from '../../../src/targets/labels.ts'
import type { ProxyServer } from '../../../src/targets/proxy.ts'
import { slotOf } from '../../../src/targets/slot.ts'
import { startLoad } from '../../proxies/proxy-conformance.ts'
import { runCli, startCli } from '../../support/cli.ts'
import { noEngine, startEngine, type TestEngine } from '../../support/servers/engine.ts'
import { freePort } from '../../support/servers/ports.ts'
import { type Call, countCalls } from '../../support/servers/proxies/call-counter.ts'
import {
  NAME,
  parseProxy,
  startHaproxy,
  startNginx,
} from '../../support/servers/proxies/reverse-proxies.ts'
import { runtimeCommands } from '../../support/servers/runtime-commands.ts'
import { createDeployer } from '../../support/setups/deployer.ts'
import { createSandbox, type Sandbox } from '../../support/setups/sandbox.ts'
import { until } from '../../support/until.ts'
import { type Placed, twoDeployers } from './two-deployers.ts'

const skip = noEngine('docker-registry', 'gcc', 'nginx', 'haproxy', 'perl')
if (skip) t.test('deployers that are killed at a proxy', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  const other = await startEngine()
  t.teardown(() => other.stop())
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1']) await sandbox.release(version)
  await killedAtProxies(sandbox, other)
}

async function killedAtProxies(sandbox: Sandbox, other: TestEngine): Promise<void> {
  const changes = ({ kind }: Call) => kind === 'changes'

  await t.test(
    'nginx, two slots: killed at each call that changes it, and at every sixteenth that reads',
    async (t) => {
      const counter = await countCalls(t)
      const { servers, container } = await slots()
      const { settings, url, folder } = await startNginx(t, servers)
      const written = settings.nginx as { command: string[] }
      const command = [await counter.program('nginx'), ...written.command.slice(1)]
      const nginx = { ...written, command }
      const hosts = { 'app-01': { engine: sandbox.engine } }
      const place = await openPlace(t, sandbox, {
        ...{ counter, servers, container, hosts, url, proxy: { nginx } },
        before: join(folder, 'crosscloud', `${NAME}.conf.before`),
      })
      await sweep(t, place, (call) => changes(call) || call.number % 16 === 1)
    },
  )

  await t.test(
    'HAProxy, two hosts with one port: killed at each change of the first, as one is kept in the state file, at two changes of the second, and at every sixteenth call that reads',
    async (t) => {
      const counter = await countCalls(t)
      const port = await freePort()
      const hosts = {
        'app-01': { engine: sandbox.engine, bind: '127.0.0.2' },
        'app-02': { engine: other, bind: '127.0.0.3' },
      }
      const servers = Object.entries(hosts).map(
        ([host, { bind: address }]): ProxyServer => ({ host, slot: undefined, address, port }),
      )
      const { settings, url, folder } = await startHaproxy(t, servers)
      const socket = `unix://${await counter.socket(join(folder, 's'))}`
      const haproxy = { ...(settings.haproxy as object), socket }
      const container = { ports: [`${port}:8080`] }
      const place = await openPlace(t, sandbox, {
        ...{ counter, servers, container, hosts, url, proxy: { haproxy } },
      })
      // Of each host: drain, maint, ready; each is kept in the state file by two more.
      const chosen = [1, 2, 3, 4, 7, 10, 16]
      await sweep(t, place, (call) =>
        changes(call) ? chosen.includes(call.number) : call.number % 16 === 1,
      )
      await twoDeployers(t, place)
    },
  )

  await t.test(
    'commands, two slots: killed at each that changes the proxy, and at every tenth that asks it',
    async (t) => {
      const counter = await countCalls(t)
      const { servers, container } = await slots()
      const haproxy = await startHaproxy(t, servers)
      const perl = await counter.program('perl')
      const commands = Object.fromEntries(
        Object.entries(await runtimeCommands(haproxy)).map(([verb, [, ...args]]) => [
          verb,
          [perl, ...args],
        ]),
      )
      const hosts = { 'app-01': { engine: sandbox.engine } }
      const place = await openPlace(t, sandbox, {
        ...{ counter, servers, container, hosts, url: haproxy.url, proxy: { commands } },
      })
      await sweep(t, place, (call) => changes(call) || call.number % 10 === 1)
    },
  )
}

/** On the host's own network: nothing accepts there before the application listens. */
async function slots() {
  const ports = [await freePort(), await freePort()]
  const servers = ports.map(
    (port, at): ProxyServer => ({ host: 'app-01', slot: at + 1, address: '127.0.0.1', port }),
  )
  const container = {
    ...{ network: 'host', ports: [] },
    slots: ports.map((port) => ({ ports: [`${port}:8080`], env: { PORT: String(port) } })),
  }
  return { servers, container }
}

interface PlaceOptions {
  counter: Awaited<ReturnType<typeof countCalls>>
  servers: readonly ProxyServer[]
  /** Parts of crosscloud.yml. */
  container: object
  proxy: Record<string, unknown>
  hosts: Record<string, { engine: TestEngine; bind?: string }>
  url: string
  /** The file that nginx's driver keeps while it changes its own. */
  before?: string
}

/** An environment behind a proxy, with a release that runs there. */
async function openPlace(t: Test, sandbox: Sandbox, options: PlaceOptions): Promise<Placed> {
  const { counter, servers, container, hosts, url, before } = options
  const proxy = { ...options.proxy, drain: '2s' }
  const file = join(sandbox.folder, 'crosscloud.yml')
  await sandbox.configure('sqlite:ledger.db')
  const plain = parse(await readFile(file, 'utf8'))
  const addresses = Object.entries(hosts).map(([host, { engine, bind }]) => [
    host,
    { address: engine.address, ...(bind !== undefined && { bind }) },
  ])
  const test = { ...plain.environments.test, hosts: Object.fromEntries(addresses), proxy }
  const settings = {
    ...{ ...plain, environments: { test } },
    container: { ...plain.container, name: `webapi-${Object.keys(options.proxy)}`, ...container },
  }
  await writeFile(file, JSON.stringify(settings))
  const deployer = await createDeployer(sandbox)
  const opened = { name: NAME, servers, folder: sandbox.folder, log: silentLog }
  const reverse = await openProxy(parseProxy(proxy), opened)
  t.teardown(() => reverse.close())
  const env = { ...sandbox.variables, PATH: `${counter.bin}:${process.env.PATH}` }
  const containersOf = (engine: TestEngine) =>
    engine.docker.listContainers({
      all: true,
      filters: { name: [`^/${settings.container.name}`] },
    })
  const onEach = <T>(work: (engine: TestEngine) => Promise<T>) =>
    Promise.all(Object.values(hosts).map(({ engine }) => work(engine)))
  t.teardown(() =>
    onEach(async (engine) => {
      for (const { Id } of await containersOf(engine)) {
        await engine.docker.getContainer(Id).remove({ force: true })
      }
    }),
  )
  return {
    ...{ counter, url, deployer, options: { cwd: sandbox.folder, env } },
    isInterrupted: () => before !== undefined && existsSync(before),
    containers: () => onEach(containersOf),
    modes: async () =>
      (await reverse.states()).map(({ server: { host, slot }, mode }) => ({ host, slot, mode })),
  }
}

/** Kills a whole deployment at each chosen call, and lets the next one put right what it has left. */
async function sweep(t: Test, place: Placed, isChosen: (call: Call) => boolean): Promise<void> {
  const { counter, deployer, options, url } = place
  const { deployed, ledger, deploy } = deployer
  await deployed(t, '1.0.0')
  const load = startLoad(url, 50)
  counter.arm()
  const whole = await runCli(deploy('1.0.1'), options)
  t.equal(whole.code, 0, whole.stderr)
  const made = counter.made()
  const deaths = made.filter(isChosen)
  t.comment(`${made.length} calls in a whole deployment, killed at ${deaths.length} of them`)
  for (const [at, death] of deaths.entries()) {
    const version = `1.0.${at % 2}`
    const name = `before the ${death.number}. of the ${death.kind}, ${death.text}`
    const running = startCli(deploy(version), options)
    counter.arm(death, running.child)
    const { stderr } = await running.finished
    t.equal(running.child.signalCode, 'SIGKILL', `killed ${name}: ${stderr}`)
    counter.arm()
    const found = { isCutOff: await isCutOff(place), isInterrupted: place.isInterrupted() }
    const answered = load.bodies.length
    t.ok(await until(() => load.bodies.length > answered + 2), `it serves, killed ${name}`)
    const { newest } = await ledger()
    const { stdout } = await deployed(t, version)
    t.match(stdout, /warning: .* ended without giving back the lock of webapi in test/)
    t.match(stdout, `deployment ${newest?.id} of ${version}`)
    t.equal(/a deployment was cut off/.test(stdout), found.isCutOff, `said, killed ${name}`)
    t.equal(/interrupted/.test(stdout), found.isInterrupted, `said of the proxy, killed ${name}`)
    t.notMatch(stdout, /somebody took it out/)
    await expectWhole(t, place, version, name)
  }
  t.same(await load.stop(), [], `none of ${load.bodies.length} requests is lost`)
}

/** Whether a host has more, or less, than the container that serves and the one before it. */
async function isCutOff({ containers }: Placed): Promise<boolean> {
  return (await containers()).some((found) => {
    const running = found.filter(({ State }) => State === 'running')
    return found.length > 2 || running.length !== 1 || !/^\/[^.]*$/.test(running[0]?.Names[0] ?? '')
  })
}

/** One container runs on each host, of this version, and the proxy sends its requests there. */
async function expectWhole(t: Test, place: Placed, version: string, name: string): Promise<void> {
  t.notOk(await isCutOff(place), `one container on each host, killed ${name}`)
  t.notOk(place.isInterrupted())
  const running = (await place.containers()).map((all) =>
    all.find(({ State }) => State === 'running'),
  )
  for (const each of running) t.equal(each?.Labels[instanceLabels.version], version)
  const slot = slotOf(running[0]?.Labels ?? {})
  for (const { mode, ...server } of await place.modes()) {
    const isMeant = server.slot === slot
    t.equal(
      mode === 'in',
      isMeant,
      `${server.host} ${server.slot ?? ''} is ${mode}, killed ${name}`,
    )
  }
}
