import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Libsql from 'libsql'
import t from 'tap'
import { accountOf, gitlabClaims, startIssuer } from '../identity/issuer.ts'
import { startGitlab, TOKEN } from '../support/platforms/gitlab.ts'
import { runHere } from '../support/program.ts'
import { noEngine } from '../support/servers/engine.ts'
import { createSandbox, type Sandbox } from '../support/setups/sandbox.ts'
import { breakGlass } from './break-glass.ts'

const SHA = '0123456789abcdef0123456789abcdef01234567'

const skip = noEngine('docker-registry', 'gcc')
if (skip) t.test('the gate of production', { skip }, async () => {})
else await gate(await createSandbox(t))

async function gate(sandbox: Sandbox): Promise<void> {
  const issuer = await startIssuer()
  const gitlab = await startGitlab(t, { project: 'team/webapi' })
  const production = (more: string) => `  production:
    from: test
    image: "${sandbox.repository}-production"
    config: "file:config/test.yaml"
    hosts: { app-01: "${sandbox.engine.address}" }
    gate: { approvals: 1, approvers: [ops-li, dev-zhang, "group:team/ops"], platform-approvals: true, ${more} }
identity: { issuer: "${issuer.url}", audience: crosscloud, project: team/webapi }
gitlab: { url: "${gitlab.url}", project: team/webapi }`
  const configure = (more = '') => sandbox.configure('sqlite:ledger.db', production(more))
  await configure()
  const people = { author: 'dev-zhang', ci: 'gitlab-ci' }
  /** A job of this login, with the variables and the token that GitLab gives it. */
  const job = async (login: string, environment: string, changes: object = {}) => {
    const claims = gitlabClaims(issuer.url, {
      ...accountOf(login),
      aud: 'crosscloud',
      environment,
      groups_direct: login === 'ops-wang' ? ['team/ops'] : [],
      ...changes,
    })
    const variables = {
      ...sandbox.variables,
      // Variables that a job sets itself are not trusted.
      GITLAB_USER_LOGIN: 'ops-li',
      GITLAB_TOKEN: TOKEN,
      CROSSCLOUD_ID_TOKEN: await issuer.sign(claims),
    }
    return (...args: string[]) => runHere(args, { cwd: sandbox.folder, variables })
  }
  Object.assign(sandbox.variables, {
    CROSSCLOUD_SERVER: 'true',
    GITLAB_USER_LOGIN: people.ci,
    CI_COMMIT_AUTHOR: people.author,
  })
  const pushed = gitlabClaims(issuer.url, { ...accountOf(people.ci), environment: undefined })
  sandbox.variables.CROSSCLOUD_ID_TOKEN = await issuer.sign(pushed)
  await sandbox.release('1.0.0')
  await sandbox.release('1.0.1', SHA)
  delete sandbox.variables.CROSSCLOUD_ID_TOKEN
  await sandbox.release('1.0.2')

  const promote = ['promote', '--release', 'webapi@1.0.0', '--to', 'production']
  const approve = ['approve', '--release', 'webapi@1.0.0', '--env', 'production', '--reason', 'ok']

  await t.test('the test environment has no gate', async (t) => {
    const run = await job('dev-zhang', 'test')
    t.match(await run('deploy', '--release', 'webapi@1.0.0', '--env', 'test'), { code: 0 })
    const review = { ref: 'feature', ref_protected: 'false', environment: 'review/feature' }
    const branch = await job('dev-zhang', 'test', review)
    const go = ['deploy', '--release', 'webapi@1.0.0', '--env', 'test']
    t.match(await branch(...go), { code: 0 }, 'a name is enough where nothing is decided')
    const forged = await job('dev-zhang', 'test', { iss: 'https://other.example.com' })
    t.match(await forged(...go), { code: 1, stderr: /the ID token is not accepted/ })
  })

  await t.test('a closed gate names who may open it', async (t) => {
    const run = await job('tester-wu', 'production')
    const refused = await run(...promote)
    t.equal(refused.code, 1)
    t.match(refused.stderr, /the gate of production is closed for webapi@1\.0\.0/)
    t.match(
      refused.stderr,
      /needs 1 more approval for production, by ops-li or a member of team\/ops/,
    )
    t.match(refused.stderr, /crosscloud approve --release webapi@1\.0\.0 --env production/)
    t.equal(await sandbox.read('webapi-production', '/srv/web/index.html'), undefined)
    t.notMatch((await run('history', '--env', 'production')).stdout, /webapi@1/)
  })

  await t.test(
    'neither the author nor a stranger nor a job of another kind may open the gate',
    async (t) => {
      const author = await (await job('dev-zhang', 'production'))(...approve)
      t.match(author, { code: 1, stderr: /dev-zhang cannot approve webapi@1\.0\.0 for production/ })
      t.match(author.stderr, /dev-zhang wrote it/)
      const stranger = await (await job('tester-wu', 'production'))(...approve)
      t.match(stranger, { code: 1, stderr: /tester-wu is not among the approvers/ })
      const elsewhere = await (await job('ops-li', 'test'))(...approve)
      t.match(elsewhere, {
        code: 1,
        stderr: /its job is for environment "?test"?, not for production/,
      })
      const asleep = await (await job('ops-li', 'production', { pipeline_source: 'schedule' }))(
        ...approve,
      )
      t.match(asleep, { code: 1, stderr: /no person started its pipeline, but schedule/ })
      const nowhere = await (await job('ops-li', '', { environment: undefined }))(...approve)
      t.match(nowhere, { code: 1, stderr: /its job names no environment/ })
      const old = await (await job('ops-li', 'production', { exp: 1 }))(...approve)
      t.match(old, { code: 1, stderr: /it has expired/ })
      const nobody = await runHere(approve, { cwd: sandbox.folder, variables: sandbox.variables })
      t.match(nobody, { code: 1, stderr: /no signed ID token says who this is[\s\S]*id_tokens/ })
    },
  )

  /** Production's values, which are those of test here. */
  const setGreeting = (greeting: string) =>
    writeFile(join(sandbox.folder, 'config/test.yaml'), `webapi:\n  ${greeting}\n`)

  await t.test('a release whose config cannot be shown cannot be approved', async (t) => {
    await setGreeting('other: hello')
    const wang = await job('ops-wang', 'production')
    const { code, stderr } = await wang(...approve)
    t.equal(code, 2)
    t.match(
      stderr,
      /the config of production cannot be looked at, and nothing is approved unseen: /,
    )
    t.match(stderr, '/webapi/greeting')
    t.match(stderr, /needs what a deployment to production reads: .* With `config: follow`/)
    t.notMatch((await wang('show', 'webapi@1.0.0')).stdout, 'ops-wang')
    await setGreeting('greeting: hello')
  })

  await t.test('a second person opens the gate and is recorded in the ledger', async (t) => {
    const wang = await job('ops-wang', 'production')
    const approved = await wang(...approve)
    t.match(approved, { code: 0 }, approved.stderr)
    t.match(approved.stdout, /ops-wang approved webapi@1\.0\.0 for production/)
    t.match(approved.stdout, new RegExp(`Identity signed by ${issuer.url}`))
    t.match(approved.stdout, 'The gate is open: the deployment may start.')
    const again = await wang(...approve, '--reject')
    t.match(again, { code: 1, stderr: /the token of this job has been used: ops-wang approved/ })
    const run = await job('tester-wu', 'production')
    await setGreeting('greeting: good evening')
    const changed = await run(...promote)
    t.match(changed, { code: 1, stderr: /the gate of production is closed/ })
    t.match(changed.stderr, /the config has changed since ops-wang approved: .*, and approve anew/)
    t.equal(await sandbox.read('webapi-production', '/srv/web/index.html'), undefined)
    await setGreeting('greeting: hello')
    const db = new Libsql(join(sandbox.folder, 'ledger.db'))
    const forge = async (change: string, why: RegExp) => {
      db.exec(change)
      const stderr = (await run(...promote)).stderr
      t.match(stderr, /the gate of production is closed/, change)
      t.match(stderr, why, change)
      t.notMatch(stderr, /eyJ/, 'no token is printed')
    }
    await forge(
      "update approvals set member_of = '[]', decided_by = 'ops-li'",
      /by ops-li does not count, its signed token tells another person: approve anew/,
    )
    db.exec(`update approvals set member_of = '["team/ops"]', decided_by = 'ops-wang'`)
    const kept = db.prepare('select * from approval_tokens').all()
    t.equal(kept.length, 1)
    await forge('delete from approval_tokens', /no signed token was kept with it: approve anew/)
    const { approval, token, public_key } = kept[0] as Record<string, unknown>
    db.prepare('insert into approval_tokens values (?, ?, ?)').run(approval, token, public_key)
    db.close()
    const shown = await run('show', 'webapi@1.0.0', '--json')
    t.match(shown.stdout, /ops-wang/)
    t.notMatch(shown.stdout, /eyJ|public_?key/i, 'no token is shown')
    const done = await run(...promote, '--json')
    t.match(done, { code: 0 }, done.stderr)
    t.equal(await sandbox.read('webapi-production', '/srv/web/index.html'), '<h1>webapi 1.0.0</h1>')
    const { deployments } = JSON.parse(
      (await run('history', '--env', 'production', '--json')).stdout,
    )
    t.match(deployments, [
      { by: 'tester-wu', identity: issuer.url, approvals: ['a1'], state: 'succeeded' },
    ])
  })

  await t.test(
    'neither promote nor deploy accepts a release that has not run in test',
    async (t) => {
      const run = await job('tester-wu', 'production')
      const refused = { code: 1, stderr: /webapi@1\.0\.1 has not run, verified, in test/ }
      const release = ['--release', 'webapi@1.0.1']
      t.match(await run('promote', ...release, '--to', 'production'), refused)
      t.match(await run('deploy', ...release, '--env', 'production'), refused)
    },
  )

  await t.test(
    'each config needs an approval, and the approver is shown what changed',
    async (t) => {
      const deploy = ['deploy', '--release', 'webapi@1.0.0', '--env', 'production']
      const run = await job('tester-wu', 'production')
      await setGreeting('greeting: good evening')
      const closed = await run(...deploy)
      t.match(closed, { code: 1, stderr: /the config has changed since ops-wang approved/ })
      const approved = await (await job('ops-wang', 'production'))(...approve)
      t.match(approved, { code: 0 }, approved.stderr)
      t.match(
        approved.stdout,
        /Config {3}sha256:\w{64}, other than that of webapi@1\.0\.0, which runs there:\n.*changed \/webapi\/greeting/,
      )
      t.notMatch(approved.stdout, 'evening')
      t.match(await run(...deploy), { code: 0 })
      const file = await sandbox.read('webapi-production', '/tmp/app.properties')
      t.equal(file, 'greeting=good evening\n')
      await setGreeting('greeting: hello')
      const back = await run(...deploy)
      t.match(back, { code: 0 }, 'the config that was approved first', { stderr: back.stderr })
    },
  )

  await t.test(
    'the four-eyes rule stays closed unless a signed token names who baked',
    async (t) => {
      const li = await job('ops-li', 'production')
      const approved = await li('approve', '--release', 'webapi@1.0.2', '--env', 'production')
      t.match(approved, { code: 0, stdout: /still closed/ }, approved.stderr)
      t.match(approved.stdout, /no signed ID token says who baked webapi@1\.0\.2/)
      const signed = await job('dev-zhang', 'test')
      t.match((await signed('show', 'webapi@1.0.0')).stdout, `by ${people.ci}`)
    },
  )

  await t.test('a rejection closes the gate again, by those who may approve alone', async (t) => {
    const tester = await job('tester-wu', 'production')
    const refused = await tester(...approve, '--reject')
    t.match(refused, { code: 1, stderr: /tester-wu cannot reject webapi@1\.0\.0 for production/ })
    t.notMatch((await tester('show', 'webapi@1.0.0')).stdout, 'tester-wu rejected')
    const li = await job('ops-li', 'production')
    t.match(await li(...approve, '--reject'), { code: 0, stdout: /ops-li rejected/ })
    const run = await job('tester-wu', 'production')
    t.match(await run(...promote), { code: 1, stderr: /ops-li rejected webapi@1\.0\.0/ })
  })

  await t.test('a job of another environment cannot deploy to production', async (t) => {
    const run = await job('tester-wu', 'test')
    const turned = await run('deploy', '--release', 'webapi@1.0.0', '--env', 'production')
    t.match(turned, { code: 1, stderr: /its job is for environment "?test"?, not for production/ })
    const nobody = await runHere(promote, { cwd: sandbox.folder, variables: sandbox.variables })
    t.match(nobody, { code: 1, stderr: /no signed ID token/ })
  })

  await t.test(
    "GitLab's own approval of the job counts for the release of its commit",
    async (t) => {
      const test = await job('dev-zhang', 'test')
      t.match(await test('deploy', '--release', 'webapi@1.0.1', '--env', 'test'), { code: 0 })
      const go = ['promote', '--release', 'webapi@1.0.1', '--to', 'production']
      const run = await job('tester-wu', 'production', { job_id: '1212', sha: SHA })
      t.match(await run(...go), { code: 1, stderr: /needs 1 more approval/ })
      const approval = { user: { username: 'ops-li' }, status: 'approved', comment: 'fine' }
      gitlab.tables.deployments?.push(
        { id: 4, deployable: { id: 1211 }, approvals: [] },
        {
          id: 5,
          deployable: { id: 1212 },
          approvals: [{ ...approval, created_at: new Date().toISOString() }],
        },
      )
      const other = await job('tester-wu', 'production', { job_id: '1212', sha: 'f'.repeat(40) })
      t.match(await other(...go), { code: 1, stderr: /needs 1 more approval/ }, 'of another commit')
      const done = await run(...go)
      t.match(done, { code: 0 }, done.stderr)
      const shown = await run('show', 'webapi@1.0.1')
      t.match(
        shown.stdout,
        /ops-li approved it for production \(signed by .*, approved there\): fine/,
      )
      t.match(await run(...go), { code: 0 }, 'a second time')
      const again = await run('show', 'webapi@1.0.1')
      t.equal(again.stdout.match(/ops-li approved it/g)?.length, 1, 'and written once')
      gitlab.tables.deployments?.splice(0)
      const alone = await run(...go)
      t.match(alone, { code: 1, stderr: /needs 1 more approval/ }, 'the ledger alone')
      t.match(alone.stderr, /is asked each time, and did not tell of it now/)
    },
  )

  await t.test('a rollback to a config that never ran there is refused', async (t) => {
    const zhang = await job('dev-zhang', 'production')
    const back = (version: string, ...more: string[]) =>
      zhang(
        'rollback',
        '--env',
        'production',
        '--reason',
        'x',
        '--to',
        `webapi@${version}`,
        ...more,
      )
    const same = await back('1.0.1')
    t.match(same, { code: 1, stderr: /never ran in production with another config/ })
    const forth = await back('1.0.1', '--config', 'now')
    t.match(forth, { code: 2, stderr: /runs there now: for today's config, deploy it/ })
    await setGreeting('greeting: chosen alone')
    const now = await back('1.0.0', '--config', 'now')
    t.match(now, { code: 1, stderr: /the gate of production is closed/ })
    await setGreeting('greeting: hello')
  })

  await breakGlass(t, { sandbox, issuer, job, configure })
}
