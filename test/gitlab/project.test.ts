import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startGitlab, startPrism, type TestGitlab, TOKEN } from '../support/platforms/gitlab.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.setTimeout(120_000)

const SETTINGS = `app: webapi
environments:
  test: { image: registry.test/webapi, url: https://test.example.com }
  production: { from: test, image: registry.test/webapi }
gitlab:
  url: URL
  project: team/webapi
  environments:
    production:
      deployers: [maintainer, "group:team/ops"]
      approvals: [{ by: "user:ops-li", required: 2 }]
  variables:
    LEDGER_PASSWORD: { value: "\${LEDGER}", environment: production }
    GREETING: { value: hi, masked: false, protected: false }
  branches: [{ name: main, push: nobody, merge: maintainer }]
  tags: [{ name: "v*" }]
  webhook: { url: https://hooks.example.com/gitlab, secret: "\${HOOK}", events: [push, tag] }
`
const SECRETS = { LEDGER: 'pass-word-1', HOOK: 'hook-secret-of-the-test' }

async function project(t: Test, gitlab: TestGitlab, url = gitlab.url) {
  const cwd = await temporaryFolder(t)
  const configure = (edit: (text: string) => string = (text) => text) =>
    writeFile(join(cwd, 'crosscloud.yml'), edit(SETTINGS.replace('URL', url)))
  await configure()
  const run = (args: string[], variables: object = {}) =>
    runHere(['gitlab', ...args], {
      cwd,
      variables: { GITLAB_TOKEN: TOKEN, ...SECRETS, ...variables },
    })
  return { configure, run }
}

t.test('the project is set up once, behind GitLab’s own API description', async (t) => {
  const gitlab = await startGitlab(t, { project: 'team/webapi' })
  gitlab.tables.resource_groups?.push({ id: 1, key: 'production', process_mode: 'unordered' })
  gitlab.tables.environments?.push({ id: 3, name: 'theirs', state: 'available', tier: 'other' })
  const prism = await startPrism(t, gitlab.url)
  const { configure, run } = await project(t, gitlab, prism.url)

  const plan = await run(['plan'])
  t.equal(plan.code, 0, `${plan.stderr}${prism.log()}`)
  t.match(plan.stdout, /^\+ environment test$/m)
  t.match(plan.stdout, /^\+ variable LEDGER_PASSWORD for production$/m)
  t.match(plan.stdout, /^~ resource group production: mode: unordered → oldest_first$/m)
  t.match(plan.stdout, /^9 changes to make\.$/m)
  t.same(gitlab.changes, [], 'a plan changes nothing')

  const applied = await run(['apply'])
  t.equal(applied.code, 0, `${applied.stderr}${prism.log()}`)
  t.match(applied.stdout, /^team\/webapi: 9 changes done\.$/m)
  t.match(gitlab.tables.environments, [
    { name: 'theirs' },
    { name: 'test', tier: 'testing', external_url: 'https://test.example.com' },
    { name: 'production', tier: 'production' },
  ])
  t.match(gitlab.tables.protected_environments, [
    {
      name: 'production',
      deploy_access_levels: [{ group_id: 9 }, { access_level: 40 }],
      approval_rules: [{ user_id: 7, required_approvals: 2 }],
    },
  ])
  const before = gitlab.changes.length
  const again = await run(['apply'])
  t.match(again, { code: 0, stdout: /^team\/webapi is as it shall be\.$/m })
  t.equal(gitlab.changes.length, before, 'the second time nothing is sent')

  await t.test('what somebody changed by hand is put right', async (t) => {
    Object.assign(gitlab.tables.environments?.[1] ?? {}, { external_url: 'https://other' })
    const [password] = gitlab.tables.variables?.filter(({ key }) => key === 'LEDGER_PASSWORD') ?? []
    Object.assign(password ?? {}, { value: 'changed-by-hand' })
    const [main] = gitlab.tables.protected_branches ?? []
    Object.assign(main ?? {}, { push_access_levels: [{ access_level: 30 }] })
    const [production] = gitlab.tables.protected_environments ?? []
    Object.assign(production ?? {}, { approval_rules: [] })
    const repaired = await run(['apply'])
    t.equal(repaired.code, 0, `${repaired.stderr}${prism.log()}`)
    t.match(repaired.stdout, '~ environment test: url: https://other → https://test.example.com')
    t.match(repaired.stdout, '~ variable LEDGER_PASSWORD for production: value: another one')
    t.match(repaired.stdout, '~ protected branch main: push: 30 → 0')
    t.match(repaired.stdout, /~ protected environment production: approvals: \[\] → /)
    t.match(await run(['plan']), { stdout: 'Nothing to change.\n' })
    t.match(password && gitlab.tables.variables?.find(({ key }) => key === 'LEDGER_PASSWORD'), {
      value: SECRETS.LEDGER,
      environment_scope: 'production',
    })
  })

  await t.test('only what crosscloud made is deleted, and only when asked', async (t) => {
    await configure((text) =>
      text
        .replace(/^ {4}GREETING.*\n/m, '')
        .replace(/^ {2}test: .*\n/m, '')
        .replace('from: test, ', ''),
    )
    const plan = await run(['apply'])
    t.match(
      plan.stdout,
      /! variable GREETING is not asked for any more; `crosscloud gitlab apply --prune` deletes it/,
    )
    const pruned = await run(['apply', '--prune'])
    t.equal(pruned.code, 0, `${pruned.stderr}${prism.log()}`)
    t.match(pruned.stdout, /^- environment test$/m)
    t.match(pruned.stdout, /^- variable GREETING$/m)
    const names = gitlab.tables.environments?.map(({ name }) => name)
    t.same(names, ['theirs', 'production'], 'what others made stays')
    t.match(await run(['apply', '--prune']), { stdout: /is as it shall be/ })
  })

  await t.test('secrets are set again when asked, and never shown', async (t) => {
    const withSecrets = await run(['apply', '--secrets', '--json'])
    t.match(JSON.parse(withSecrets.stdout), {
      actions: [{ do: 'change', kind: 'webhook', changes: ['token: set again'] }],
    })
    t.notMatch(`${plan.all}${applied.all}${withSecrets.all}`, /pass-word-1|hook-secret-1|glpat/)
  })
  t.notMatch(prism.log(), /Violation/, 'every request and response fits the description')
})

t.test('a run that was cut off is finished by the next run', async (t) => {
  const gitlab = await startGitlab(t, { project: 'team/webapi' })
  const { run } = await project(t, gitlab)
  gitlab.dieAfter(4)
  const cut = await run(['apply'])
  t.equal(cut.code, 75)
  t.match(cut.all, /3 of 8 are done; run it again to go on/)
  gitlab.dieAfter(Number.POSITIVE_INFINITY)
  t.match(await run(['apply']), { code: 0, stdout: /5 changes done/ })
  t.match(await run(['apply']), { code: 0, stdout: /is as it shall be/ })
  const [own] = gitlab.tables.variables?.filter(({ key }) => key === 'CROSSCLOUD_MANAGED') ?? []
  t.equal(JSON.parse(String(own?.value)).length, 8, 'all of it is known as ours')
})

t.test('what GitLab returns in another form, or not at all, is left as it is', async (t) => {
  const gitlab = await startGitlab(t, { project: 'team/webapi' })
  const { run } = await project(t, gitlab)
  t.match(await run(['apply']), { code: 0 })
  const [, production] = gitlab.tables.environments ?? []
  Object.assign(production ?? {}, { external_url: 'https://set-by-a-job.example.com' })
  const secret = gitlab.tables.variables?.find(({ key }) => key === 'LEDGER_PASSWORD')
  Object.assign(secret ?? {}, { value: null, hidden: true })
  t.match(await run(['plan']), { stdout: 'Nothing to change.\n' })
})

t.test('a branch does not stay unprotected when GitLab fails in between', async (t) => {
  const gitlab = await startGitlab(t, { project: 'team/webapi' })
  const { run } = await project(t, gitlab)
  t.match(await run(['apply']), { code: 0 })
  const [main] = gitlab.tables.protected_branches ?? []
  Object.assign(main ?? {}, { push_access_levels: [{ access_level: 30 }] })
  gitlab.failAt('POST protected_branches', 500)
  t.match(await run(['apply']), { code: 0, stdout: /1 change done/ })
  t.match(gitlab.tables.protected_branches, [
    { name: 'main', push_access_levels: [{ access_level: 0 }] },
  ])
})

t.test('without a licence for protected environments the rest is done', async (t) => {
  const gitlab = await startGitlab(t, { project: 'team/webapi', premium: false })
  const { run } = await project(t, gitlab)
  const applied = await run(['apply'])
  t.match(applied, { code: 0, stdout: /^! this GitLab has no protected environments/m })
  t.match(applied.stdout, /7 changes done/)
})

t.test('errors are reported, and what may pass is tried again', async (t) => {
  const gitlab = await startGitlab(t, { project: 'team/webapi' })
  const { run, configure } = await project(t, gitlab)
  gitlab.failing.push(502, 429, 500)
  t.match(await run(['plan']), { code: 0 })
  gitlab.failing.push(403)
  t.match(await run(['plan']), { code: 1, stderr: /the token may not do that[\s\S]*maintainer/ })
  t.match(await run(['plan'], { GITLAB_TOKEN: 'wrong-token-1' }), {
    code: 1,
    stderr: /GitLab does not know the token/,
  })
  t.match(await run(['plan'], { GITLAB_TOKEN: '' }), { code: 1, stderr: /GITLAB_TOKEN is not set/ })
  await configure((text) => text.replace('team/webapi', 'team/nothing'))
  t.match(await run(['plan']), { code: 1, stderr: /opening team\/nothing: GitLab has no such/ })
  await configure((text) => text.replace(gitlab.url, 'http://127.0.0.1:1'))
  t.match(await run(['plan']), { code: 75, stderr: /does not answer/ })
  await configure((text) =>
    text.replace('production:\n      deployers', 'nowhere:\n      deployers'),
  )
  const unknown = await run(['plan'], { LEDGER: 'short' })
  t.equal(unknown.code, 2)
  t.match(unknown.stderr, /there is no environment "nowhere"; known: test, production/)
  t.match(unknown.stderr, /LEDGER_PASSWORD: GitLab masks only values of 8/)
  t.same(gitlab.changes, [])
})
