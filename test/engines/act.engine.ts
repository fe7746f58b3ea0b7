import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseDocument } from 'yaml'
import { run } from '../../src/core/process/process.ts'
import { actorOf, githubClaims, startIssuer, type TestIssuer } from '../identity/issuer.ts'
import { releasedActions } from '../support/ci/release.ts'
import { writtenWorkflows } from '../support/ci/workflows.ts'
import { startMariadb } from '../support/servers/mariadb.ts'
import { missingProgram } from '../support/servers/server.ts'
import { createDemo, type Demo } from '../support/setups/demo.ts'
import { commitProject, noAct, type Runner, startRunner } from './act.ts'

t.setTimeout(590_000)
const title = 'the workflows of README and docs, under act, from the ref that a release makes'
const missing = noAct() || missingProgram('mariadbd')
const demo = missing || (await createDemo(t))
if (typeof demo === 'string') await t.test(title, { skip: demo }, async () => {})
else await t.test(title, (t) => travel(t, demo))

/** MariaDB for the ledger, an issuer in GitHub's place, a gate before production. */
async function configure(t: Test, { project, addresses, engine }: Demo) {
  const mariadb = await startMariadb(t)
  await mariadb.query('create database ledger')
  await mariadb.query("create user 'crosscloud'@'%' identified by 'a-secret-word'")
  await mariadb.query("grant all on ledger.* to 'crosscloud'@'%'")
  const issuer = await startIssuer()
  const file = join(project, 'crosscloud.yml')
  const settings = parseDocument(await readFile(file, 'utf8'))
  settings.set('ledger', `mysql://crosscloud:\${LEDGER_PASSWORD}@127.0.0.1:${mariadb.port}/ledger`)
  settings.set('identity', { issuer: issuer.url, audience: 'crosscloud', project: 'team/webapi' })
  settings.setIn(['environments', 'production'], {
    from: 'staging',
    image: `${addresses[1]}/production/webapi`,
    config: 'file:config/staging.yaml',
    hosts: { 'app-03': engine.address },
    gate: { approvals: 1, approvers: ['ops-li'] },
  })
  await writeFile(file, settings.toString())
  await commitProject(project)
  return issuer
}

/** What GitHub gives a job that may have an ID token, and what it responds there. */
function tokensFor(issuer: TestIssuer, actor: string): Record<string, string> {
  issuer.answers.set('/token', (request, response) => {
    const audience = new URL(request.url ?? '', issuer.url).searchParams.get('audience')
    const claims = { ...actorOf(actor), aud: audience, repository: 'team/webapi' }
    issuer.sign(githubClaims(issuer.url, claims)).then(
      (value) => response.end(JSON.stringify({ value })),
      () => response.writeHead(500).end(),
    )
  })
  return {
    ACTIONS_ID_TOKEN_REQUEST_URL: `${issuer.url}/token?job=1`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of-the-job',
  }
}

async function travel(t: Test, demo: Demo) {
  const { project, json } = demo
  const issuer = await configure(t, demo)
  process.env.LEDGER_PASSWORD = 'a-secret-word'
  t.teardown(() => delete process.env.LEDGER_PASSWORD)
  const { folder, refs } = await releasedActions(t)
  const runner = await startRunner(t, { folder, refs })
  const written = await writtenWorkflows()
  const ran = new Set<string>()
  const secrets = { LEDGER_PASSWORD: 'a-secret-word', DOCKER_AUTH_CONFIG: '{}' }
  /** One of a page's workflows, literally. */
  const runs = (page: string, file: string, how: Omit<Parameters<Runner['run']>[1], 'text'>) => {
    const found = written.find((workflow) => workflow.page === page && workflow.file === file)
    if (!found) throw new Error(`${page} has no ${file}`)
    ran.add(found.text)
    return runner.run(project, { secrets, ...how, text: found.text })
  }
  const running = async () => {
    const { environments } = (await json('status')) as {
      environments: { environment: string; version: string }[]
    }
    return Object.fromEntries(
      environments.map(({ environment, version }) => [environment, version]),
    )
  }
  const change = async (text: string) => {
    await writeFile(join(project, 'src/main/webapp/news.txt'), text)
    await run('git', ['add', '--all'], { cwd: project })
    await run('git', ['commit', '--quiet', '--message', text], { cwd: project })
  }
  const inputs = { release: 'webapi@1.0.0', reason: 'tested by QA' }
  const pushed = { event: 'push', actor: 'dev-zhang', env: tokensFor(issuer, 'dev-zhang') }
  const dispatch = { event: 'workflow_dispatch', actor: 'ops-li' }

  await t.test('a pull request learns in one annotation what would be missing', async (t) => {
    const whole = await runs('docs/github.md', 'config-check.yml', { event: 'pull_request' })
    t.ok(whole.ok, 'the workflow ran', { output: whole.output })
    const values = join(project, 'config/staging.yaml')
    const good = await readFile(values, 'utf8')
    await writeFile(values, 'webapi: {}\n')
    const broken = await runs('docs/github.md', 'config-check.yml', { event: 'pull_request' })
    await writeFile(values, good)
    t.notOk(broken.ok)
    const errors = broken.output.match(/::error title=crosscloud render-config::.*/g) ?? []
    t.equal(errors.length, 2, 'staging and production, each in its own job')
    t.match(errors[0], /greeting.*%0A/)
  })

  await t.test('a push goes through test and staging, job by job', async (t) => {
    const done = await runs('docs/github.md', 'deliver.yml', pushed)
    t.ok(done.ok, 'the workflow ran', { output: done.output })
    t.match(done.output, 'webapi@1.0.0 runs in staging, unchanged')
    t.match(done.output, 'the action approve with `release: webapi@1.0.0`, `env: production`')
    t.notMatch(done.output, /--env|`crosscloud |a-secret-word/, 'in words of an action, masked')
    t.strictSame(await running(), { test: '1.0.0', staging: '1.0.0' })
  })

  await t.test('without a signed token the gate stays closed, and the job says why', async (t) => {
    const closed = await runs('docs/github.md', 'production.yml', { ...dispatch, inputs })
    t.notOk(closed.ok)
    t.match(closed.output, 'no signed ID token says who this is')
    t.match(closed.output, 'permissions: { id-token: write }')
    t.notMatch(Object.keys(await running()), ['production'])
  })

  await t.test('an approver opens the gate with the token of the run', async (t) => {
    const wrong = { ...dispatch, inputs, env: tokensFor(issuer, 'dev-zhang') }
    const refused = await runs('docs/github.md', 'production.yml', wrong)
    t.notOk(refused.ok)
    t.match(refused.output, 'dev-zhang cannot approve webapi@1.0.0 for production')
    const env = tokensFor(issuer, 'ops-li')
    const opened = await runs('docs/github.md', 'production.yml', { ...dispatch, inputs, env })
    t.ok(opened.ok, 'the workflow ran', { output: opened.output })
    t.match(await running(), { production: '1.0.0' })
  })

  await t.test(
    'the workflows of the README and of docs/webhooks.md run as they stand',
    async (t) => {
      await change('something new')
      const short = await runs('README.md', 'release.yml', { event: 'push' })
      t.ok(short.ok, 'the workflow ran', { output: short.output })
      t.match(await running(), { test: '1.0.1', staging: '1.0.1' })
      const commit = (await run('git', ['rev-parse', 'HEAD'], { cwd: project })).stdout.trim()
      const started = { commit, crosscloud_event_id: 'e1' }
      const asked = await runs('docs/webhooks.md', 'deliver.yml', { ...dispatch, inputs: started })
      t.ok(asked.ok, 'the workflow ran', { output: asked.output })
      t.match(await running(), { test: '1.0.2' })
    },
  )

  await t.test('a second release is rolled back', async (t) => {
    await change('something newer')
    const author = { ...pushed, env: tokensFor(issuer, 'dev-zhang') }
    const done = await runs('docs/github.md', 'deliver.yml', author)
    t.ok(done.ok, 'the workflow ran', { output: done.output })
    const env = tokensFor(issuer, 'ops-li')
    const next = { ...inputs, release: 'webapi@1.0.3' }
    const up = await runs('docs/github.md', 'production.yml', { ...dispatch, inputs: next, env })
    t.ok(up.ok, 'the workflow ran', { output: up.output })
    t.match(await running(), { production: '1.0.3' })
    const why = { reason: 'orders fail' }
    const back = await runs('docs/github.md', 'rollback.yml', { ...dispatch, inputs: why, env })
    t.ok(back.ok, 'the workflow ran', { output: back.output })
    t.match(await running(), { production: '1.0.0' })
  })

  t.strictSame(
    written.filter(({ text }) => !ran.has(text)).map(({ page, file }) => `${page}: ${file}`),
    [],
    'no workflow was left out',
  )
}
