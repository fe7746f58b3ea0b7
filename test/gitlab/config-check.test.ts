import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { makeRepository, runGitlab } from '../support/ci/gitlab.ts'

t.setTimeout(280_000)

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** A team's repository, checked by the program itself as a job of a merge request. */
async function check(t: Test, inputs: Record<string, unknown>, test = 'greeting: hello') {
  const folder = t.testdir({})
  const values = (text: string) => `webapi: { ${text} }\n`
  await makeRepository(folder, {
    setup: { command: `${process.execPath} ${MAIN}` },
    includes: [['config-check', inputs]],
    files: {
      'crosscloud.yml': `app: webapi
# A job of a merge request does not get this variable, and needs no ledger.
ledger: mysql://crosscloud:\${LEDGER_PASSWORD}@127.0.0.1:1/ledger
environments:
  test: { image: registry.test/webapi, config: file:config/test.yaml }
  production: { image: registry.test/webapi, config: file:config/production.yaml }
  away: { image: registry.test/webapi, config: redis://127.0.0.1:1/0 }
`,
      'config/test.yaml': values(test),
      'config/production.yaml': values('greeting: good day'),
      'deploy/conf.d/app.toml':
        '[template]\nsrc = "app.hbs"\ndest = "/etc/app.conf"\nkeys = ["/webapi/greeting"]\n',
      'deploy/templates/app.hbs': 'greeting={{getv "/webapi/greeting"}}\n',
    },
  })
  const request = ['--variable', 'CI_MERGE_REQUEST_IID=12']
  const { ok, output } = await runGitlab(folder, [...request, 'config-check'])
  const report = (name: string) => readFile(join(folder, `crosscloud-config-${name}.xml`), 'utf8')
  return { folder, ok, output, report }
}

t.test('each environment is checked, and all of them together', async (t) => {
  const { ok, output, report, folder } = await check(t, { environments: 'test production' })
  t.ok(ok, output)
  t.match(output, 'Config of production is complete')
  for (const name of ['test', 'production', 'lint']) {
    t.match(await report(name), 'tests="1" failures="0"', name)
  }
  const push = await runGitlab(folder, ['--list-json'])
  t.match(JSON.parse(push.stdout), [{ when: 'never' }], 'not for a push without a merge request')
})

t.test('what is wrong is in the report, and the others are still checked', async (t) => {
  const { ok, report } = await check(t, { environments: 'test production' }, 'db: x')
  t.notOk(ok)
  t.match(await report('test'), /<failure message="[^"]*\/webapi\/greeting is missing in test/)
  t.match(await report('production'), 'failures="0"')
  t.match(await report('lint'), '<failure ')
})

t.test('a warning is an error where that is wanted', async (t) => {
  const inputs = { environments: 'test production', strict: 'true' }
  const { ok, report } = await check(t, inputs, 'greeting: hello, unused: x')
  t.notOk(ok)
  t.match(await report('lint'), /<failure [^>]*>[^<]*\/webapi\/unused/)
})

t.test('a failure may be allowed', async (t) => {
  const away = await check(t, { environments: 'away', 'allow-failure': true })
  t.ok(away.ok, away.output)
  t.match(await away.report('away'), '<failure ')
})

t.test('an environment cannot be a script', async (t) => {
  const folder = t.testdir({})
  const environments = 'test; touch pwned'
  await makeRepository(folder, { includes: [['config-check', { environments }]] })
  const { ok, output } = await runGitlab(folder, ['--list-json'])
  t.notOk(ok)
  t.match(output, 'environments')
})
