import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openLedger } from '../../src/ledger/open.ts'
import { release } from '../ledger/conformance/samples.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test('an environment is frozen and a release is marked by hand', async (t) => {
  const cwd = await temporaryFolder(t)
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    'app: webapi\nledger: sqlite:ledger.db\nenvironments: { test: { image: registry.test/webapi, hosts: { app-01: "unix:///absent.sock" } } }\n',
  )
  const ledger = await openLedger(join(cwd, 'ledger.db'))
  t.teardown(() => ledger.close())
  await ledger.recordRelease(release('1.0.0'))
  const as = (GITLAB_USER_LOGIN: string) => ({
    run: (...args: string[]) => runHere(args, { cwd, variables: { HOME: cwd, GITLAB_USER_LOGIN } }),
  })
  const [li, wang] = [as('li'), as('wang')]

  const free = await li.run('unlock', '--env', 'test')
  t.match(free, { code: 0, stdout: 'webapi in test is not locked.\n' })
  const frozen = await li.run('lock', '--env', 'test', '--reason', 'stocktaking', '--for', '2d')
  t.match(frozen, {
    code: 0,
    stdout:
      /^webapi in test is locked by li \(by hand\) until .* UTC: stocktaking\.\nEnd it with: /,
  })
  const held = await ledger.findLock('webapi', 'test')
  const hours = (Date.parse(held?.expiresAt ?? '') - Date.now()) / 3_600_000
  t.ok(hours > 47 && hours <= 48, `${hours} hours`)
  const again = await wang.run('lock', '--env', 'test', '--reason', 'mine')
  t.match(again, { code: 1, stderr: /locked by li \(by hand\) \(stocktaking\)/ })
  const deployment = await wang.run('deploy', '--release', 'webapi@1.0.0', '--env', 'test')
  t.match(deployment, { code: 1, stderr: /locked by li \(by hand\) \(stocktaking\)/ })
  const refused = await wang.run('unlock', '--env', 'test')
  t.match(refused, { code: 1, stderr: /locked by li .*stocktaking[\s\S]*--force/ })
  t.ok(await ledger.findLock('webapi', 'test'))
  t.match(await wang.run('unlock', '--env', 'test', '--force', '--json'), { code: 0 })
  t.equal(await ledger.findLock('webapi', 'test'), undefined)
  await li.run('lock', '--env', 'test', '--reason', 'again')
  t.match(await li.run('unlock', '--env', 'test'), { code: 0, stdout: /^Unlocked\. / })

  for (const wrong of [
    ['lock', '--env', 'test'],
    ['lock', '--reason', 'x'],
    ['lock', '--env', 'nowhere', '--reason', 'x'],
    ['lock', '--env', 'test', '--reason', 'x', '--for', 'long'],
    ['lock', '--env', 'test', '--reason', 'x', '--for', '8d'],
    ['mark', 'webapi@1.0.0', '--env', 'test'],
    ['mark', 'webapi', '--env', 'test', '--reason', 'x'],
  ]) {
    t.match(await li.run(...wrong), { code: 2 }, wrong.join(' '))
  }
  const unknown = await li.run('mark', 'webapi@9.9.9', '--env', 'test', '--reason', 'x')
  t.match(unknown, { code: 1, stderr: /release webapi@9\.9\.9 is not in the ledger/ })
  const bad = await li.run('mark', 'webapi@1.0.0', '--env', 'test', '--reason', 'wrong prices')
  t.match(bad, { code: 0, stdout: /^webapi@1\.0\.0 is bad in test/ })
  const closed = await wang.run('deploy', '--release', 'webapi@1.0.0', '--env', 'test')
  t.match(closed, { code: 1, stderr: /known to be bad in test: li said so at .*: wrong prices/ })
  const good = await li.run('mark', 'webapi@1.0.0', '--env', 'test', '--good', '--reason', 'no')
  t.match(good, { code: 0, stdout: 'webapi@1.0.0 is good again in test.\n' })
  t.match(await ledger.findMark('webapi', 'test', '1.0.0'), { bad: false, by: 'li' })
})
