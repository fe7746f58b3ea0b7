import { spawnSync } from 'node:child_process'
import { chmod, readFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import t from 'tap'
import { makeRepository, runGitlab } from '../support/ci/gitlab.ts'

t.setTimeout(280_000)
/** gitlab-ci-local hands values and files from job to job with it. */
const skip = spawnSync('rsync', ['--version']).error ? 'rsync is not installed' : false

/** Stands in for crosscloud: writes its call down, and the outputs that the real one would give. */
const STAND_IN = `import { appendFileSync, writeFileSync } from 'node:fs'
const { env, argv } = process
const given = Object.entries(env).filter(([name, value]) => /^CROSSCLOUD_/.test(name) && value)
appendFileSync('calls.log', JSON.stringify({ args: argv.slice(2), variables: Object.fromEntries(given) }) + '\\n')
const outputs = {
  'build-war': 'CROSSCLOUD_WAR=target/webapi.war\\n',
  'bake-image': 'CROSSCLOUD_IMAGE_FOLDER=.crosscloud/image\\n',
  'push-image': 'CROSSCLOUD_RELEASE=webapi@0.0.0-mr12.1\\n',
}
writeFileSync('crosscloud.env', outputs[argv[2]] ?? '')
`

t.test('a merge request is deployed for itself, and removed', { skip }, async (t) => {
  const folder = t.testdir({ bin: { mvn: '#!/bin/sh\n' } })
  await chmod(join(folder, 'bin', 'mvn'), 0o755)
  await makeRepository(folder, {
    setup: { command: `${process.execPath} ${join(folder, 'stand-in.mjs')}` },
    includes: [['review', {}]],
    files: { 'stand-in.mjs': STAND_IN },
  })
  const env = { PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH}` }
  const pipeline = (...args: string[]) => runGitlab(folder, args, env)
  const request = ['--variable', 'CI_MERGE_REQUEST_IID=12', '--variable', 'CI_PIPELINE_ID=3456']
  const calls = async () => {
    const lines = (await readFile(join(folder, 'calls.log'), 'utf8')).trim().split('\n')
    return lines.map((line) => JSON.parse(line))
  }

  const push = await pipeline('--list-json')
  t.ok(push.ok, push.output)
  for (const { name, when } of JSON.parse(push.stdout)) {
    t.equal(when, 'never', `${name}: not for a push without a merge request`)
  }

  const opened = await pipeline(...request, '--needs', 'review-deploy')
  t.ok(opened.ok, opened.output)
  t.strictSame(
    Object.keys(opened.jobs),
    ['build-war', 'bake-image', 'push-image', 'deploy'].map((name) => `review-${name}`),
  )
  t.match(opened.output, 'review-deploy environment: { name: review/main')
  const dotenv = ['--dotenv', 'crosscloud.env']
  const all = { CROSSCLOUD_REVIEW: '12' }
  const found = await calls()
  t.strictSame(found.slice(0, 2), [
    { args: ['build-war', ...dotenv], variables: all },
    {
      args: ['bake-image', ...dotenv],
      variables: {
        ...all,
        CROSSCLOUD_WAR: 'target/webapi.war',
        CROSSCLOUD_VERSION: '0.0.0-mr12.3456',
      },
    },
  ])
  t.match(found.slice(2), [
    { args: ['push-image', ...dotenv], variables: { ...all, CROSSCLOUD_ENV: 'review' } },
    {
      args: ['deploy', ...dotenv],
      variables: {
        ...all,
        CROSSCLOUD_ENV: 'review',
        CROSSCLOUD_LOCK_WAIT: '10m',
        CROSSCLOUD_RELEASE: 'webapi@0.0.0-mr12.1',
      },
    },
  ])

  const stopped = await pipeline(...request, 'review-stop')
  t.ok(stopped.ok, stopped.output)
  t.match((await calls()).at(-1), {
    args: ['instances', 'rm', '--yes'],
    variables: { ...all, CROSSCLOUD_ENV: 'review', CROSSCLOUD_LOCK_WAIT: '10m' },
  })

  const preview = await pipeline('--preview')
  t.match(preview.stdout, /on_stop: review-stop[\s\S]*auto_stop_in: 3 days/)
})
