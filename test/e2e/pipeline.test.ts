import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parseDocument } from 'yaml'
import { run } from '../../src/core/process.ts'
import { accountOf, gitlabClaims, startIssuer } from '../identity/issuer.ts'
import { startMariadb } from '../ledger/mariadb.ts'
import { makeRepository, runGitlab } from '../support/gitlab.ts'
import { startRedis } from '../support/redis.ts'
import { buildRoad, type Road } from '../support/road.ts'
import { missingProgram } from '../support/server.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

t.setTimeout(280_000)
const missing = missingProgram('mariadbd', 'redis-server', 'redis-cli', 'rsync')
const road = missing || (await buildRoad(t))
const title = 'a pipeline of GitLab: from a push to production and back, with people between'
if (typeof road === 'string') await t.test(title, { skip: road }, async () => {})
else await t.test(title, (t) => travel(t, road))

/** Redis for the values, MariaDB for the ledger, an issuer for the people, a gate for production. */
async function settle(t: Test, { project, addresses, engine }: Road) {
  const redis = await startRedis(t)
  const mariadb = await startMariadb(t)
  await mariadb.query('create database ledger')
  await mariadb.query("create user 'crosscloud'@'%' identified by 'secret'")
  await mariadb.query("grant all on ledger.* to 'crosscloud'@'%'")
  const issuer = await startIssuer(t)
  const settings = parseDocument(await readFile(join(project, 'crosscloud.yml'), 'utf8'))
  settings.set('ledger', `mysql://crosscloud:\${LEDGER_PASSWORD}@127.0.0.1:${mariadb.port}/ledger`)
  settings.set('identity', { issuer: issuer.url, audience: 'crosscloud', project: 'team/webapi' })
  const config = (db: number) => `redis://:p%40ss%3Aword%2F1@127.0.0.1:${redis.port}/${db}`
  settings.setIn(['environments', 'test', 'config'], config(0))
  settings.setIn(['environments', 'staging', 'config'], config(1))
  settings.setIn(['environments', 'production'], {
    from: 'staging',
    image: `${addresses[1]}/production/webapi`,
    config: config(2),
    hosts: { 'app-03': engine.address },
    gate: { approvals: 1, approvers: ['ops-li', 'dev-zhang'] },
  })
  await writeFile(join(project, 'crosscloud.yml'), settings.toString())
  return issuer
}

async function travel(t: Test, road: Road) {
  const { project, docker, json } = road
  const issuer = await settle(t, road)
  process.env.LEDGER_PASSWORD = 'secret'
  t.teardown(() => delete process.env.LEDGER_PASSWORD)
  for (const env of ['test', 'staging', 'production']) {
    const values = join(project, `config/${env === 'production' ? 'staging' : env}.yaml`)
    const args = ['config', 'import', values, '--env', env, '--reason', 'first', '--yes']
    const { code, stderr } = await road.cli(...args)
    t.equal(code, 0, stderr)
  }
  const production = { environment: 'production', after: 'verify-staging', gate: 'true' }
  await makeRepository(project, {
    setup: { command: `${process.execPath} ${MAIN}` },
    includes: [
      ['release', {}],
      ['environment', { environment: 'staging', after: 'verify-test' }],
      ['environment', { ...production, tier: 'production' }],
    ],
  })
  /** What GitLab does when somebody pushes or clicks. */
  const as = (login: string) => ({
    async runs(environment: string, ...args: string[]) {
      const claims = { ...accountOf(login), aud: 'crosscloud', environment, groups_direct: [] }
      const token = await issuer.sign(gitlabClaims(issuer.url, claims))
      const variables = { CROSSCLOUD_ID_TOKEN: token, GITLAB_USER_LOGIN: login }
      const given = Object.entries({ ...variables, CI_COMMIT_AUTHOR: 'dev-zhang' })
      const flags = given.flatMap(([name, value]) => ['--variable', `${name}=${value}`])
      return await runGitlab(project, [...args, ...flags])
    },
  })
  const [zhang, wu, li] = [as('dev-zhang'), as('tester-wu'), as('ops-li')]
  const running = async () => {
    const { environments } = (await json('status')) as {
      environments: { environment: string; version: string; digest: string }[]
    }
    return Object.fromEntries(environments.map((one) => [one.environment, one]))
  }
  /** A push that goes to test; a tester takes it to staging, and makes it ready for production. */
  const bring = async (version: string) => {
    const pushed = await zhang.runs('test', '--needs', 'verify-test')
    t.ok(pushed.ok, 'the push reached test', { output: pushed.output })
    t.match(pushed.output, `webapi@${version} runs in test`)
    t.match(pushed.output, `webapi@${version} in test is what was built`)
    for (const job of ['promote-to-staging', 'deploy-staging', 'verify-staging']) {
      const done = await wu.runs('staging', job)
      t.ok(done.ok, `${job} ran`, { output: done.output })
    }
    const ready = await wu.runs('production', 'promote-to-production')
    t.match(ready.output, `webapi@${version} is ready for production, unchanged`)
  }

  await t.test('a push, a click, and a gate that two must pass', async (t) => {
    await bring('1.0.0')
    const closed = await wu.runs('production', 'deploy-production')
    t.notOk(closed.ok)
    t.match(closed.output, 'the gate of production is closed for webapi@1.0.0')
    t.match(closed.output, 'needs 1 more approval for production, by ops-li')
    const author = await zhang.runs('production', 'gate-production')
    t.notOk(author.ok, 'the author may not')
    t.match(author.output, 'dev-zhang cannot approve webapi@1.0.0 for production')
    t.notMatch(Object.keys(await running()), ['production'])
    const opened = await li.runs('production', 'gate-production')
    t.ok(opened.ok, 'a second person may', { output: opened.output })
    t.match(opened.output, 'ops-li approved webapi@1.0.0 for production')
    for (const job of ['deploy-production', 'verify-production']) {
      const done = await wu.runs('production', job)
      t.ok(done.ok, `${job} ran`, { output: done.output })
    }
    const now = await running()
    t.match(now, { production: { version: '1.0.0', digest: String(now.test?.digest) } })
    const { deployments } = (await json('history', '--env', 'production')) as {
      deployments: unknown[]
    }
    t.match(deployments, [{ approvals: ['a1'], identity: issuer.url, state: 'succeeded' }])
    const file = await docker('exec', 'webapi-production', 'cat', '/etc/webapi/webapi.properties')
    t.match(file, 'greeting = Hello from staging')
  })

  await t.test('the next release goes there, and is brought back by a click', async (t) => {
    await writeFile(join(project, 'src/main/webapp/news.txt'), 'something new\n')
    const git = (...args: string[]) =>
      run('git', ['-c', 'user.name=dev', '-c', 'user.email=dev@example.com', ...args], {
        cwd: project,
      })
    await git('add', '--all')
    await git('commit', '--quiet', '--message', 'News')
    await bring('1.0.1')
    for (const [who, job] of [
      [li, 'gate-production'],
      [wu, 'deploy-production'],
    ] as const) {
      const done = await who.runs('production', job)
      t.ok(done.ok, `${job} ran`, { output: done.output })
    }
    t.match(await running(), { production: { version: '1.0.1' } })
    const back = await li.runs('production', 'rollback-production')
    t.ok(back.ok, 'rolled back', { output: back.output })
    t.match(back.output, 'webapi@1.0.0 runs in production again; webapi@1.0.1 is marked bad there')
    t.match(await running(), { production: { version: '1.0.0' }, staging: { version: '1.0.1' } })
    const again = await wu.runs('production', 'deploy-production')
    t.notOk(again.ok)
    t.match(again.output, 'webapi@1.0.1 is known to be bad in production: ops-li said so')
  })
}
