import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { StepError } from '../../src/core/errors.ts'
import { silentLog } from '../../src/core/log.ts'
import { openMachine } from '../../src/proxies/machine/open.ts'
import { createNginxDriver } from '../../src/proxies/nginx/driver.ts'
import { openProxy } from '../../src/proxies/open.ts'
import { createProxy } from '../../src/proxies/traffic.ts'
import type { ReverseProxy } from '../../src/targets/proxy.ts'
import { type Backend, startBackends } from '../support/servers/backends.ts'
import { relayCommands } from '../support/servers/proxies/call-counter.ts'
import {
  NAME,
  parseProxy,
  startHaproxy,
  startNginx,
} from '../support/servers/proxies/reverse-proxies.ts'
import { runtimeCommands } from '../support/servers/runtime-commands.ts'
import { missingProgram } from '../support/servers/server.ts'
import { until } from '../support/until.ts'
import { startLoad } from './proxy-conformance.ts'

/*
 * A deployer that is killed at a call which only reads has done what one did that is killed at the
 * next call which changes something: so the deployers here die before each of those. Once dead, they
 * do nothing more.
 */

interface Sweep {
  backends: readonly [Backend, Backend]
  url: string
  /** As the next command opens it. */
  proxy: ReverseProxy
  /** As a deployer opens it that dies after so many changing calls. */
  openMortal(calls: number): Promise<ReverseProxy>
  /** How many there are, at least. */
  least: number
}

/** @returns what the next command said after each death */
async function sweep(t: Test, { backends, url, proxy, openMortal, least }: Sweep) {
  let [from, to] = backends.map(({ server }) => server) as [Backend['server'], Backend['server']]
  await until(async () => (await proxy.isServing(from)) && proxy.isServing(to))
  await proxy.takeOut(to)
  const load = startLoad(url)
  const said: string[] = []
  for (let calls = 0; ; calls++) {
    const mortal = await openMortal(calls)
    const died = await mortal.takeOut(from, { instead: to }).then(
      () => false,
      () => true,
    )
    await mortal.close().catch(() => {})
    const answered = load.bodies.length
    t.ok(await until(() => load.bodies.length > answered + 2), `serves after ${calls} calls`)
    said.push((await proxy.repair()) ?? '')
    await proxy.takeOut(from, { instead: to })
    t.same(
      (await proxy.states()).filter(({ mode }) => mode === 'in').map(({ server }) => server),
      [to],
      `after ${calls} calls`,
    )
    t.equal(await proxy.repair(), undefined, 'it is put right once')
    if (!died) {
      t.ok(calls >= least, `${calls} calls`)
      break
    }
    ;[from, to] = [to, from]
  }
  t.same(await load.stop(), [], 'no request is lost')
  return said
}

t.test(
  'nginx, and a deployer killed at each call',
  { skip: missingProgram('nginx') },
  async (t) => {
    const [first, second] = (await startBackends(t, 2)) as [Backend, Backend]
    const servers = [first.server, second.server]
    const { settings, url } = await startNginx(t, servers)
    const parsed = parseProxy({ ...settings, drain: '10s' })
    const proxy = await openProxy(parsed, { name: NAME, servers, folder: '.', log: silentLog })
    t.teardown(() => proxy.close())
    const nginx = parsed.nginx
    if (!nginx) throw new Error('no nginx')
    const openMortal = async (calls: number) => {
      let left = calls
      const machine = await openMachine({ address: undefined })
      const run: typeof machine.run = async (argv, options) => {
        const changes = ['sh', 'cp', 'mv', 'rm'].includes(argv[0]) || argv.includes('reload')
        if (left < 0 || (changes && --left < 0)) throw new StepError('UNAVAILABLE', 'it is dead')
        return machine.run(argv, options)
      }
      const mortal = { ...machine, run }
      const driver = createNginxDriver({
        machine: mortal,
        settings: nginx,
        upstream: NAME,
        servers,
      })
      return createProxy(driver, { servers, drain: 10_000 })
    }
    const said = await sweep(t, { backends: [first, second], url, proxy, openMortal, least: 5 })
    // Aside, kept, put in place, reloaded, removed.
    t.match(said, [
      /^$/,
      /^$/,
      /interrupted before it was made$/,
      /was completed$/,
      /interrupted after it was made$/,
      /^$/,
    ])
  },
)

t.test(
  'HAProxy, and a deployer killed at each call',
  { skip: missingProgram('haproxy') },
  async (t) => {
    const [first, second] = (await startBackends(t, 2)) as [Backend, Backend]
    const servers = [first.server, second.server]
    const { settings, url, folder } = await startHaproxy(t, servers)
    const open = (haproxy: object) =>
      openProxy(parseProxy({ haproxy, drain: '10s' }), {
        name: NAME,
        servers,
        folder: '.',
        log: silentLog,
      })
    const proxy = await open(settings.haproxy as object)
    t.teardown(() => proxy.close())
    const openMortal = async (calls: number) => {
      const socket = join(folder, `mortal-${calls}`)
      await startMortalSocket(t, socket, join(folder, 's'), calls)
      return open({ ...(settings.haproxy as object), socket: `unix://${socket}` })
    }
    await sweep(t, { backends: [first, second], url, proxy, openMortal, least: 3 })
  },
)

t.test(
  'commands, and a deployer killed at each of them',
  { skip: missingProgram('haproxy', 'perl') },
  async (t) => {
    const [first, second] = (await startBackends(t, 2)) as [Backend, Backend]
    const servers = [first.server, second.server]
    const haproxy = await startHaproxy(t, servers)
    const { url, folder } = haproxy
    const commands = await runtimeCommands(haproxy)
    const open = (given: object) =>
      openProxy(parseProxy({ commands: given, drain: '10s' }), {
        name: NAME,
        servers,
        folder,
        log: silentLog,
      })
    const proxy = await open(commands)
    t.teardown(() => proxy.close())
    const count = join(folder, 'left')
    const dies = `left=$(cat ${count}); [ "$left" -gt 0 ] || exit 70; echo $((left - 1)) > ${count}; exec "$@"`
    const openMortal = async (calls: number) => {
      await writeFile(count, String(calls))
      const mortal = (verb: string) => ['sh', '-c', dies, 'sh', ...(commands[verb] ?? [])]
      return open({ ...commands, 'put-in': mortal('put-in'), 'take-out': mortal('take-out') })
    }
    await sweep(t, { backends: [first, second], url, proxy, openMortal, least: 2 })
  },
)

/** HAProxy's socket, until so many commands have changed something. */
async function startMortalSocket(
  t: Pick<Test, 'teardown'>,
  path: string,
  to: string,
  calls: number,
): Promise<void> {
  let left = calls
  await relayCommands(
    t,
    path,
    to,
    (command) => left >= 0 && !(command.includes('set server') && --left < 0),
  )
}
