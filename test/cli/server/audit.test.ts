import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Libsql from 'libsql'
import t from 'tap'
import { hashOfApiToken } from '../../../src/ledger/api-token.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { act } from '../../ledger/conformance/audit-log.ts'
import { runHere } from '../../support/program.ts'
import { temporaryFolder } from '../../support/temporary.ts'

t.test(
  'API tokens are created, listed and revoked, and each act is in the audit log',
  async (t) => {
    const cwd = await temporaryFolder(t)
    await writeFile(join(cwd, 'crosscloud.yml'), 'app: webapi\nledger: sqlite:ledger.db\n')
    const run = (...args: string[]) => runHere(args, { cwd })
    const scope = ['--verb', 'deploy', '--verb', 'promote', '--app', 'webapi', '--env', 'test']
    const create = (name: string, ...more: string[]) => run('tokens', 'create', name, ...more)
    const made = await create('jenkins', ...scope, '--expires', '90d', '--verbose')
    t.match(made, { code: 0, stdout: /^cct_[A-Za-z0-9_-]{43}\n$/ }, 'the secret alone')
    t.match(made.stderr, /API token jenkins lives until 20/)
    const secret = made.stdout.trim()
    t.notMatch(made.stderr, secret)

    const inJson = await create('gitea', ...scope, '--expires', '1h', '--json')
    const { secret: other, name } = JSON.parse(inJson.stdout)
    t.equal(name, 'gitea')
    t.ok(hashOfApiToken(other))
    const logged = await create('logged', ...scope, '--expires', '1h', '--log', 'json')
    t.match(logged.stdout, /^cct_\S+\n$/)
    t.notMatch(logged.stderr, /cct_/)

    const list = await run('tokens', 'list')
    t.match(list.stdout, /^jenkins +living +deploy promote +webapi +test +\S+ +20.* never$/m)
    const listed = await run('tokens', 'list', '--json')
    t.match(JSON.parse(listed.stdout), { tokens: [{}, {}, { name: 'jenkins', state: 'living' }] })
    const hash = hashOfApiToken(secret) ?? ''
    for (const text of [list.all, listed.all]) t.notOk(text.includes(secret) || text.includes(hash))
    t.notOk((await readFile(join(cwd, 'ledger.db'))).includes(secret))

    t.match(await create('jenkins', ...scope, '--expires', '1d'), { code: 1, stdout: '' })
    const revoked = await run('tokens', 'revoke', 'jenkins')
    t.match(revoked, { code: 0, stdout: /^API token jenkins is revoked, by \S+ at 20/ })
    t.notMatch((await run('tokens', 'list')).stdout, /jenkins/)
    t.match((await run('tokens', 'list', '--all')).stdout, /^jenkins +revoked/m)
    t.match(await run('tokens', 'revoke', 'nobody'), { code: 1, stderr: /no API token nobody/ })

    const { records } = JSON.parse((await run('audit', 'list', '--json')).stdout)
    t.match(records, [
      { number: 4, via: 'cli', verb: 'tokens', object: 'revoke API token jenkins' },
      { number: 3, object: /^create API token logged: deploy, promote of webapi in test until 20/ },
      { number: 2 },
      { number: 1, decision: 'allowed', subject: /./, address: /./ },
    ])

    for (const [args, message] of [
      [['x', ...scope], /--expires is required/],
      [['x', ...scope, '--expires', 'soon'], /--expires is not a duration/],
      [['x', ...scope, '--expires', '2y'], /--expires is not a duration/],
      [['x', ...scope, '--expires', '400d'], /lives a year at the most/],
      [['x', ...scope, '--expires', '0m'], /would have expired already/],
      [['x', ...scope, '--verb', 'fly', '--expires', '1d'], /--verb "fly" is not known/],
      [['x', '--verb', 'view', '--app', 'webapi', '--expires', '1d'], /--env is required/],
      [['x', '--app', 'webapi', '--env', 'test', '--expires', '1d'], /--verb is required/],
      [['Bad Name', ...scope, '--expires', '1d'], /"Bad Name" is no name for an API token/],
    ] as const) {
      t.match(await run('tokens', 'create', ...args), { code: 2, stdout: '', stderr: message })
    }
  },
)

t.test('the audit log is listed page by page, exported and verified', async (t) => {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'crosscloud.yml'), 'app: webapi\nledger: sqlite:ledger.db\n')
  const run = (...args: string[]) => runHere(['audit', ...args], { cwd })
  t.match(await run('list'), { code: 0, stdout: /^No such record/ })
  const ledger = await openLedger(join(cwd, 'ledger.db'))
  for (let i = 1; i <= 25; i++) {
    const decision = i % 5 ? 'allowed' : 'refused'
    const reason = i % 5 ? undefined : 'no grant\n\u001b[2Jspoofed'
    await ledger.recordAudit(act({ decision, reason, run: `run-${i}` }))
  }
  const { hash } = await ledger.auditHead()
  await ledger.recordAudit(act({ subject: 'token:jenkins', verb: 'promote' }))
  await ledger.close()

  const first = await run('list', '--limit', '3')
  t.match(
    first.stdout,
    /^26 .*token:jenkins +session +promote +webapi production +allowed +webapi@1/m,
  )
  t.match(first.stdout, /\n\nMore: --before 24\n$/)
  const refused = await run('list', '--refused', '--json', '--limit', '3', '--since', '1h')
  t.match(JSON.parse(refused.stdout), { records: [{ number: 25 }, { number: 20 }, {}], next: 15 })
  const rest = await run('list', '--refused', '--before', '15', '--json')
  t.match(JSON.parse(rest.stdout), { records: [{ number: 10 }, { number: 5 }], next: null })
  t.match((await run('list', '--refused')).stdout, /no grant\\nspoofed$/m, 'a row is a line')
  const jenkins = await run('list', '--by', 'token:jenkins', '--verb', 'promote', '--json')
  t.match(JSON.parse(jenkins.stdout).records, [{ number: 26 }])
  t.match(await run('list', '--before', '1 or 1=1'), { code: 2, stderr: /is no number/ })

  const verified = await run('verify', '--head', hash)
  t.match(verified, { code: 0, stdout: /^26 records in the audit log, as they were written/ })
  t.match(await run('verify', '--head', 'x'), { code: 2 })
  t.match(await run('export', '--out', 'audit.jsonl'), { code: 0, stdout: /^Wrote 26 records/ })
  const lines = (await readFile(join(cwd, 'audit.jsonl'), 'utf8')).trimEnd().split('\n')
  t.match(JSON.parse(lines[24] ?? ''), { number: 25, app: 'webapi', hash })
  t.match(await run('export', '--out', 'new.jsonl', '--after', '25'), {
    stdout: /^Wrote 1 records/,
  })
  t.match(await run('export', '--out', '/dev/null'), { code: 2 })

  const db = new Libsql(join(cwd, 'ledger.db'))
  db.exec("drop trigger audit_log_no_update; update audit_log set subject = 'li' where number = 7")
  db.close()
  const changed = await run('verify')
  t.match(changed, { code: 1, stdout: '', stderr: /record 7 was changed/ })
  const json = await run('verify', '--json')
  t.match(JSON.parse(json.stdout), {
    ...{ intact: false, problem: 'changed', number: 7 },
    error: { code: 'VERIFY_FAILED' },
  })
})

t.test('--server: the ledger that the server writes to, without its other secrets', async (t) => {
  const cwd = await temporaryFolder(t)
  const file = (name: string, text: string) => writeFile(join(cwd, name), text)
  const others = "queue: { redis: '${NOT_SET}' }\ngitlab: { secrets: ['${NOT_SET}'] }\n"
  const policy = `policy:
  roles: { pipeline: [deploy] }
  grants: [{ who: 'token:jenkins', role: pipeline, apps: [webapi], envs: [test] }]
`
  await file('crosscloud.server.yml', `${others}${policy}ledger: 'sqlite:\${WHERE}'\n`)
  await file('bare.yml', `${others}ledger: sqlite:server.db\n`)
  await file('none.yml', others)
  const run = (...args: string[]) =>
    runHere(args, { cwd, variables: { WHERE: 'server.db', GITLAB_USER_LOGIN: 'zhang' } })
  const scope = ['--verb', 'deploy', '--app', 'webapi', '--env', 'test', '--expires', '1d']
  const made = await run('tokens', 'create', 'jenkins', ...scope, '--server')
  t.match(made, { code: 0, stdout: /^cct_\S+\n$/ })
  t.notMatch(made.stderr, /no grant/)
  for (const [name, ...server] of [
    ['drone', '--server'],
    ['gitea', '--server', 'bare.yml'],
  ] as const) {
    const stranger = await run('tokens', 'create', name, ...scope, ...server)
    const stderr = new RegExp(`no grant of the policy names token:${name}: it may nothing`)
    t.match(stranger, { code: 0, stdout: /^cct_\S+\n$/, stderr })
  }
  t.match((await run('tokens', 'list', '--server')).stdout, /^jenkins +living/m)
  t.match(await run('tokens', 'revoke', 'drone', '--server'), { code: 0, stdout: /by zhang at/ })
  const listed = await run('audit', 'list', '--server', 'bare.yml', '--json')
  t.match(JSON.parse(listed.stdout), {
    records: [{ object: 'revoke API token drone', subject: 'zhang' }, {}, {}, { number: 1 }],
  })
  t.match(await run('audit', 'verify', '--server'), { code: 0, stdout: /^4 records/ })
  const written = await run('audit', 'export', '--out', 'all.jsonl', '--server')
  t.match(written, { code: 0, stdout: /^Wrote 4 records/ })
  t.match(await run('audit', 'list', '--server', 'none.yml'), {
    code: 2,
    stderr: /none\.yml has no ledger/,
  })
  // That of crosscloud.yml stays another one.
  await file('crosscloud.yml', 'app: webapi\nledger: sqlite:ledger.db\n')
  t.match(await run('tokens', 'list'), { code: 0, stdout: /^There is no such API token/ })
})
