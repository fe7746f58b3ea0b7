import { spawnSync } from 'node:child_process'
import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import t, { type Test } from 'tap'
import { type Include, makeRepository, runGitlab } from '../support/ci/gitlab.ts'

t.setTimeout(280_000)
/** gitlab-ci-local hands values and files from job to job with it. */
const skip = spawnSync('rsync', ['--version']).error ? 'rsync is not installed' : false

/** Stands in for crosscloud: writes its call down, and the outputs that the real one would give. */
const STAND_IN = `import { appendFileSync, existsSync, writeFileSync } from 'node:fs'
const [step] = process.argv.slice(2)
const { env } = process
const given = Object.entries(env).filter(([name, value]) => /^CROSSCLOUD_/.test(name) && value)
appendFileSync('calls.log', JSON.stringify({
  args: process.argv.slice(2),
  variables: Object.fromEntries(given.filter(([name]) => !/_CACHE$|_LOCAL_REPOSITORY$/.test(name))),
}) + '\\n')
if (existsSync('fail-' + step)) process.exit(75)
const outputs = {
  'build-war': { WAR: 'target/webapi.war', COMMIT: 'c0ffee' },
  'bake-image': { VERSION: '1.0.0', IMAGE_FOLDER: '.crosscloud/image' },
  'push-image': { RELEASE: 'webapi@1.0.0' },
  deploy: { RELEASE: 'webapi@1.0.0', URL: 'http://127.0.0.1:8080' },
  'verify-md5': { RELEASE: 'webapi@1.0.0' },
  promote: { RELEASE: 'webapi@1.0.0' },
  approve: { RELEASE: 'webapi@1.0.0' },
  rollback: { RELEASE: 'webapi@0.9.0' },
  hosts: {}, lock: {}, unlock: {}, mark: {}, config: {},
}[step]
const lines = Object.entries(outputs).map(([name, value]) => 'CROSSCLOUD_' + name + '=' + value)
writeFileSync('crosscloud.env', lines.join('\\n') + '\\n')
`

interface Call {
  args: string[]
  variables: Record<string, string>
}

/** A team's repository: a push to test, then staging, then production behind a gate. */
async function sample(t: Test, inputs: Record<string, unknown> = {}) {
  const folder = t.testdir({ bin: { mvn: '#!/bin/sh\n' } })
  await chmod(join(folder, 'bin', 'mvn'), 0o755)
  const prefix = typeof inputs['job-prefix'] === 'string' ? inputs['job-prefix'] : ''
  const environment = (name: string, after: string, more: object = {}): Include => [
    'environment',
    { environment: name, after: `${prefix}${after}`, 'job-prefix': prefix, ...more },
  ]
  await makeRepository(folder, {
    setup: { command: `${process.execPath} ${join(folder, 'stand-in.mjs')}` },
    includes: [
      ['release', inputs],
      environment('staging', 'verify-test'),
      environment('production', 'verify-staging', { gate: 'true', tier: 'production' }),
    ],
    files: { 'stand-in.mjs': STAND_IN },
  })
  return {
    folder,
    pipeline: (...args: string[]) =>
      runGitlab(folder, args, { PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH}` }),
    async calls(): Promise<Call[]> {
      const lines = (await readFile(join(folder, 'calls.log'), 'utf8')).trim().split('\n')
      return lines.map((line) => JSON.parse(line))
    },
  }
}

const built = ['build-war', 'bake-image', 'push-image', 'deploy-test', 'verify-test']
const staged = ['promote-to-staging', 'deploy-staging', 'verify-staging']
// gitlab-ci-local runs a whole pipeline only when every click in it is named.
const push = ['--needs', 'verify-test']
const clicks = (...jobs: string[]) => jobs.flatMap((job) => ['--manual', job])

await t.test(
  'a push goes to test, a click to staging, and a gate stands before production',
  { skip },
  async (t) => {
    const { pipeline } = await sample(t)
    const pushed = await pipeline(...push)
    t.ok(pushed.ok, pushed.output)
    t.strictSame(Object.keys(pushed.jobs), built)
    t.match(pushed.output, 'deploy-test environment: { name: test')

    const early = await pipeline('--needs', 'deploy-staging')
    t.strictSame(early.jobs, {}, 'staging waits for its click')
    t.match(early.output, 'promote-to-staging is when:manual')
    const click = ['--needs', 'verify-staging', ...clicks('promote-to-staging')]
    const clicked = await pipeline(...click)
    t.ok(clicked.ok, clicked.output)
    t.strictSame(Object.keys(clicked.jobs), [...built, ...staged], 'and goes on by itself')
    t.match(clicked.output, 'deploy-staging environment: { name: staging')

    const manual = clicks('promote-to-staging', 'promote-to-production')
    const closed = await pipeline('--needs', 'deploy-production', ...manual)
    t.strictSame(closed.jobs, {}, 'nothing passes the gate by itself')
    t.match(closed.output, 'gate-production is when:manual')
    const opened = await pipeline(
      ...['--needs', 'verify-production'],
      ...clicks('promote-to-staging', 'promote-to-production', 'gate-production'),
    )
    t.ok(opened.ok, opened.output)
    const last = ['promote-to-production', 'gate-production', 'deploy-production']
    t.strictSame(Object.keys(opened.jobs), [...built, ...staged, ...last, 'verify-production'])
  },
)

await t.test('each job gets what it needs, and nothing else decides', { skip }, async (t) => {
  const { pipeline, calls } = await sample(t, { test: 'qa' })
  const clicked = await pipeline(
    ...['--needs', 'verify-production', '--manual', 'rollback-production'],
    ...clicks('promote-to-staging', 'promote-to-production', 'gate-production'),
  )
  t.ok(clicked.ok, clicked.output)
  const dotenv = ['--dotenv', 'crosscloud.env']
  const release = { CROSSCLOUD_RELEASE: 'webapi@1.0.0' }
  const url = { CROSSCLOUD_URL: 'http://127.0.0.1:8080' }
  const at = (environment: string) => ({
    CROSSCLOUD_ENV: environment,
    CROSSCLOUD_LOCK_WAIT: '10m',
    ...release,
  })
  const toward = (environment: string) => [
    {
      args: ['promote', ...dotenv],
      variables: { ...at(environment), CROSSCLOUD_TO: environment, CROSSCLOUD_DEPLOY: 'false' },
    },
    ...(environment === 'production'
      ? [{ args: ['approve', ...dotenv], variables: at(environment) }]
      : []),
    { args: ['deploy', ...dotenv], variables: at(environment) },
    {
      args: ['verify-md5', ...dotenv, '--junit', 'crosscloud-verify.xml'],
      variables: { ...at(environment), ...url },
    },
  ]
  t.strictSame(await calls(), [
    { args: ['build-war', ...dotenv], variables: {} },
    {
      args: ['bake-image', ...dotenv],
      variables: {
        CROSSCLOUD_VERSION: 'next',
        CROSSCLOUD_WAR: 'target/webapi.war',
        CROSSCLOUD_COMMIT: 'c0ffee',
      },
    },
    {
      args: ['push-image', ...dotenv],
      variables: {
        CROSSCLOUD_ENV: 'qa',
        CROSSCLOUD_IMAGE_FOLDER: '.crosscloud/image',
        CROSSCLOUD_VERSION: '1.0.0',
      },
    },
    { args: ['deploy', ...dotenv], variables: at('qa') },
    {
      args: ['verify-md5', ...dotenv, '--junit', 'crosscloud-verify.xml'],
      variables: { CROSSCLOUD_ENV: 'qa', ...url, ...release },
    },
    ...toward('staging'),
    ...toward('production'),
  ])
})

await t.test('rollback and stop are jobs that a person starts', { skip }, async (t) => {
  const { pipeline, calls } = await sample(t)
  const back = await pipeline('rollback-production')
  t.ok(back.ok, back.output)
  const stop = await pipeline('stop-production')
  t.ok(stop.ok, stop.output)
  t.match(await calls(), [
    {
      args: ['rollback', '--dotenv', 'crosscloud.env'],
      variables: { CROSSCLOUD_ENV: 'production', CROSSCLOUD_REASON: /^rolled back by a click, / },
    },
    {
      args: ['instances', 'stop'],
      variables: { CROSSCLOUD_ENV: 'production', CROSSCLOUD_REASON: /^stopped by a click, / },
    },
  ])
})

await t.test('one manual job does what a person names in its variables', { skip }, async (t) => {
  const { pipeline, calls } = await sample(t)
  const operate = (given: Record<string, string>) => {
    const variables = { CROSSCLOUD_REASON: 'a "reason" $(touch pwned)', ...given }
    const flags = Object.entries(variables).flatMap(([name, value]) => [
      ...['--variable', `${name}=${value}`],
    ])
    return pipeline('operate-production', ...flags)
  }
  const to = ['--env', 'production', '--reason', 'a "reason" $(touch pwned)']
  const key = { CROSSCLOUD_KEY: '/webapi/greeting', CROSSCLOUD_VALUE: '*; touch pwned' }
  const table: [string, Record<string, string>, string[]][] = [
    ['unlock --force', {}, ['unlock', '--force', ...to]],
    ['config set', key, ['config', 'set', ...to, '--', ...Object.values(key)]],
  ]
  for (const [what, given] of table) {
    const done = await operate({ CROSSCLOUD_DO: what, ...given })
    t.match(done.jobs, { 'operate-production': 'PASS' }, what)
  }
  t.strictSame(
    (await calls()).map(({ args }) => args),
    table.map(([, , args]) => args),
  )
  const unknown = await operate({ CROSSCLOUD_DO: 'hosts stop; touch pwned' })
  t.match(unknown.output, /which this job cannot do/)
  t.notMatch(unknown.jobs, { 'operate-production': 'PASS' })
  t.equal((await calls()).length, table.length, 'and nothing was called')
})

await t.test(
  'a failed job stops the pipeline; other branches start nothing',
  { skip },
  async (t) => {
    const { folder, pipeline, calls } = await sample(t, { 'job-prefix': 'webapi-' })
    await writeFile(join(folder, 'fail-deploy'), '')
    const failed = await pipeline('--needs', 'webapi-verify-test')
    t.notOk(failed.ok)
    t.strictSame(failed.jobs, {
      'webapi-build-war': 'PASS',
      'webapi-bake-image': 'PASS',
      'webapi-push-image': 'PASS',
      'webapi-deploy-test': 'FAIL',
    })
    t.equal((await calls()).at(-1)?.args[0], 'deploy')

    await rm(join(folder, 'calls.log'))
    const elsewhere = await pipeline('--variable', 'CI_COMMIT_BRANCH=feature')
    t.strictSame(elsewhere.jobs, {}, elsewhere.output)
    await t.rejects(calls(), { code: 'ENOENT' })
  },
)
