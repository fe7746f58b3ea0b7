import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { toStepError } from '../../src/core/errors.ts'
import { withLock } from '../../src/delivery/deployment/lock.ts'
import { recordEnd, recordStart, successOf } from '../../src/delivery/deployment/record.ts'
import { openLedger } from '../../src/ledger/open.ts'
import { digestOf, release } from '../ledger/conformance/samples.ts'
import { testContext } from '../support/context.ts'
import { startMariadb } from '../support/servers/mariadb.ts'
import {
  type CutMode,
  type CuttingProxy,
  startCuttingProxy,
} from '../support/servers/proxies/cutting-proxy.ts'
import { missingProgram } from '../support/servers/server.ts'
import { listen } from '../support/setups/sandbox.ts'
import { temporaryFolder } from '../support/temporary.ts'

const skip = missingProgram('mariadbd')
const result = {
  host: 'app-01',
  instanceId: 'new',
  previousInstanceId: 'old',
  url: undefined,
  duration: 1,
  downtime: 0,
}

t.test('a ledger that fails at any statement loses nothing and doubles nothing', { skip }, cuts)

async function cuts(t: Test): Promise<void> {
  const folder = await temporaryFolder(t)
  const mariadb = await startMariadb(t)
  await mariadb.query('create database ledger')
  await mariadb.query("create user 'crosscloud'@'%' identified by 'secret'")
  await mariadb.query("grant all on ledger.* to 'crosscloud'@'%'")
  const proxy = await startCuttingProxy(t, mariadb.port)
  const url = (port: number) => `mysql://crosscloud:secret@127.0.0.1:${port}/ledger`
  await writeFile(join(folder, 'crosscloud.yml'), `app: webapi\nledger: ${url(proxy.port)}\n`)
  // What is true, seen past the proxy.
  const truth = await openLedger(url(mariadb.port))
  t.teardown(() => truth.close())

  /** The record of one deployment around `rollOut`, as deploy and rollback make it. */
  const attempt = async (app: string, rollOut: () => void) => {
    const logged = listen()
    const context = testContext(t, folder, { log: logged.log })
    try {
      await withLock(place(app), context, async ({ token }) => {
        const deployment = await recordStart(
          startOf(app, token),
          { name: digestOf(app), content: `{"app":"${app}"}` },
          context,
        )
        rollOut()
        await recordEnd(deployment, successOf([result]), context)
      })
      return { error: undefined, text: logged.text() }
    } catch (error) {
      return { error: toStepError(error), text: logged.text() }
    } finally {
      await context.close()
    }
  }
  const journal = () => readdir(join(folder, '.local/state/crosscloud/journal')).catch(() => [])

  const app = (name: string) =>
    truth.recordRelease(release('1.0.0', { app: name })).then(() => name)
  const whole = await statementsOf(proxy, async () => attempt(await app('whole'), () => {}))
  t.ok(whole.length > 15, `a deployment is ${whole.length} statements`)

  for (const mode of ['before', 'after'] as const) {
    await t.test(`the connection breaks ${mode} each statement`, async (t) => {
      for (let at = 1; at <= whole.length; at++) await cutOnce(t, mode, at)
    })
  }

  async function cutOnce(t: Test, mode: CutMode, at: number): Promise<void> {
    const name = await app(`${mode}-${at}`)
    const what = `${mode} statement ${at}: ${whole[at - 1]}`
    let rolledOut = 0
    proxy.arm(at, mode)
    const first = await attempt(name, () => rolledOut++)
    proxy.arm(0)
    if (first.error) {
      t.match(first.error, { code: 'UNAVAILABLE', retryable: true, exitCode: 75 }, what)
      t.equal(rolledOut, 0, `${what}: nothing was touched`)
      const again = await attempt(name, () => rolledOut++)
      t.equal(again.error, undefined, `${what}: and the next one goes on`)
    }
    t.equal(rolledOut, 1, what)
    const found = await truth.deployments({ app: name, limit: 10 })
    t.match(found, [{ state: 'succeeded', hosts: [{ host: 'app-01' }] }], what)
    t.equal(found.length, 1, `${what}: one deployment, recorded once`)
    t.equal(await truth.findLock(name, 'test'), undefined, `${what}: the lock is given back`)
    t.same(await journal(), [])
  }

  await t.test('with a ledger that is down at the start nothing is deployed', async (t) => {
    const name = await app('down-first')
    proxy.down()
    const { error } = await attempt(name, () => t.fail('a host was touched'))
    proxy.up()
    t.match(error, { code: 'UNAVAILABLE', exitCode: 75 })
    t.same(await truth.deployments({ app: name, limit: 10 }), [])
  })

  await t.test(
    'a ledger that is down at the end is updated once by the next command',
    async (t) => {
      const name = await app('down-later')
      const { error, text } = await attempt(name, () => proxy.down())
      t.equal(error, undefined, 'the rollout is done, and stays done')
      t.match(text, /the ledger could not record that d\d+ succeeded/)
      t.match(text, /the lock ends by itself at/)
      t.equal((await journal()).length, 1)
      t.match(await truth.deployments({ app: name, limit: 10 }), [{ state: 'running' }])
      proxy.up()
      const logged = listen()
      const next = testContext(t, folder, { log: logged.log })
      await next.ledger()
      t.match(
        logged.text(),
        /recorded in the ledger now, as it could not be reached then: deployment d\d+/,
      )
      await next.close()
      const found = await truth.deployments({ app: name, limit: 10 })
      t.match(found, [{ state: 'succeeded', hosts: [{ host: 'app-01', containerId: 'new' }] }])
      t.equal(found.length, 1)
      t.same(await journal(), [])
    },
  )
}

const place = (app: string) => ({ app, environment: 'test', reason: 'deploy', timeout: 0 })

const startOf = (app: string, lockToken: number) => ({
  app,
  lockToken,
  version: '1.0.0',
  environment: 'test',
  digest: release('1.0.0').digest,
  configRevision: digestOf(app),
  by: 'li',
  reason: undefined,
  hosts: [{ name: 'app-01', address: 'unix:///var/run/docker.sock' }],
})

async function statementsOf(proxy: CuttingProxy, work: () => Promise<unknown>) {
  proxy.arm(0)
  await work()
  return [...proxy.statements()]
}
