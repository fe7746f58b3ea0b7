import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { silentLog } from '../../src/core/log.ts'
import { openProxy } from '../../src/proxies/open.ts'
import { instanceLabels } from '../../src/targets/labels.ts'
import { ended, release, start } from '../ledger/conformance/samples.ts'
import { testContext } from '../support/context.ts'
import { runHere } from '../support/program.ts'
import { noEngine, startEngine } from '../support/servers/engine.ts'
import { freePort } from '../support/servers/ports.ts'
import { NAME, parseProxy, startNginx } from '../support/servers/proxies/reverse-proxies.ts'
import { importDemoImage } from '../support/setups/demo-image.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test(
  '`hosts check` names a host that somebody took out of the proxy',
  { skip: noEngine('nginx') },
  async (t) => {
    const engine = await startEngine()
    t.teardown(() => engine.stop())
    const ports = [await freePort(), await freePort()] as const
    const servers = ['127.0.0.2', '127.0.0.3'].flatMap((address, at) =>
      ports.map((port, slot) => ({ host: `app-0${at + 1}`, slot: slot + 1, address, port })),
    )
    const nginx = await startNginx(t, servers)
    const folder = await temporaryFolder(t)
    const host = (bind: string) => ({ address: engine.address, bind })
    const settings = {
      app: 'webapi',
      ledger: 'sqlite:ledger.db',
      container: { slots: ports.map((port) => `${port}:8080`) },
      environments: {
        test: {
          image: 'registry.test/webapi',
          hosts: { 'app-01': host('127.0.0.2'), 'app-02': host('127.0.0.3') },
          proxy: { nginx: { ...(nginx.settings.nginx as object), upstream: NAME } },
        },
      },
    }
    await writeFile(join(folder, 'crosscloud.yml'), JSON.stringify(settings))
    const check = async () => {
      const args = ['hosts', 'check', '--env', 'test']
      const said = await runHere(args, { cwd: folder, variables: { HOME: folder } })
      t.equal(said.code, 0, said.all)
      return said.stdout
    }
    t.notMatch(await check(), /took it out/)
    const options = { name: NAME, servers, folder: '.', log: silentLog }
    const proxy = await openProxy(parseProxy(nginx.settings), options)
    t.teardown(() => proxy.close())
    for (const server of servers.slice(2)) await proxy.takeOut(server)
    const found = await check()
    t.match(found, /^app-02: nginx on this machine sends it no requests: somebody took it out$/m)
    t.notMatch(found, /app-01: nginx/)
    await nginx.server.stop()
    t.match(await check(), /^it is not known which hosts are left out: .*nginx on this machine/m)
  },
)

t.test(
  'a host that is down behind `proxy.commands` is not called taken out',
  { skip: noEngine('gcc') },
  async (t) => {
    const engine = await startEngine()
    t.teardown(() => engine.stop())
    const folder = await temporaryFolder(t)
    const commands = { 'take-out': ['touch', 'out'], 'put-in': ['touch', 'in'], check: ['false'] }
    const settings = {
      app: 'webapi',
      ledger: 'sqlite:ledger.db',
      container: { ports: ['18080:8080'] },
      environments: {
        test: {
          image: 'registry.test/webapi',
          hosts: { 'app-01': engine.address },
          proxy: { commands },
        },
      },
    }
    await writeFile(join(folder, 'crosscloud.yml'), JSON.stringify(settings))
    const check = async () => {
      const args = ['hosts', 'check', '--env', 'test']
      return (await runHere(args, { cwd: folder, variables: { HOME: folder } })).stdout
    }
    t.notMatch(await check(), /took it out/, 'nothing runs there')
    const image = await importDemoImage(engine, 'webapi', '1')
    const container = await engine.docker.createContainer({ Image: image, name: 'webapi-test' })
    t.notMatch(await check(), /took it out/, 'it is stopped')
    await container.start()
    t.match(
      await check(),
      /^app-01: proxy by commands sends it no requests: somebody took it out$/m,
    )
    const ledger = await testContext(t, folder).ledger()
    await ledger.recordRelease(release('1.0.1'))
    const begun = await start(ledger, release('1.0.1'), 'test')
    const labels = {
      [instanceLabels.application]: 'webapi',
      [instanceLabels.environment]: 'test',
      [instanceLabels.version]: '1.0.1',
      [instanceLabels.deployment]: begun.id,
    }
    const name = 'webapi-test.next'
    await engine.docker.createContainer({ Image: image, name, Labels: labels })
    t.notMatch(await check(), /took it out|cut off/, 'a deployer has, which is at work')
    const error =
      'COMMAND_FAILED: no\n  app-01: the old container runs again, but: nginx refuses it'
    await ledger.endDeployment(begun.id, { ...ended('abandoned'), error })
    t.match(await check(), /^app-01: webapi-test: a deployment was cut off before its new/m)
    const failed = await start(ledger, release('1.0.1'), 'test')
    await ledger.endDeployment(failed.id, { ...ended('failed'), error })
    await engine.docker.getContainer(name).remove()
    const own = { ...labels, [instanceLabels.deployment]: failed.id }
    await engine.docker.createContainer({ Image: image, name, Labels: own })
    const found = await check()
    t.notMatch(found, /took it out|cut off/)
    t.match(
      found,
      /^app-01: webapi-test: d\d+ of 1\.0\.1 failed at \S+Z, and left it so: the old container runs again, but: nginx refuses it; now there runs webapi-test\n {2}→ The next `deploy` or/m,
    )
  },
)
