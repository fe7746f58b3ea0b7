import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parseDocument } from 'yaml'
import { runAction } from '../support/ci/action.ts'
import { startMariadb } from '../support/servers/mariadb.ts'
import { missingProgram } from '../support/servers/server.ts'
import { createDemo, type Demo } from '../support/setups/demo.ts'
import { NODE_24, noAct } from './act.ts'

// act ends a cancelled job with SIGKILL at once; here the signals are GitHub's own:
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation
t.setTimeout(590_000)
/** milliseconds from SIGINT to SIGTERM, and from there to SIGKILL */
const [INTERRUPTED, TERMINATED] = [7500, 2500]
const title = 'a cancelled deployment puts the old container back before GitHub kills it'
const missing = noAct() || missingProgram('mariadbd')
const demo = missing || (await createDemo(t))
if (typeof demo === 'string') await t.test(title, { skip: demo }, async () => {})
else await t.test(title, (t) => cancel(t, demo))

async function cancel(t: Test, { project, cli, docker }: Demo) {
  const mariadb = await startMariadb(t)
  await mariadb.query('create database ledger')
  const file = join(project, 'crosscloud.yml')
  const settings = parseDocument(await readFile(file, 'utf8'))
  settings.set('ledger', `mysql://root@127.0.0.1:${mariadb.port}/ledger`)
  await writeFile(file, settings.toString())
  const first = await cli('release', '--env', 'test', '--version', '1.0.0')
  t.equal(first.code, 0, first.stderr)
  const second = await cli('release', '--env', 'test', '--version', '1.0.1', '--no-deploy')
  t.equal(second.code, 0, second.stderr)
  const before = await docker('inspect', '-f', '{{.Id}}', 'webapi-test')

  let began: number | undefined
  let killed = false
  const inputs = { release: 'webapi@1.0.1', env: 'test' }
  const stopped = await runAction(project, 'deploy', inputs, {
    node: NODE_24,
    onOutput: (printed, kill) => {
      if (began !== undefined || !printed.includes('stopped the old webapi-test')) return
      began = Date.now()
      kill('SIGINT')
      const later = new AbortController()
      t.teardown(() => later.abort())
      const { signal } = later
      sleep(INTERRUPTED, undefined, { signal, ref: false })
        .then(() => kill('SIGTERM'))
        .then(() => sleep(TERMINATED, undefined, { signal, ref: false }))
        .then(() => {
          killed = true
          kill('SIGKILL')
        })
        .catch(() => {})
    },
  })
  t.ok(began, 'it was stopped', { printed: stopped.printed })
  // A slow machine may still look at the old container's health when GitHub ends it for good.
  if (!killed) t.equal(stopped.code, 1, 'it failed', { printed: stopped.printed })
  t.match(stopped.printed, /the ledger has recorded that \S+ failed\nthe lock is free/)
  t.match(stopped.printed, 'stopped by SIGINT')
  t.equal(await docker('inspect', '-f', '{{.Id}}', 'webapi-test'), before, 'the old container')
  t.equal(await docker('inspect', '-f', '{{.State.Running}}', 'webapi-test'), 'true', 'runs')
  const again = await runAction(project, 'deploy', inputs, { node: NODE_24 })
  t.equal(again.code, 0, 'the lock is free, and the next run goes on', { printed: again.printed })
}
