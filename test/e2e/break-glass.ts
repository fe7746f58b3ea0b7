import { join } from 'node:path'
import type { Test } from 'tap'
import { openSqliteLedger } from '../../src/ledger/database/sqlite.ts'
import type { TestIssuer } from '../identity/issuer.ts'
import { type ProgramResult, runHere } from '../support/program.ts'
import type { Sandbox } from '../support/setups/sandbox.ts'

type Run = (...args: string[]) => Promise<ProgramResult>

/** A gate that was tried already: 1.0.1 runs in production, and 1.0.0 did before. */
export interface TriedGate {
  sandbox: Sandbox
  issuer: TestIssuer
  /** A job of this login, with a token of theirs. */
  job(login: string, environment: string): Promise<Run>
  /** Writes crosscloud.yml with more in the gate. */
  configure(gate: string): Promise<void>
}

/** What happens in the night when GitLab is down, and on the day after. */
export async function breakGlass(
  t: Test,
  { sandbox, issuer, job, configure }: TriedGate,
): Promise<void> {
  /** A person at a terminal of a machine that reaches the hosts. */
  const terminal =
    (login: string, more: Record<string, string> = {}): Run =>
    (...args) =>
      runHere(args, {
        cwd: sandbox.folder,
        variables: {
          ...sandbox.variables,
          CROSSCLOUD_SERVER: '',
          GITLAB_USER_LOGIN: login,
          ...more,
        },
      })
  const li = terminal('ops-li')
  const page = () => sandbox.read('webapi-production', '/srv/web/index.html')
  const place = ['--env', 'production']
  const back = ['rollback', ...place, '--reason', 'orders fail', '--break-glass']
  const jsonOf = async (...args: string[]) => JSON.parse((await li(...args, '--json')).stdout)
  const newest = async () => (await jsonOf('history', ...place, '--limit', '1')).deployments[0]
  const sign = (id: string) => ['sign-off', id, ...place, '--reason', 'looked at it']
  const night = () =>
    issuer.answers.set('/.well-known/openid-configuration', (_request, response) =>
      response.writeHead(503).end(),
    )
  const day = () => issuer.answers.clear()

  await t.test(
    'only a person whom the settings name may bypass a gate, and not from a job',
    async (t) => {
      const before = await newest()
      const nobody = await li(...back)
      t.match(nobody, { code: 1, stderr: /ops-li may not go past the gate of production/ })
      t.match(
        nobody.stderr,
        /Nobody may: environments\.production\.gate\.break-glass in .*names who/,
      )
      await configure('break-glass: [ops-li, ops-wang]')
      const stranger = await terminal('tester-wu')(...back)
      t.match(stranger, { code: 1, stderr: /tester-wu may not[\s\S]*ops-li or ops-wang may\./ })
      for (const mark of ['GITLAB_CI', 'GITHUB_ACTIONS', 'CROSSCLOUD_SERVER', 'CI', 'CI_JOB_ID']) {
        const variables = { [mark]: mark === 'CI' ? 'false' : 'true', GITHUB_ACTOR: 'ops-li' }
        const result = await terminal('ops-li', variables)(...back)
        t.match(result, { code: 1, stderr: /no signed ID token says who goes past the gate/ }, mark)
      }
      const plain = await li('rollback', ...place, '--reason', 'orders fail')
      t.match(plain, { code: 1, stderr: /no signed ID token says who this is/ })
      const here = ['deploy', '--release', 'webapi@1.0.1', '--break-glass', '--env']
      t.match(await li(...here, 'production'), { code: 2, stderr: /needs a reason/ })
      const test = await li(...here, 'test', '--reason', 'x')
      t.match(test, { code: 2, stderr: /test has no gate to go past/ })
      t.equal((await newest()).id, before.id, 'nothing was done')
    },
  )

  await t.test(
    'while GitLab is down a named person rolls back, and every view of it reports the bypass',
    async (t) => {
      night()
      const done = await li(...back)
      t.match(done, { code: 0 }, done.stderr)
      t.equal(await page(), '<h1>webapi 1.0.0</h1>')
      const { id, ...deployment } = await newest()
      const line = new RegExp(
        `BREAK-GLASS: ops-li went past the gate of production with ${id} of webapi \\(orders fail\\); a second person must sign it off until .*Z: .crosscloud sign-off ${id} --env production`,
      )
      t.match(done.all, line)
      const broke = { by: 'ops-li', identity: 'unverified', reason: 'orders fail' }
      t.match(deployment, { by: 'ops-li', kind: 'rollback', breakGlass: broke })
      t.match((await li('status')).stdout, line)
      const { environments } = await jsonOf('status', ...place)
      t.match(environments, [
        { unsigned: [{ deployment: id, by: 'ops-li', reason: 'orders fail' }] },
      ])
      t.match((await li('history', ...place)).stdout, line)
      t.match((await li('show', 'webapi@1.0.0')).stdout, line)
      t.match((await li('explain', 'webapi-production')).stdout, line, 'who let it in')
      day()
    },
  )

  await t.test('a second person signs a bypass off once, with a token of their own', async (t) => {
    const { id } = await newest()
    const nobody = await terminal('ops-wang')(...sign(id))
    t.match(nobody, { code: 1, stderr: /no signed ID token says who this is/ })
    const same = await (await job('ops-li', 'production'))(...sign(id))
    t.match(same, { code: 1, stderr: /ops-li did it, and a second person must look at it/ })
    const stranger = await (await job('tester-wu', 'production'))(...sign(id))
    t.match(stranger, { code: 1, stderr: /tester-wu is neither an approver nor/ })
    const wang = await job('ops-wang', 'production')
    t.match(await wang(...sign('d999')), { code: 1, stderr: /there is no deployment d999/ })
    t.match(await wang(...sign('d1')), {
      code: 1,
      stderr: /there is no deployment d1 of webapi in/,
    })
    const [, plain] = (await jsonOf('history', ...place, '--limit', '2')).deployments
    t.match(await wang(...sign(plain.id)), { code: 2, stderr: /did not go past the gate/ })
    const elsewhere = await (await job('ops-wang', 'test'))(...sign(id))
    t.match(elsewhere, { code: 1, stderr: /its job is for environment/ })
    t.match((await li('status')).stdout, 'BREAK-GLASS', 'all of these changed nothing')
    const signed = await wang(...sign(id))
    t.match(signed, { code: 0 }, signed.stderr)
    t.match(signed.stdout, `ops-wang signed off ${id}, webapi@1.0.0 in production`)
    const again = await (await job('dev-zhang', 'production'))(...sign(id))
    t.match(again, { code: 0, stdout: new RegExp(`^ops-wang signed off ${id}`) })
    t.notMatch((await li('status')).stdout, 'BREAK-GLASS')
    t.match((await li('history', ...place)).stdout, /went past the gate.*ops-wang signed it off/)
    t.match((await newest()).breakGlass.signedOff, { by: 'ops-wang', identity: issuer.url })
  })

  await t.test(
    'a bypass ignores approvals, from, soak and freeze, but no mark and no lock',
    async (t) => {
      const bad = [
        'deploy',
        '--release',
        'webapi@1.0.1',
        ...place,
        '--reason',
        'x',
        '--break-glass',
      ]
      for (const args of [bad, [...bad, '--force']]) {
        t.match(await li(...args), { code: 1, stderr: /webapi@1\.0\.1 is known to be bad/ })
      }
      const image = ['--image', `${sandbox.repository}:1.0.2`]
      const to = ['--to', `${sandbox.repository}-production:1.0.2`]
      t.match(await li('retag-image', ...image, ...to), { code: 0 })
      await configure(
        'break-glass: [ops-li], soak: 30d, freeze: [{ from: 2020-01-01, to: 2099-12-31, reason: stocktaking }]',
      )
      const go = ['deploy', '--release', 'webapi@1.0.2', ...place]
      const held = await (await job('dev-zhang', 'production'))(...go)
      t.match(held, {
        code: 1,
        stderr: /1\.0\.2 has not (?:run, verified, in|been deployed to) test/,
      })
      const lock = ['lock', ...place, '--reason', 'counting', '--for', '1h']
      t.match(await (await job('ops-wang', 'production'))(...lock), { code: 0 })
      const past = [...go, '--reason', 'the shop is down', '--break-glass']
      t.match(await li(...past), { code: 1, stderr: /counting/ }, 'nor past a lock')
      const unlock = ['unlock', ...place, '--force', '--reason', 'no job could']
      t.match(await li(...unlock), { code: 1, stderr: /no signed ID token/ })
      const wu = await terminal('tester-wu')(...unlock, '--break-glass')
      t.match(wu, { code: 1, stderr: /tester-wu may not go past the gate/ })
      t.match(await li(...unlock, '--break-glass'), { code: 0 })
      const done = await li(...past)
      t.match(done, { code: 0, all: /BREAK-GLASS/ }, done.stderr)
      t.equal(await page(), '<h1>webapi 1.0.2</h1>')
      t.match(await newest(), { verified: true, breakGlass: { reason: 'the shop is down' } })
    },
  )

  await t.test('a job may bypass a gate when a token signs it', async (t) => {
    const wang = await (await job('ops-wang', 'production'))(...back)
    t.match(wang, { code: 1, stderr: /ops-wang may not[\s\S]*ops-li may\./ })
    const done = await (await job('ops-li', 'production'))(...back)
    t.match(done, { code: 0, all: /BREAK-GLASS[\s\S]*BREAK-GLASS/ }, done.stderr)
    t.match(await newest(), { breakGlass: { identity: issuer.url, reason: 'orders fail' } })
  })

  await t.test(
    'a bypass that is not signed off within a day closes the gate for all but rollbacks',
    async (t) => {
      await configure('break-glass: [ops-li]')
      const { id } = await newest()
      const [, earlier] = (await jsonOf('history', ...place, '--limit', '2')).deployments
      const go = ['deploy', '--release', 'webapi@1.0.0', ...place]
      const approve = ['approve', '--release', 'webapi@1.0.0', ...place]
      t.match(await (await job('ops-li', 'production'))(...approve), { code: 0 })
      const open = await (await job('tester-wu', 'production'))(...go)
      t.match(open, { code: 0, all: /BREAK-GLASS/ }, 'within the day it is only reported')
      const old = (await newest()).id
      const yesterday = () => Date.now() - 25 * 3_600_000
      const ledger = await openSqliteLedger(join(sandbox.folder, 'ledger.db'), { now: yesterday })
      t.teardown(() => ledger.close())
      await ledger.recordEvent({
        app: 'webapi',
        environment: 'production',
        action: 'break-glass',
        subject: old,
        by: 'ops-li',
        identity: 'unverified',
        reason: 'a night long ago',
      })
      const closed = await (await job('tester-wu', 'production'))(...go)
      t.match(closed, { code: 1, stderr: /the gate of production is closed/ })
      t.match(
        closed.stderr,
        new RegExp(
          `ops-li went past the gate of production with ${old} \\(a night long ago\\), and nobody`,
        ),
      )
      const rollback = ['rollback', ...place, '--to', 'webapi@1.0.0', '--reason', 'restart']
      t.match(await (await job('tester-wu', 'production'))(...rollback), { code: 0 })
      t.match(await li(...go, '--reason', 'still down', '--break-glass'), { code: 0 })
      const third = await newest()
      for (const bypass of [earlier.id, id, old, third.id]) {
        t.match(await (await job('ops-wang', 'production'))(...sign(bypass)), { code: 0 })
      }
      const reopened = await (await job('tester-wu', 'production'))(...go)
      t.match(reopened, { code: 0 }, reopened.stderr)
      t.notMatch(reopened.all, 'BREAK-GLASS')
    },
  )
}
