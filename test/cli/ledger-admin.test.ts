import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openJournal } from '../../src/ledger/journal.ts'
import type { DeploymentEnd } from '../../src/ledger/ledger.ts'
import { openLedger } from '../../src/ledger/open.ts'
import { digestOf, release, start } from '../ledger/conformance/samples.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test('the ledger is migrated, looked at and moved from the command line', async (t) => {
  const cwd = await temporaryFolder(t)
  const settle = (ledger: string) =>
    writeFile(join(cwd, 'crosscloud.yml'), `app: webapi\nledger: sqlite:${ledger}\n`)
  const run = (...args: string[]) => runHere(['ledger', ...args], { cwd })
  await settle('a.db')
  const migrated = await run('migrate')
  t.match(migrated, { code: 0, stdout: /^sqlite:.*a\.db has the newest schema, 0005-/ })
  const ledger = await openLedger(join(cwd, 'a.db'))
  await ledger.recordRelease(release('1.0.0'))
  const { id } = await start(ledger, release('1.0.0'), 'test')
  await ledger.close()

  const journal = openJournal(join(cwd, '.local/state/crosscloud/journal'), ledger.name)
  const at = '2026-05-01T12:00:00.000Z'
  const end: DeploymentEnd = { state: 'succeeded', hosts: [], verified: true }
  const told = { kind: 'deployment-end' as const, end: { ...end, finishedAt: at } }
  await journal.keep({ ...told, deployment: id })
  await journal.keep({ ...told, deployment: 'd99' })
  t.equal((await stat(journal.folder)).mode & 0o777, 0o700)

  const status = await run('status')
  t.match(status.stdout, /recorded in the ledger now, .* deployment d1 succeeded at 2026-05-01/)
  t.match(status.stdout, /deployment d99 is not in the ledger; kept in .*\.refused/)
  t.match(status.stdout, /^Journal {2}nothing waits in /m)
  t.match(status.stdout, /^deployments +1$/m)
  t.match(await readdir(journal.folder), [/\.json\.refused$/])
  t.notMatch((await run('status')).stdout, /recorded in the ledger now|refused/, 'reported once')

  const device = await run('export', '--out', '/dev/null')
  t.match(device, { code: 2, stderr: /\/dev\/null is not a file/ })
  t.match(await run('export', '--out', 'all.jsonl'), { code: 0, stdout: /^Wrote \d+ records/ })
  t.equal((await stat(join(cwd, 'all.jsonl'))).mode & 0o777, 0o600)
  await settle('b.db')
  t.match(await run('import', 'all.jsonl'), { code: 0, stdout: /^Took \d+ records into sqlite:/ })
  const history = await runHere(['history', '--json'], { cwd })
  t.match(JSON.parse(history.stdout), { deployments: [{ id, state: 'succeeded', finishedAt: at }] })
  t.match(await run('import', 'all.jsonl'), { code: 1, stderr: /has records already/ })
  t.match(await run('import', 'no-such'), { code: 1, stderr: /reading no-such/ })
  await writeFile(join(cwd, 'torn.jsonl'), digestOf('x'))
  await settle('c.db')
  t.match(await run('import', 'torn.jsonl'), { code: 2, stderr: /line 1 is not JSON/ })
  t.match(await run('export', '--out', 'no/such/folder'), { code: 1 })
  t.notOk((await readdir(cwd)).some((name) => name.endsWith('.new')))
})
