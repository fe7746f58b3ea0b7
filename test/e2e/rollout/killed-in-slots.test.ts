import { join } from 'node:path'
import t from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import { openProxy } from '../../../src/proxies/open.ts'
import { noEngine } from '../../support/servers/engine.ts'
import { countCalls } from '../../support/servers/proxies/call-counter.ts'
import {
  NAME,
  parseProxy,
  startHaproxy,
  startNginx,
} from '../../support/servers/proxies/reverse-proxies.ts'
import { runtimeCommands } from '../../support/servers/runtime-commands.ts'
import { createSandbox, type Sandbox } from '../../support/setups/sandbox.ts'
import { openPlace, slots, sweep } from './killed-at-proxy.ts'

const skip = noEngine('docker-registry', 'gcc', 'nginx', 'haproxy', 'perl')
if (skip) t.test('killed at the proxy of two slots', { skip }, async () => {})
else {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1']) await sandbox.release(version)
  await atNginx(sandbox)
  await atCommands(sandbox)
}

async function atNginx(sandbox: Sandbox): Promise<void> {
  await t.test(
    'nginx: killed at each call that changes it, and as it looks for requests of the old slot',
    async (t) => {
      const counter = await countCalls(t)
      const { servers, container } = await slots()
      const { settings, url, folder } = await startNginx(t, servers)
      const written = settings.nginx as { command: string[] }
      const command = [await counter.program('nginx'), ...written.command.slice(1)]
      const place = await openPlace(t, sandbox, {
        ...{ counter, servers, container, url },
        hosts: { 'app-01': { engine: sandbox.engine } },
        proxy: { nginx: { ...written, command } },
        before: join(folder, 'crosscloud', `${NAME}.conf.before`),
      })
      // Written aside, kept, renamed, reloaded, removed.
      await sweep(t, place, { readsAfter: [5] })
    },
  )
}

async function atCommands(sandbox: Sandbox): Promise<void> {
  await t.test(
    'commands: killed at each that changes the proxy, and as it asks whether the old slot is out',
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
      const place = await openPlace(t, sandbox, {
        ...{ counter, servers, container, url: haproxy.url },
        hosts: { 'app-01': { engine: sandbox.engine } },
        proxy: { commands },
      })
      // Two weights; the new slot is taken out and put in, the old one is taken out.
      await sweep(t, place, { readsAfter: [5] })

      await t.test(
        'what a canary that was cut off has left of weights is evened out',
        async (t) => {
          const direct = await openProxy(parseProxy(haproxy.settings), {
            ...{ name: NAME, servers, folder: sandbox.folder, log: silentLog },
          })
          t.teardown(() => direct.close())
          await direct.setWeights(new Map(servers.map((server) => [server, 10])))
          await place.deployer.deployed(t, '1.0.0')
          const weights = (await direct.states()).map(({ weight }) => weight)
          t.same(weights, [100, 100])
        },
      )
    },
  )
}
