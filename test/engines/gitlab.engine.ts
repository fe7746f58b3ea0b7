import { chmod, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parseDocument } from 'yaml'
import { run } from '../../src/core/process/process.ts'
import { expandPipeline } from '../support/ci/gitlab-pipeline.ts'
import { missingProgram } from '../support/servers/server.ts'
import { createDemo } from '../support/setups/demo.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { createRunner, type JobRun, type RunnerOptions } from './gitlab-runner.ts'

t.setTimeout(590_000)

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = join(ROOT, 'dist/cli/main.js')
const TO_TEST = ['build-war', 'bake-image', 'push-image', 'deploy-test', 'verify-test']
const TO_STAGING = ['promote-to-staging', 'deploy-staging', 'verify-staging']

/** The `.gitlab-ci.yml` that a page shows, as it stands there. */
async function pipelineOf(page: string): Promise<string> {
  const text = await readFile(join(ROOT, page), 'utf8')
  const blocks = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block)
  const found = blocks.find((block) => block.startsWith('# .gitlab-ci.yml'))
  if (!found) throw new Error(`${page} shows no .gitlab-ci.yml`)
  return found
}

/** A repository with these files and nothing else, as a team pushes it. */
async function push(t: Test, files: string, pipeline: string) {
  const repository = await temporaryFolder(t)
  await cp(files, repository, {
    recursive: true,
    filter: (path) => !/\/(target|\.crosscloud)$/.test(path),
  })
  await writeFile(join(repository, '.gitlab-ci.yml'), pipeline)
  const git = (...args: string[]) =>
    run('git', ['-c', 'user.name=dev', '-c', 'user.email=dev@example.com', ...args], {
      cwd: repository,
    })
  await git('init', '--quiet', '--initial-branch=main')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'The application')
  return repository
}

/** A runner's machine that has crosscloud on its PATH, and a home. */
async function machine(t: Test, more: Partial<RunnerOptions> & Pick<RunnerOptions, 'repository'>) {
  const folder = await temporaryFolder(t)
  await chmod(folder, 0o755)
  const bin = join(folder, 'bin')
  const home = join(folder, 'home')
  await mkdir(bin)
  await mkdir(home)
  await writeFile(
    join(bin, 'crosscloud'),
    `#!/bin/sh\nunset NODE_OPTIONS\nexec "${process.execPath}" "${MAIN}" "$@"\n`,
  )
  await chmod(join(bin, 'crosscloud'), 0o755)
  if (more.uid !== undefined) await run('chown', [String(more.uid), home])
  const pipeline = await readFile(join(more.repository, '.gitlab-ci.yml'), 'utf8')
  const variables = { HOME: home, PATH: `${bin}:${process.env.PATH}`, ...more.variables }
  const jobs = await expandPipeline(pipeline)
  return { home, jobs, runner: createRunner({ ...more, folder, jobs, variables }) }
}

const java = missingProgram('mvn', 'javac', 'git')
const demo = java || (await createDemo(t))
const skip = typeof demo === 'string' ? demo : false

/** The demo's copy of the example, with the ledger that crosscloud chooses by itself. */
async function example(t: Test): Promise<string> {
  if (typeof demo === 'string') throw new Error(demo)
  const folder = await temporaryFolder(t)
  await cp(demo.project, folder, { recursive: true })
  const settings = parseDocument(await readFile(join(folder, 'crosscloud.yml'), 'utf8'))
  settings.delete('ledger')
  await writeFile(join(folder, 'crosscloud.yml'), settings.toString())
  return folder
}

await t.test('both READMEs show one pipeline', async (t) => {
  t.equal(await pipelineOf('README.zh-CN.md'), await pipelineOf('README.md'))
})

const readme =
  "README's pipeline with the example's settings, in an empty repository, on a shell runner"
await t.test(readme, { skip }, async (t) => {
  if (typeof demo === 'string') return
  const repository = await push(t, await example(t), await pipelineOf('README.md'))
  const { home, runner } = await machine(t, { repository, variables: {} })
  const done: Record<string, JobRun> = {}
  for (const job of [...TO_TEST, ...TO_STAGING]) {
    const ran = await runner.run(job)
    done[job] = ran
    if (!t.equal(ran.code, 0, job, { output: ran.output })) return
    for (const name of Object.keys(ran.outputs ?? {})) t.match(name, /^CROSSCLOUD_/, job)
  }
  const ledgers = await readdir(join(home, '.local/state/crosscloud/ledgers/gitlab.example.com'))
  t.ok(ledgers.includes('42.db'), ledgers.join(' '))
  t.match(done['push-image']?.outputs, { CROSSCLOUD_RELEASE: 'webapi@1.0.0' })
  t.match(done['verify-test']?.junit, '<testsuite name="verify-md5 test" tests="1" failures="0">')
  t.match(done['deploy-staging']?.output, 'webapi@1.0.0 runs in staging')
  const file = await demo.docker('exec', 'webapi-staging', 'cat', '/etc/webapi/webapi.properties')
  t.match(file, 'greeting = Hello from staging')
  const stopped = await runner.run('stop-staging')
  t.equal(stopped.code, 0, stopped.output)
  t.equal(stopped.outputs, undefined)
  t.notMatch(stopped.output, /no matching files/)
  const stops = stopped.output.match(/stopped webapi-staging/g)
  t.equal(stops?.length, 1, stopped.output)
})

await t.test('in a container the first job asks for a ledger, with code 2', { skip }, async (t) => {
  const repository = await push(t, await example(t), await pipelineOf('README.md'))
  const variables = { CI_DISPOSABLE_ENVIRONMENT: 'true' }
  const { runner } = await machine(t, { repository, variables })
  const { code, output } = await runner.run('build-war')
  t.equal(code, 2, output)
  t.match(output, /names no ledger[\s\S]*\n {2}ledger:\n {4}url: mysql:/)
  const there = { CROSSCLOUD_STATE: join(await temporaryFolder(t), 'mounted') }
  t.equal((await runner.run('build-war', there)).code, 0, 'a mounted folder is enough')
})

await t.test(
  'a job under umask 0 runs as another user than the owner of the checkout',
  { skip },
  async (t) => {
    const uid = 4711
    const reachable = await run('setpriv', [
      ...[`--reuid=${uid}`, '--clear-groups', process.execPath, MAIN, '--version'],
    ]).then(
      () => false,
      () => 'another user cannot read this checkout',
    )
    await t.test('the WAR is built and baked', { skip: reachable }, async (t) => {
      const repository = await push(t, await example(t), await pipelineOf('README.md'))
      // Maven's local repository is in the demo's folder, which is its owner's.
      if (typeof demo !== 'string') await run('chmod', ['-R', 'a+rwX', join(demo.project, '..')])
      const { runner } = await machine(t, { repository, uid, variables: {} })
      const built = await runner.run('build-war')
      t.equal(built.code, 0, built.output)
      const { stdout } = await run('git', ['rev-parse', 'HEAD'], { cwd: repository })
      t.match(
        built.outputs,
        { CROSSCLOUD_COMMIT: stdout.trim() },
        'the commit is known all the same',
      )
      const baked = await runner.run('bake-image')
      t.equal(baked.code, 0, baked.output)
    })
  },
)

for (const page of ['docs/gitlab.md', 'docs/team.md']) {
  await t.test(`the pipeline of ${page} is whole, and its first job runs`, { skip }, async (t) => {
    const files = await example(t)
    const repository = await push(t, files, await pipelineOf(page))
    const { jobs, runner } = await machine(t, { repository, variables: {} })
    const names = Object.keys(jobs)
    t.strictSame(
      [
        ...TO_TEST,
        ...TO_STAGING,
        'gate-production',
        'deploy-production',
        'rollback-production',
      ].filter((job) => !names.includes(job)),
      [],
    )
    const built = await runner.run('build-war')
    t.equal(built.code, 0, built.output)
  })
}

const fromCentral =
  'the example builds from Maven Central, into a cache in a folder with a blank, once'
await t.test(fromCentral, { skip: java }, async (t) => {
  const repository = await push(t, join(ROOT, 'examples/webapi'), await pipelineOf('README.md'))
  const { runner } = await machine(t, { repository, variables: {} })
  const first = await runner.run('build-war')
  if (/Could not transfer|Unknown host/.test(first.output)) {
    t.comment('skipped: Maven Central cannot be reached')
    return
  }
  t.equal(first.code, 0, first.output)
  const cached = await readdir(join(runner.checkout, '.m2/repository'))
  t.ok(cached.includes('org'), 'its own local repository')
  await rm(join(runner.checkout, '.m2'), { recursive: true })
  const second = await runner.run('build-war', { CROSSCLOUD_ARGS: '-Dmaven.test.skip=true\n-o' })
  t.equal(second.code, 0, 'offline, from the cache', { output: second.output })
  t.strictSame(second.outputs, first.outputs, 'the same WAR, byte for byte')
})
