import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { defaultLedger, type ProcessEnvironment } from '../../src/ledger/place.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

const gitlab = {
  GITLAB_CI: 'true',
  CI_SERVER_HOST: 'gitlab.example.com',
  CI_PROJECT_ID: '42',
  CI_PROJECT_DIR: '/builds/team/webapi',
}
const github = {
  GITHUB_ACTIONS: 'true',
  GITHUB_SERVER_URL: 'https://github.example.com:8443',
  GITHUB_REPOSITORY: 'team/webapi',
  GITHUB_WORKSPACE: '/work/webapi',
}
const jenkins = {
  JENKINS_URL: 'https://ci.example.com/jenkins/',
  JOB_NAME: 'team/webapi',
  WORKSPACE: '/var/jenkins/workspace/webapi',
}

const place = (
  variables: ProcessEnvironment['variables'],
  more: Partial<ProcessEnvironment> = {},
) =>
  defaultLedger({
    variables,
    folder: '/builds/team/webapi',
    container: false,
    stateFolder: '/home/ci/.local/state/crosscloud',
    ...more,
  })
const kept = (path: string) => `/home/ci/.local/state/crosscloud/ledgers/${path}`

t.test("a person's ledger is beside crosscloud.yml", async (t) => {
  for (const container of [true, false]) {
    t.equal(place({}, { container }), '/builds/team/webapi/.crosscloud/ledger.db')
  }
})

t.test("a job's is in the home of the runner's user, one for each project", async (t) => {
  t.equal(place(gitlab), kept('gitlab.example.com/42.db'))
  t.equal(place(github), kept('github.example.com%3A8443/team%2Fwebapi.db'))
  t.equal(place({ ...github, GITHUB_REPOSITORY_ID: '7' }), kept('github.example.com%3A8443/7.db'))
  t.equal(place(jenkins), kept('ci.example.com/team%2Fwebapi.db'))
})

t.test('a shell runner that itself lives in a container keeps its home', async (t) => {
  const shell = { ...gitlab, CI_SHARED_ENVIRONMENT: 'true' }
  t.equal(place(shell, { container: true }), kept('gitlab.example.com/42.db'))
})

t.test('all branches of a multibranch job of Jenkins have one', async (t) => {
  for (const branch of ['main', 'feature%2Fx']) {
    const job = { ...jenkins, JOB_NAME: `team/webapi/${branch}`, BRANCH_NAME: branch }
    t.equal(place(job), kept('ci.example.com/team%2Fwebapi.db'))
  }
})

t.test('a project cannot be named into another folder', async (t) => {
  const path = place({ ...gitlab, CI_SERVER_HOST: '../..', CI_PROJECT_ID: '../../x' })
  t.equal(path, kept('%2F../%2F..%2Fx.db'), 'each is one name')
})

t.test('where nothing is kept, the hint names the two lines to write', async (t) => {
  for (const [why, variables, more] of [
    ['thrown away', { ...gitlab, CI_DISPOSABLE_ENVIRONMENT: 'true' }, {}],
    ['thrown away', { ...github, RUNNER_ENVIRONMENT: 'github-hosted' }, {}],
    ['thrown away', jenkins, { container: true }],
    ['thrown away', gitlab, { container: true }],
    ['thrown away', { ...gitlab, CI_PROJECT_ID: undefined }, {}],
    ['in the checkout', gitlab, { stateFolder: '/builds/team/webapi/state' }],
    ['in the checkout', gitlab, { stateFolder: 'state' }],
    ['has no home', { ...gitlab, CI_SHARED_ENVIRONMENT: 'true' }, { stateFolder: undefined }],
  ] as const) {
    t.throws(
      () => place(variables, more),
      { code: 'INPUT_INVALID', message: why, hint: /^ {2}ledger:\n {4}url: mysql:/m },
      JSON.stringify(variables),
    )
  }
})

t.test('on GitHub, whose actions have no SQLite, the hint names only the database', async (t) => {
  const hintOf = (variables: ProcessEnvironment['variables']) => {
    try {
      return place(variables)
    } catch (error) {
      return `${(error as { hint?: string }).hint}`
    }
  }
  const hosted = hintOf({ ...github, RUNNER_ENVIRONMENT: 'github-hosted' })
  t.match(hosted, 'url: mysql:')
  t.notMatch(hosted, 'CROSSCLOUD_STATE')
  t.match(hintOf({ ...gitlab, CI_DISPOSABLE_ENVIRONMENT: 'true' }), 'CROSSCLOUD_STATE')
})

t.test('a mounted folder in CROSSCLOUD_STATE is kept, in a container too', async (t) => {
  const variables = { ...gitlab, CI_DISPOSABLE_ENVIRONMENT: 'true', CROSSCLOUD_STATE: '/state' }
  const path = place(variables, { container: true, stateFolder: '/state' })
  t.equal(path, '/state/ledgers/gitlab.example.com/42.db')
})

t.test('the first job of a pipeline says it, before Maven is asked for anything', async (t) => {
  const cwd = await temporaryFolder(t)
  const settings = (more: string) =>
    writeFile(join(cwd, 'crosscloud.yml'), `app: webapi\nwar: { path: target/webapi.war }\n${more}`)
  const build = async (variables: Record<string, string>) =>
    runHere(['build-war', '--maven', join(cwd, 'no-maven')], { cwd, variables })
  const disposable = { ...gitlab, CI_DISPOSABLE_ENVIRONMENT: 'true' }
  const environments = 'environments: { test: { image: registry.test/webapi } }\n'
  await settings(environments)
  t.match(await build(disposable), { code: 2, stderr: /names no ledger.*\n.*\n {2}ledger:\n/ })
  const locked = await build({
    ...gitlab,
    CI_SHARED_ENVIRONMENT: 'true',
    HOME: join(cwd, 'crosscloud.yml'),
  })
  t.match(locked, {
    code: 2,
    stderr: /names no ledger.*ENOTDIR.*crosscloud.yml.*\n.*\n {2}ledger:\n/,
  })
  t.match((await build({})).stderr, 'no such program', 'elsewhere Maven is started')
  await settings(`${environments}ledger: mysql://crosscloud@db.example.com/crosscloud\n`)
  t.match((await build(disposable)).stderr, 'no such program', 'with a ledger, too')
  await settings('')
  t.match((await build(disposable)).stderr, 'no such program', 'and where nothing is deployed')
})

t.test('a new ledger in this folder is reported as new', async (t) => {
  const cwd = await temporaryFolder(t)
  const image = 'environments: { test: { image: registry.test/webapi } }'
  await writeFile(join(cwd, 'crosscloud.yml'), `app: webapi\n${image}\n`)
  const look = () => runHere(['status'], { cwd, variables: {} })
  const first = await look()
  t.match(first.stderr + first.stdout, `new ledger: ${join(cwd, '.crosscloud', 'ledger.db')}`)
  const second = await look()
  t.notMatch(second.stderr + second.stdout, 'new ledger')
})
