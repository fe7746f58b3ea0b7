import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type Docker from 'dockerode'
import type { Test } from 'tap'
import { parse } from 'yaml'
import { silentLog } from '../../../src/core/log.ts'
import { openProxy } from '../../../src/proxies/open.ts'
import { instanceLabels } from '../../../src/targets/labels.ts'
import type { ProxyServer, ServerMode } from '../../../src/targets/proxy.ts'
import { slotOf } from '../../../src/targets/slot.ts'
import { startLoad } from '../../proxies/proxy-conformance.ts'
import { type CliOptions, runCli, startCli } from '../../support/cli.ts'
import { send } from '../../support/servers/backends.ts'
import type { TestEngine } from '../../support/servers/engine.ts'
import { freePort } from '../../support/servers/ports.ts'
import type { Call, CallCounter } from '../../support/servers/proxies/call-counter.ts'
import { NAME, parseProxy } from '../../support/servers/proxies/reverse-proxies.ts'
import { createDeployer } from '../../support/setups/deployer.ts'
import type { Sandbox } from '../../support/setups/sandbox.ts'
import { until } from '../../support/until.ts'

/** An environment behind a proxy whose calls are counted, and what is there now. */
export interface Placed {
  counter: CallCounter
  url: string
  deployer: Awaited<ReturnType<typeof createDeployer>>
  /** For whole processes of the command line. */
  options: CliOptions
  /** Whether the proxy's own file is half changed. */
  isInterrupted(): boolean
  /** By host. */
  containers(): Promise<Docker.ContainerInfo[][]>
  modes(): Promise<{ host: string; slot: number | undefined; mode: ServerMode }[]>
  /** The modes that a reload of the proxy would begin with, where a state file keeps them. */
  kept(): Promise<ServerMode[]> | undefined
}

/** On the host's own network: nothing accepts there before the application listens. */
export async function slots() {
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
  counter: CallCounter
  servers: readonly ProxyServer[]
  /** Parts of crosscloud.yml. */
  container: object
  proxy: Record<string, unknown>
  hosts: Record<string, { engine: TestEngine; bind?: string }>
  url: string
  /** The file that nginx's driver keeps while it changes its own. */
  before?: string
  /** See Placed. */
  kept?: () => Promise<ServerMode[]>
}

/** An environment behind a proxy, for the releases 1.0.0 and 1.0.1. */
export async function openPlace(t: Test, sandbox: Sandbox, options: PlaceOptions): Promise<Placed> {
  const { counter, servers, container, hosts, url, before, kept } = options
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
    container: { ...plain.container, ...container },
  }
  await writeFile(file, JSON.stringify(settings))
  const deployer = await createDeployer(sandbox)
  const opened = { name: NAME, servers, folder: sandbox.folder, log: silentLog }
  const reverse = await openProxy(parseProxy(proxy), opened)
  t.teardown(() => reverse.close())
  const env = { ...sandbox.variables, PATH: `${counter.bin}:${process.env.PATH}` }
  const engines = Object.values(hosts).map(({ engine }) => engine)
  const containersOf = ({ docker }: TestEngine) =>
    docker.listContainers({ all: true, filters: { name: ['^/webapi-test'] } })
  t.teardown(async () => {
    for (const engine of engines) {
      for (const { Id } of await containersOf(engine)) {
        await engine.docker.getContainer(Id).remove({ force: true })
      }
    }
  })
  return {
    ...{ counter, url, deployer, options: { cwd: sandbox.folder, env } },
    isInterrupted: () => before !== undefined && existsSync(before),
    containers: () => Promise.all(engines.map(containersOf)),
    kept: () => kept?.(),
    modes: async () =>
      (await reverse.states()).map(({ server: { host, slot }, mode }) => ({ host, slot, mode })),
  }
}

interface Deaths {
  /** Default: all of them. */
  changes?: readonly number[]
  /** At the first call that reads after so many changes. */
  readsAfter: readonly number[]
}

/** Kills a whole deployment at each chosen call, and lets the next one put right what it has left. */
export async function sweep(
  t: Test,
  place: Placed,
  { changes, readsAfter }: Deaths,
): Promise<void> {
  const { counter, deployer, options, url } = place
  const { deployed, deploy } = deployer
  await deployed(t, '1.0.0')
  t.equal((await send(url)).status, 200, 'a first deployment puts its hosts in')
  const load = startLoad(url, 100)
  t.teardown(() => load.stop())
  counter.arm()
  const whole = await runCli(deploy('1.0.1'), options)
  t.equal(whole.code, 0, whole.stderr)
  const made = counter.made()
  t.same(load.failed, [], 'no request is lost in a whole deployment')
  const all = made.flatMap(({ kind, number }) => (kind === 'changes' ? number : []))
  const chosen = changes ?? all
  const deaths = made.filter(({ kind, number, after }) =>
    kind === 'changes' ? chosen.includes(number) : number === 1 && readsAfter.includes(after),
  )
  t.equal(deaths.length, chosen.length + readsAfter.length, 'each of these calls is made')
  t.comment(`${made.length} calls in a whole deployment, killed at ${deaths.length} of them`)
  for (const [at, death] of deaths.entries()) {
    await killAt(t, place, { death, load, version: `1.0.${at % 2}` })
  }
  t.same(await load.stop(), [])
}

interface Kill {
  death: Call
  load: ReturnType<typeof startLoad>
  version: string
}

async function killAt(t: Test, place: Placed, { death, load, version }: Kill): Promise<void> {
  const { counter, deployer, options } = place
  const { deployed, ledger, deploy } = deployer
  const name = nameOf(death)
  const lost = () => load.failed.splice(0)
  const running = startCli(deploy(version), options)
  counter.arm(death, running.child)
  const { stderr } = await running.finished
  t.equal(running.child.signalCode, 'SIGKILL', `killed ${name}: ${stderr}`)
  counter.arm()
  const found = { isCutOff: await isCutOff(place), isInterrupted: place.isInterrupted() }
  const answered = load.bodies.length
  t.ok(await until(() => load.bodies.length > answered + 2), `it serves, killed ${name}`)
  t.same(lost(), [], `no request is lost, killed ${name}`)
  const { newest } = await ledger()
  const { stdout } = await deployed(t, version)
  t.match(stdout, /warning: .* ended without giving back the lock of webapi in test/)
  t.match(stdout, `deployment ${newest?.id} of ${version}`)
  t.equal(/a deployment was cut off/.test(stdout), found.isCutOff, `said, killed ${name}`)
  t.equal(/interrupted/.test(stdout), found.isInterrupted, `said of the proxy, killed ${name}`)
  t.notMatch(stdout, /somebody took it out/)
  await expectWhole(t, place, version, name)
  t.same(lost(), [], `no request is lost while it is put right, killed ${name}`)
}

function nameOf({ kind, number, after, text }: Call): string {
  const which = kind === 'changes' ? `change ${number}` : `read ${number} after change ${after}`
  return `before ${which}, ${text}`
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
  const modes = await place.modes()
  const kept = await place.kept()
  if (kept) {
    const now = modes.map(({ mode }) => mode)
    t.same(kept, now, `the state file is as the proxy, killed ${name}`)
  }
  for (const { mode, ...server } of modes) {
    const isMeant = server.slot === slot
    t.equal(
      mode === 'in',
      isMeant,
      `${server.host} ${server.slot ?? ''} is ${mode}, killed ${name}`,
    )
  }
}
