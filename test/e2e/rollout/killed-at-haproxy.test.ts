import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parseServers } from '../../../src/proxies/haproxy/tables.ts'
import type { ProxyServer } from '../../../src/targets/proxy.ts'
import { noEngine, startEngine } from '../../support/servers/engine.ts'
import { freePort } from '../../support/servers/ports.ts'
import { countCalls } from '../../support/servers/proxies/call-counter.ts'
import { startHaproxy } from '../../support/servers/proxies/reverse-proxies.ts'
import { createSandbox } from '../../support/setups/sandbox.ts'
import { openPlace, sweep } from './killed-at-proxy.ts'
import { twoDeployers } from './two-deployers.ts'

const skip = noEngine('docker-registry', 'gcc', 'haproxy')

await t.test(
  'HAProxy, two hosts with one port: killed at each change of the first, as two of them are kept in the state file, as it waits for the check, and as it puts the second in',
  { skip },
  async (t) => {
    const sandbox = await createSandbox(t)
    await sandbox.configure('sqlite:ledger.db')
    for (const version of ['1.0.0', '1.0.1']) await sandbox.release(version)
    const other = await startEngine()
    t.teardown(() => other.stop())
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
    const place = await openPlace(t, sandbox, {
      ...{ counter, servers, hosts, url },
      container: { ports: [`${port}:8080`] },
      proxy: { haproxy: { ...(settings.haproxy as object), socket } },
      async kept() {
        const rows = parseServers(await readFile(join(folder, 'state'), 'utf8'))
        return rows?.map(({ mode }) => mode) ?? []
      },
    })
    // Of each host: drain, maint, ready; each is kept in the state file by two more.
    await sweep(t, place, { changes: [1, 2, 4, 7, 8, 16], readsAfter: [9] })
    await twoDeployers(t, place)
  },
)
