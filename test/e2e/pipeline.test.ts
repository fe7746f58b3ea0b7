import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse, parseDocument } from 'yaml'
import { run } from '../../src/core/process/process.ts'
import { accountOf, gitlabClaims, startIssuer } from '../identity/issuer.ts'
import { type Include, makeRepository, runGitlab } from '../support/ci/gitlab.ts'
import { startMariadb } from '../support/servers/mariadb.ts'
import { startRedis } from '../support/servers/redis.ts'
import { missingProgram } from '../support/servers/server.ts'
import { createDemo, type Demo } from '../support/setups/demo.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const PAGE = fileURLToPath(new URL('../../docs/team.md', import.meta.url))

/** The values of the CI variables that the page's crosscloud.yml has. */
const VALUES: Record<string, string> = {
  LEDGER_PASSWORD: 'secret-of-the-ledger',
  PRODUCTION_REDIS_PASSWORD: 'p%40ss%3Aword%2F1',
  DOCKER_AUTH_CONFIG: '{"auths":{}}',
}

t.setTimeout(560_000)
const missing = missingProgram('mariadbd', 'redis-server', 'redis-cli', 'rsync')
// That Tomcat serves what is delivered is the demo's test; this one is of the jobs and of people.
const demo = missing || (await createDemo(t, { server: 'small' }))
const title = 'a pipeline of GitLab: from a push to production and back, with people between'
if (typeof demo === 'string') await t.test(title, { skip: demo }, async () => {})
else await t.test(title, (t) => runPipelines(t, demo))

/** What a team copies from docs/team.md: crosscloud.yml, and the includes of .gitlab-ci.yml. */
async function readPage() {
  const blocks = (await readFile(PAGE, 'utf8')).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)
  const [settings = '', pipeline = ''] = [...blocks].map(([, block]) => block)
  const { include } = parse(pipeline) as { include: { file: string; inputs?: object }[] }
  const includes = include.map(({ file, inputs = {} }): Include => {
    return [/([\w-]+)\.yml$/.exec(file)?.[1] ?? '', { ...inputs }]
  })
  return { settings: parseDocument(settings), includes }
}

/** The page's files with the servers of this machine in place of those at example.com. */
async function configure(t: Test, { project, addresses, engine }: Demo) {
  const redis = await startRedis(t)
  const mariadb = await startMariadb(t)
  await mariadb.query('create database crosscloud')
  const password = VALUES.LEDGER_PASSWORD
  await mariadb.query(`create user 'crosscloud'@'%' identified by '${password}'`)
  await mariadb.query("grant all on crosscloud.* to 'crosscloud'@'%'")
  const issuer = await startIssuer()
  const { settings, includes } = await readPage()
  const here = parseDocument(await readFile(join(project, 'crosscloud.yml'), 'utf8'))
  const replace = (path: string[], from: string | RegExp, to: string) => {
    const text = String(settings.getIn(path))
    t.match(text, from, `the page has ${path.join('.')}`)
    settings.setIn(path, text.replace(from, to))
  }
  for (const path of [
    ['war', 'args'],
    ['image', 'base'],
    ['image', 'webapp'],
  ]) {
    settings.setIn(path, here.getIn(path))
  }
  replace(['ledger'], 'db.example.com', `127.0.0.1:${mariadb.port}`)
  replace(['identity', 'issuer'], 'https://gitlab.example.com', issuer.url)
  settings.setIn(['container', 'ports'], ['127.0.0.1::8080'])
  const environments = ['test', 'staging', 'production']
  for (const [db, name] of environments.entries()) {
    const at = ['environments', name]
    replace([...at, 'image'], 'harbor.example.com', addresses[name === 'test' ? 0 : 1])
    const open = name === 'production' ? '' : ':p%40ss%3Aword%2F1@'
    replace(
      [...at, 'config'],
      /config-\w+\.example\.com\/0/,
      `${open}127.0.0.1:${redis.port}/${db}`,
    )
    settings.setIn([...at, 'hosts'], { [`app-${name}`]: engine.address })
  }
  replace(['environments', 'production', 'gate', 'soak'], '1h', '0s')
  settings.addIn(['environments', 'production', 'gate', 'approvers'], 'dev-zhang')
  await writeFile(join(project, 'crosscloud.yml'), settings.toString())
  const { variables } = settings.toJS().gitlab as {
    variables: Record<string, { environment?: string }>
  }
  /** What GitLab gives to a job of this environment, and nothing else. */
  const variablesOf = (environment: string) =>
    Object.entries(variables)
      .filter(([, { environment: scope }]) => [undefined, '*', environment].includes(scope))
      .map(([name]) => [name, VALUES[name] ?? ''] as const)
  return { issuer, includes, variablesOf }
}

async function runPipelines(t: Test, demo: Demo) {
  const { project, docker, json } = demo
  const { issuer, includes, variablesOf } = await configure(t, demo)
  // The person at the shell, who has them all.
  Object.assign(process.env, VALUES)
  const none = Object.fromEntries(Object.keys(VALUES).map((name) => [name, undefined]))
  t.teardown(() => {
    for (const name of Object.keys(VALUES)) delete process.env[name]
  })
  for (const env of ['test', 'staging']) {
    const values = join(project, `config/${env}.yaml`)
    const args = ['config', 'import', values, '--env', env, '--reason', 'first', '--yes']
    const { code, stderr } = await demo.cli(...args)
    t.equal(code, 0, stderr)
  }
  const [[, setup] = ['', {}], ...others] = includes
  await makeRepository(project, {
    setup: { ...setup, command: `${process.execPath} ${MAIN}` },
    includes: others,
  })
  /** What GitLab does when this person pushes or clicks. */
  const as = (login: string) => ({
    async runs(environment: string, ...args: string[]) {
      const claims = { ...accountOf(login), aud: 'crosscloud', environment, groups_direct: [] }
      const token = await issuer.sign(gitlabClaims(issuer.url, claims))
      const variables = { CROSSCLOUD_ID_TOKEN: token, GITLAB_USER_LOGIN: login }
      const given = [
        ...Object.entries({ ...variables, CI_COMMIT_AUTHOR: 'dev-zhang' }),
        ...variablesOf(environment),
      ]
      const flags = given.flatMap(([name, value]) => ['--variable', `${name}=${value}`])
      return await runGitlab(project, [...args, ...flags], none)
    },
  })
  const [zhang, wu, li] = [as('dev-zhang'), as('tester-wu'), as('ops-li')]
  const running = async () => {
    const { environments } = (await json('status')) as {
      environments: { environment: string; version: string; digest: string }[]
    }
    return Object.fromEntries(environments.map((cell) => [cell.environment, cell]))
  }

  const toStaging = async (t: Test) => {
    const jobs = ['promote-to-staging', 'deploy-staging', 'verify-staging']
    const done = await wu.runs('staging', ...jobs, `--manual=${jobs[0]}`)
    t.match(done.jobs, Object.fromEntries(jobs.map((job) => [job, 'PASS'])), done.output)
  }

  await t.test('a signed job imports the values of production', async (t) => {
    const values = ['config', 'import', 'config/staging.yaml', '--env', 'production']
    const unsigned = await demo.cli(...values, '--reason', 'first', '--yes')
    t.match(unsigned, { code: 1, stderr: /no signed ID token says who this is/ })
    const idle = await li.runs('production', 'operate-production')
    t.match(idle.output, /CROSSCLOUD_DO is "", which this job cannot do/)
    const given = {
      CROSSCLOUD_DO: 'config import',
      CROSSCLOUD_FILE: 'config/staging.yaml',
      CROSSCLOUD_REASON: 'first values',
    }
    const flags = Object.entries(given).flatMap(([name, value]) => [
      ...['--variable', `${name}=${value}`],
    ])
    const set = await li.runs('production', 'operate-production', ...flags)
    t.match(set.jobs, { 'operate-production': 'PASS' }, set.output)
    const { events } = (await json('history', '--env', 'production')) as { events: unknown[] }
    const signed = { by: 'ops-li', identity: issuer.url, reason: 'first values' }
    t.match(events, [{ ...signed, action: 'config' }])
  })

  await t.test(
    'a push and a few clicks deploy to production once a second person approves',
    async (t) => {
      const pushed = await zhang.runs('test', '--needs', 'verify-test')
      t.ok(pushed.ok, 'the push reached test', { output: pushed.output })
      t.match(pushed.output, 'webapi@1.0.0 runs in test')
      t.match(pushed.output, 'webapi@1.0.0 in test is what was built')
      await toStaging(t)
      const ready = await wu.runs('production', 'promote-to-production')
      t.match(ready.output, 'webapi@1.0.0 is ready for production, unchanged')
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
      const done = await wu.runs('production', 'deploy-production', 'verify-production')
      const both = { 'deploy-production': 'PASS', 'verify-production': 'PASS' }
      t.match(done.jobs, both, done.output)
      const now = await running()
      t.match(now, { production: { version: '1.0.0', digest: String(now.test?.digest) } })
      const { deployments } = (await json('history', '--env', 'production')) as {
        deployments: unknown[]
      }
      t.match(deployments, [{ approvals: ['a1'], identity: issuer.url, state: 'succeeded' }])
      const properties = ['/server', 'cat', '/etc/webapi/webapi.properties']
      const file = await docker('exec', 'webapi-production', ...properties)
      t.match(file, 'greeting = Hello from staging')
    },
  )

  await t.test('the next release reaches production, and a click rolls it back', async (t) => {
    await writeFile(join(project, 'src/main/webapp/news.txt'), 'something new\n')
    const git = (...args: string[]) =>
      run('git', ['-c', 'user.name=dev', '-c', 'user.email=dev@example.com', ...args], {
        cwd: project,
      })
    await git('add', '--all')
    await git('commit', '--quiet', '--message', 'News')
    const pushed = await zhang.runs('test', '--needs', 'verify-test')
    t.match(pushed.output, 'webapi@1.0.1 runs in test')
    await toStaging(t)
    const ready = await wu.runs('production', 'promote-to-production')
    t.match(ready.output, 'webapi@1.0.1 is ready for production, unchanged')
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
