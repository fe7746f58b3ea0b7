import { spawnSync } from 'node:child_process'
import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { makeRepository, runGitlab, template } from '../support/gitlab.ts'

t.setTimeout(120_000)
/** gitlab-ci-local hands values and files from job to job with it. */
const skip = spawnSync('rsync', ['--version']).error ? 'rsync is not installed' : false

/** Stands in for crosscloud: writes its call down, and the outputs that the real one would give. */
const STAND_IN = `import { appendFileSync, existsSync, writeFileSync } from 'node:fs'
const [step] = process.argv.slice(2)
const { env } = process
const given = Object.entries(env).filter(([name, value]) => /^CROSSCLOUD_/.test(name) && value)
appendFileSync('calls.log', JSON.stringify({
  args: process.argv.slice(2),
  variables: Object.fromEntries(given.filter(([name]) => name !== 'CROSSCLOUD_COMMAND')),
}) + '\\n')
if (existsSync('fail-' + step)) process.exit(75)
const outputs = {
  'build-war': { WAR: 'target/webapi.war', COMMIT: 'c0ffee' },
  'bake-image': { VERSION: '1.0.0', IMAGE_FOLDER: '.crosscloud/image' },
  'push-image': { RELEASE: 'webapi@1.0.0' },
  deploy: { RELEASE: 'webapi@1.0.0', URL: 'http://127.0.0.1:8080' },
  'verify-md5': { RELEASE: 'webapi@1.0.0' },
  promote: { RELEASE: 'webapi@1.0.0', URL: 'http://127.0.0.1:8081' },
}[step]
const lines = Object.entries(outputs).map(([name, value]) => 'CROSSCLOUD_' + name + '=' + value)
writeFileSync('crosscloud.env', lines.join('\\n') + '\\n')
`

interface Call {
  args: string[]
  variables: Record<string, string>
}

/** A team's repository with release.yml and, after it, promote.yml for production. */
async function sample(t: Test, inputs: Record<string, unknown> = {}) {
  const folder = t.testdir({ bin: { mvn: '#!/bin/sh\n' } })
  await chmod(join(folder, 'bin', 'mvn'), 0o755)
  const common = { tags: ['docker'], crosscloud: 'node stand-in.mjs' }
  const prefix = typeof inputs['job-prefix'] === 'string' ? inputs['job-prefix'] : ''
  const production = {
    ...common,
    'job-prefix': 'production-',
    'environment-tier': 'production',
    to: 'production',
    needs: [`${prefix}promote-to-staging`],
    rules: [{ when: 'manual', allow_failure: false }],
  }
  const include = (name: string, given: object) => ({
    local: `templates-of-crosscloud/${name}.yml`,
    inputs: given,
  })
  await makeRepository(folder, {
    template: 'release',
    inputs: {},
    files: {
      'templates-of-crosscloud/promote.yml': await readFile(template('promote'), 'utf8'),
      '.gitlab-ci.yml': stringify({
        include: [include('release', { ...common, ...inputs }), include('promote', production)],
      }),
      'stand-in.mjs': STAND_IN,
    },
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

await t.test(
  'a push goes to test, a click to staging, another to production',
  { skip },
  async (t) => {
    const { folder, pipeline, calls } = await sample(t)
    const pushed = await pipeline()
    t.ok(pushed.ok, pushed.output)
    t.strictSame(Object.keys(pushed.jobs), built, 'what waits for a click, and what follows, waits')
    t.match(pushed.output, 'deploy-test environment: { name: test')

    const early = await pipeline('--needs', 'production-promote')
    t.strictSame(early.jobs, {}, 'production waits for the first click')
    t.match(early.output, 'promote-to-staging is when:manual')

    const clicked = await pipeline('--needs', 'promote-to-staging')
    t.ok(clicked.ok, clicked.output)
    t.strictSame(Object.keys(clicked.jobs), [...built, 'promote-to-staging'])
    t.match(clicked.output, 'promote-to-staging environment: { name: staging')

    await rm(join(folder, 'calls.log'))
    const production = await pipeline('production-promote')
    t.ok(production.ok, production.output)
    t.match(await calls(), [
      {
        args: ['promote', '--dotenv', 'crosscloud.env'],
        variables: { CROSSCLOUD_RELEASE: 'webapi@1.0.0', CROSSCLOUD_TO: 'production' },
      },
    ])
  },
)

await t.test('each job gets what it needs, and nothing else decides', { skip }, async (t) => {
  const { pipeline, calls } = await sample(t, { test: 'qa', staging: 'uat' })
  const clicked = await pipeline('--needs', 'promote-to-staging')
  t.ok(clicked.ok, clicked.output)
  const dotenv = ['--dotenv', 'crosscloud.env']
  const release = { CROSSCLOUD_RELEASE: 'webapi@1.0.0' }
  t.strictSame(await calls(), [
    { args: ['build-war', ...dotenv], variables: {} },
    {
      args: ['bake-image', '--version', 'next', ...dotenv],
      variables: { CROSSCLOUD_WAR: 'target/webapi.war', CROSSCLOUD_COMMIT: 'c0ffee' },
    },
    {
      args: ['push-image', ...dotenv],
      variables: {
        CROSSCLOUD_ENV: 'qa',
        CROSSCLOUD_IMAGE_FOLDER: '.crosscloud/image',
        CROSSCLOUD_VERSION: '1.0.0',
      },
    },
    { args: ['deploy', ...dotenv], variables: { CROSSCLOUD_ENV: 'qa', ...release } },
    {
      args: ['verify-md5', ...dotenv],
      variables: { CROSSCLOUD_ENV: 'qa', CROSSCLOUD_URL: 'http://127.0.0.1:8080', ...release },
    },
    { args: ['promote', ...dotenv], variables: { CROSSCLOUD_TO: 'uat', ...release } },
  ])
})

await t.test(
  'a job that fails stops the road; other branches do not set out',
  { skip },
  async (t) => {
    const { folder, pipeline, calls } = await sample(t, { 'job-prefix': 'webapi-' })
    await writeFile(join(folder, 'fail-deploy'), '')
    const failed = await pipeline()
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
