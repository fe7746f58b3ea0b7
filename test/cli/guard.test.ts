import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import Libsql from 'libsql'
import t, { type Test } from 'tap'
import { openLedger } from '../../src/ledger/open.ts'
import { accountOf, gitlabClaims, startIssuer } from '../identity/issuer.ts'
import { ended, release, start } from '../ledger/conformance/samples.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

const ALWAYS = '[{ days: [mon, tue, wed, thu, fri, sat, sun], reason: stocktaking }]'
const issuer = await startIssuer()

/** An application with a gate before production, and people whose jobs there are signed. */
async function project(t: Test, { gate = '{ approvals: 1 }' } = {}) {
  const cwd = await temporaryFolder(t)
  await mkdir(join(cwd, 'config'))
  const values = join(cwd, 'config/production.yaml')
  await writeFile(values, 'webapi:\n  greeting: hello\n  old: gone soon\n')
  await writeFile(join(cwd, 'more.yaml'), 'webapi:\n  more: yes\n')
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    `app: webapi
ledger: sqlite:ledger.db
identity: { issuer: "${issuer.url}", audience: crosscloud, project: team/webapi }
environments:
  test: { image: registry.test/webapi, config: 'file:config/test.yaml' }
  production:
    image: registry.test/webapi
    config: 'file:config/production.yaml'
    hosts: { app-01: "unix:///absent.sock" }
    gate: ${gate}
`,
  )
  await writeFile(join(cwd, 'config/test.yaml'), 'webapi:\n  greeting: hi\n')
  const ledger = await openLedger(join(cwd, 'ledger.db'))
  t.teardown(() => ledger.close())
  await ledger.recordRelease(release('1.0.0'))
  /** What a job may say of itself is not believed. */
  const plain = { GITLAB_USER_LOGIN: 'ops-wang' }
  const run = (args: readonly string[], variables: Record<string, string> = plain) =>
    runHere(args, { cwd, variables })
  const as =
    (login: string, environment = 'production') =>
    async (...args: string[]) => {
      const claims = gitlabClaims(issuer.url, { ...accountOf(login), environment })
      return run(args, { ...plain, CROSSCLOUD_ID_TOKEN: await issuer.sign(claims) })
    }
  const nobody = (...args: string[]) => run(args)
  return { cwd, ledger, as, nobody, values: () => readFile(values, 'utf8') }
}

const production = ['--env', 'production']
const reason = ['--reason', 'the shop is down']
const LOCK = ['lock', ...production]
const UNLOCK = ['unlock', ...production]
const MARK = ['mark', 'webapi@1.0.0', ...production]
const SET = ['config', 'set', ...production, '/webapi/greeting', 'bye']
const CONFIG = [
  SET,
  ['config', 'unset', ...production, '/webapi/old'],
  ['config', 'import', ...production, 'more.yaml'],
  ['config', 'rollback', ...production],
  ['config', 'promote-keys', 'test', 'production'],
]
const HOSTS = ['start', 'stop', 'rm'].map((verb) => ['hosts', verb, ...production, '--yes'])

t.test('where a gate stands, nothing changes without a signed identity and a reason', async (t) => {
  const { ledger, as, nobody, values, cwd } = await project(t)
  await ledger.recordConfigChange({
    app: 'webapi',
    environment: 'production',
    by: 'li',
    reason: 'first',
    changes: [
      {
        key: '/webapi/greeting',
        before: { state: 'kept', text: 'good morning' },
        after: { state: 'kept', text: 'hello' },
      },
    ],
  })
  await writeFile(join(cwd, 'config/test.yaml'), 'webapi:\n  new: hi\n')
  const held = await ledger.lock('webapi', 'production', 'ops-wang (by hand)', 'mine', 60_000)
  const before = await values()
  for (const command of [LOCK, UNLOCK, [...UNLOCK, '--force'], MARK, ...CONFIG, ...HOSTS]) {
    const name = command.join(' ')
    const unsigned = await nobody(...command, ...reason)
    t.match(unsigned, { code: 1, stderr: /no signed ID token says who this is/ }, name)
    const elsewhere = await as('ops-li', 'test')(...command, ...reason)
    t.match(elsewhere, { code: 1, stderr: /for environment "?test"?, not for production/ }, name)
    const mute = await as('ops-li')(...command)
    t.match(mute, { code: 2, stderr: /needs a reason|--reason is required/ }, name)
  }
  t.equal(await values(), before)
  t.match(await ledger.findLock('webapi', 'production'), { token: held.token })
  t.equal(await ledger.findMark('webapi', 'production', '1.0.0'), undefined)
  t.strictSame(await ledger.events({ limit: 10 }), [])
  t.equal((await ledger.configChanges({ limit: 10 })).length, 1)
  t.match(await nobody('config', 'set', '--env', 'test', '/webapi/new', 'x'), { code: 0 })
  t.match(await nobody('lock', '--env', 'test', '--reason', 'x'), { code: 0 }, 'test has no gate')
})

t.test('what was done is kept with the signed identity, and shown by history', async (t) => {
  const { ledger, as } = await project(t)
  const signed = { identity: issuer.url, reason: 'the shop is down' }
  const [li, wang] = [as('ops-li'), as('ops-wang')]
  const { id } = await start(ledger, release('1.0.0'), 'production')
  await ledger.endDeployment(id, ended('succeeded'))
  t.match(await li(...LOCK, ...reason), { stdout: /locked by ops-li \(by hand\) until/ })
  t.match(await wang(...UNLOCK, ...reason), { code: 1, stderr: /locked by ops-li/ })
  const refused = await wang(...SET, ...reason)
  t.match(refused, { code: 1, stderr: /locked by ops-li \(by hand\)/ }, 'held by the lock')
  t.match(await li(...SET, ...reason), { code: 0 }, 'but not for whoever has it')
  t.match(await wang(...UNLOCK, '--force', ...reason), { code: 0 })
  t.match(await li(...MARK, ...reason), { code: 0 })

  const byId = `${accountOf('ops-li').user_id}`
  t.match(await ledger.events({ limit: 10 }), [
    { ...signed, action: 'unlock', by: 'ops-wang', subject: 'ops-li (by hand)' },
    { ...signed, action: 'lock', by: 'ops-li', byId, subject: 'ops-li (by hand)' },
  ])
  const mark = await ledger.findMark('webapi', 'production', '1.0.0')
  t.match(mark, { ...signed, bad: true, by: 'ops-li' })
  t.match(await ledger.configChanges({ limit: 10 }), [{ ...signed, by: 'ops-li' }])

  const { stdout } = await li('history', ...production)
  const row = (...cells: string[]) => new RegExp(`^${cells.join(' +')}$`, 'm')
  const when = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d +production'
  t.match(stdout, row('e1', when, 'webapi', 'lock', 'ops-li \\(signed\\)', 'the shop is down .*'))
  t.match(stdout, row('e2', when, 'webapi', 'unlock', 'ops-wang \\(signed\\)', '.*ops-li.*'))
  t.match(stdout, row('c1', when, 'webapi', 'config', 'ops-li .*', '.*/webapi/greeting.*'))
  t.match(stdout, row('', when, 'webapi@1\\.0\\.0', 'marked bad', 'ops-li .*', 'the shop is down'))
})

t.test('a freeze holds what changes production, not what protects it', async (t) => {
  const { as, values, cwd } = await project(t, { gate: `{ approvals: 1, freeze: ${ALWAYS} }` })
  const li = as('ops-li')
  await writeFile(join(cwd, 'config/test.yaml'), 'webapi:\n  new: hi\n')
  const before = await values()
  const changes = CONFIG.filter(([, verb]) => verb !== 'rollback')
  for (const command of [...changes, ...HOSTS.filter(([, verb]) => verb !== 'start')]) {
    const said = await li(...command, ...reason)
    const frozen = /must wait\nproduction is frozen without an end \(stocktaking\)/
    t.match(said, { code: 1, stderr: frozen }, command.join(' '))
  }
  t.equal(await values(), before)
  for (const command of [LOCK, MARK, [...MARK, '--good'], UNLOCK]) {
    t.match(await li(...command, ...reason), { code: 0 }, command.join(' '))
  }
  const [began] = HOSTS
  const asked = await li(...(began ?? []), ...reason)
  t.match(asked, { code: 75, stderr: /app-01/ }, 'the host was asked')
})

t.test('what cannot be written into the ledger is not done', async (t) => {
  const { cwd, ledger, as } = await project(t)
  const li = as('ops-li')
  const broken = new Libsql(join(cwd, 'ledger.db'))
  broken.exec('ALTER TABLE audit_events RENAME TO elsewhere')
  t.match(await li(...LOCK, ...reason), { code: 1, stderr: /recording "lock"/ })
  t.equal(await ledger.findLock('webapi', 'production'), undefined)
  await ledger.lock('webapi', 'production', 'ops-li (by hand)', 'mine', 60_000)
  t.match(await li(...UNLOCK, ...reason), { code: 1, stderr: /recording "unlock"/ })
  t.ok(await ledger.findLock('webapi', 'production'))
  broken.exec('ALTER TABLE elsewhere RENAME TO audit_events')
  broken.close()
  t.match(await li(...UNLOCK, ...reason), { code: 0 })
})
