import { unlinkSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { silentLog } from '../../../src/core/log.ts'
import { openProxy } from '../../../src/proxies/open.ts'
import type { ProxyServer } from '../../../src/targets/proxy.ts'
import { startLoad } from '../../proxies/proxy-conformance.ts'
import { NAME, parseProxy, startNginx } from '../../support/servers/proxies/reverse-proxies.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { expectEnd, type Fault, type Fleet, type Serving } from '../../support/setups/fleet.ts'
import { until } from '../../support/until.ts'

interface Refused {
  name: string
  policy: string
  faults: Fault[]
  serving: Serving[]
  lines: RegExp[]
}

/** A line in a file of somebody else's breaks the configuration of the nginx in front of all hosts. */
export async function refusedByProxy(t: Test, fleet: Fleet): Promise<void> {
  await t.test(
    'an nginx that refuses its configuration',
    { skip: missingProgram('nginx') },
    async (t) => {
      const { machines, port, configure, deploy } = fleet
      const servers = machines.map(
        ({ name: host, address }): ProxyServer => ({ host, slot: undefined, address, port }),
      )
      const { settings, folder, url } = await startNginx(t, servers)
      const own = join(folder, 'crosscloud')
      const foreign = join(own, 'operators.conf')
      const breakIt = async () => writeFileSync(foreign, 'brokn;\n')
      const mendIt = async () => unlinkSync(foreign)
      const written = { ...settings, drain: '1s' }
      const proxy = await openProxy(parseProxy(written), {
        ...{ name: NAME, servers, folder, log: silentLog },
      })
      t.teardown(() => proxy.close())
      const start = (policy: string) =>
        configure({ 'on-failure': policy, parallel: 1 }, {}, { proxy: written })
      // The faults before have left containers on the network of an engine that has died.
      await start('restore')
      t.match(await deploy('1.0.0'), { code: 0 })

      for (const { name, policy, faults, serving, lines } of table(breakIt, mendIt)) {
        await t.test(name, async (t) => {
          await start(policy)
          if (faults.length === 0) await breakIt()
          const load = startLoad(url, 50)
          t.ok(await until(() => load.bodies.length > 2))
          const isMended = faults.length === 2
          const attempt = await deploy('1.0.1', faults, isMended ? undefined : mendIt)
          t.same(await load.stop(), [], 'no request is lost')
          expectEnd(t, attempt, serving, lines)
          t.equal(attempt.code, 1, 'nothing that a second try alone would mend')
          // Nor has the failure before left anything at the proxy.
          t.notMatch(attempt.text, /interrupted|cut off|took it out/)
          t.match(attempt.text, /unknown directive "brokn" in .*operators\.conf:1/)
          const modes = (await proxy.states()).map(({ mode }) => mode)
          t.same(modes, ['in', 'in', 'in', 'in'])
          t.same(await readdir(own), [`${NAME}.conf`], 'nothing half-changed is left')
        })
      }
    },
  )
}

const REFUSES = 'nginx on this machine refuses the configuration'
const onThird = /app-03\n[\s\S]*created webapi-test\.next/

function table(breakIt: () => Promise<void>, mendIt: () => Promise<void>): Refused[] {
  const third = { at: onThird, occur: breakIt }
  // A warning of what was left before has the same words.
  const mended = { at: new RegExp(`${onThird.source}[\\s\\S]*${REFUSES}`), occur: mendIt }
  const why = new RegExp(`host app-03: ${REFUSES}`)
  const back = /app-03: the old container serves again/
  const notReached = /app-04: not touched, the old container serves/
  const stays = (host: string) => new RegExp(`${host}: the new container serves: ${REFUSES}`)
  return [
    {
      name: 'from the beginning: no host was changed',
      policy: 'restore',
      faults: [],
      serving: ['old', 'old', 'old', 'old'],
      lines: [/app-01: the old container serves again/, /app-02: not touched/, notReached],
    },
    {
      name: 'at the third host, restore: all hosts are as before, once the line is away',
      policy: 'restore',
      faults: [third, mended],
      serving: ['old', 'old', 'old', 'old'],
      lines: [why, back, notReached, /app-01: the old container serves again/],
    },
    {
      name: 'at the third host, restore, and the line stays: what cannot leave the proxy serves on',
      policy: 'restore',
      faults: [third],
      serving: ['new', 'new', 'old', 'old'],
      lines: [why, back, notReached, stays('app-01'), stays('app-02')],
    },
    {
      name: 'at the third host, continue: all others are changed, once the line is away',
      policy: 'continue',
      faults: [third, mended],
      serving: ['new', 'new', 'old', 'new'],
      lines: [why, back, /app-04: the new container serves/],
    },
  ]
}
