import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parseDocument } from 'yaml'
import { run } from '../../src/core/process/process.ts'
import { createDemo, type Demo } from '../support/setups/demo.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { type Build, LIBRARY, noJenkins, runBuilds } from './jenkins.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = join(ROOT, 'dist/cli/main.js')
const IMAGE = 'registry.example.com/ci/crosscloud-runner:0.1.0'

t.setTimeout(590_000)
const missing = await noJenkins()
const demo = missing || (await createDemo(t))
const title = 'the Jenkinsfiles of the documents, as they stand, from a push to production'
if (typeof demo === 'string') await t.test(title, { skip: demo }, async () => {})
else await t.test(title, (t) => travel(t, demo))

/** A third environment; the same with a gate of crosscloud's own; a checkout; an agent. */
async function configure(t: Test, { project, addresses, engine }: Demo) {
  const settings = parseDocument(await readFile(join(project, 'crosscloud.yml'), 'utf8'))
  const values = await readFile(join(project, 'config/staging.yaml'), 'utf8')
  await writeFile(
    join(project, 'config/production.yaml'),
    values.replaceAll('staging', 'production'),
  )
  const production = {
    from: 'staging',
    image: `${addresses[1]}/production/webapi`,
    config: 'file:config/production.yaml',
    hosts: { 'app-03': engine.address },
  }
  settings.setIn(['environments', 'production'], production)
  await writeFile(join(project, 'crosscloud.yml'), settings.toString())
  settings.set('identity', 'unverified')
  const gate = { approvals: 2, approvers: ['li', 'wang'] }
  settings.setIn(['environments', 'production'], { ...production, gate })
  await writeFile(join(project, 'gated.yml'), settings.toString())
  const git = (...args: string[]) =>
    run('git', ['-c', 'user.name=dev', '-c', 'user.email=dev@example.com', ...args], {
      cwd: project,
    })
  await writeFile(join(project, '.gitignore'), 'target/\n.crosscloud/\n')
  await git('init', '--quiet')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'First')
  const home = await temporaryFolder(t)
  const bin = join(home, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'crosscloud'), `#!/bin/sh\nexec ${process.execPath} ${MAIN} "$@"\n`)
  await chmod(join(bin, 'crosscloud'), 0o755)
  return { PATH: `${bin}:${process.env.PATH}`, HOME: home }
}

async function travel(t: Test, demo: Demo) {
  const { project, json } = demo
  const agent = await configure(t, demo)
  const page = await readFile(join(ROOT, 'docs/jenkins.md'), 'utf8')
  const blocks = [...page.matchAll(/^```groovy\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text)
  const [whole = '', contained = '', stages = '', caught = ''] = blocks
  t.equal(blocks.length, 4, 'every Jenkinsfile of the page is run here')
  t.equal(whole, await readFile(join(LIBRARY, 'Jenkinsfile'), 'utf8'))
  for (const name of ['README.md', 'README.zh-CN.md']) {
    const text = await readFile(join(ROOT, name), 'utf8')
    const found = [...text.matchAll(/^```groovy\n([\s\S]*?)^```$/gm)].map(([, block]) => block)
    t.strictSame(found, [whole], name)
  }
  const build = (name: string, script: string, more: Partial<Build> = {}): Build => ({
    name,
    script,
    agent,
    workspace: project,
    environment: { BRANCH_NAME: 'main' },
    ...more,
  })
  const li = { submitter: 'li', reason: 'tested, costs $5' }
  const wang = { submitter: 'wang', reason: 'go live ü' }
  const asked = "crosscloudPipeline(settings: 'gated.yml', gates: [staging: false])"
  const results = await runBuilds(t, [
    build('whole', whole, { answers: [li, wang] }),
    build('stages', stages, { answers: [li] }),
    build('late', whole, { number: 3, milestones: { 20: 9 }, answers: [li, wang] }),
    build('restarted', stages, { restartFrom: 'Staging' }),
    build('change request', contained, {
      environment: { BRANCH_NAME: 'PR-7', CHANGE_ID: '7' },
      images: { [IMAGE]: agent },
      credentials: { 'no-ledger-password': 'none' },
      agent: {},
    }),
    build('plain job', stages, { environment: {} }),
    build('caught', caught),
    build('gated', asked, { answers: [li, li, wang] }),
  ])
  const of = (name: string) => {
    const result = results.get(name)
    if (!result) throw new Error(`no build ${name}`)
    const steps = (step: string) =>
      result.calls.flatMap(([name, what]) => (name === step ? [what] : []))
    return { ...result, steps }
  }
  const { deployments } = (await json('history', '--limit', '50')) as {
    deployments: { version: string; environment: string; by: string; reason: string }[]
  }
  const deployed = (version: string) =>
    deployments
      .filter((row) => row.version === version)
      .map(({ environment, by, reason }) => ({ environment, by, reason }))
      .reverse()

  await t.test('three lines take a release through two gates', async (t) => {
    const result = of('whole')
    t.equal(result.error, undefined, 'it went through', { console: result.console })
    t.strictSame(result.steps('stage'), [
      ...['Build', 'test', 'Gate to staging', 'staging', 'Gate to production', 'production'],
    ])
    t.equal(result.build.description, 'webapi@1.0.0')
    t.strictSame(result.steps('input holds an agent'), [])
    t.match(result.steps('input'), [{ submitter: 'testers' }, { submitter: 'operators' }])
    t.strictSame(deployed('1.0.0').slice(1), [
      { environment: 'staging', by: 'li', reason: 'let through by li: tested, costs $5' },
      { environment: 'production', by: 'wang', reason: 'let through by wang: go live ü' },
    ])
    t.match(result.steps('echo').at(-1), /^application +environment/)
    t.match(JSON.stringify(result.steps('properties')), 'numToKeepStr')
  })

  await t.test(
    'stages of a project’s own do the same; in a plain job they fail at once',
    async (t) => {
      t.equal(of('stages').error, undefined, 'it went through', { console: of('stages').console })
      t.match(deployed('1.0.1'), [{ environment: 'test' }, { environment: 'staging', by: 'li' }])
      t.match(of('plain job').error, /needs a multibranch Pipeline/)
      t.strictSame(of('plain job').steps('sh'), [])
      t.equal(of('caught').error, undefined, 'it went through', { console: of('caught').console })
    },
  )

  await t.test(
    'an older build that is let through late does not set an environment back',
    async (t) => {
      t.match(of('late'), { error: 'Superseded by #9', thrown: 'FlowInterruptedException' })
      t.strictSame(of('late').steps('milestone'), [10, 20])
      t.equal(deployed('1.0.2')[0]?.environment, 'test')
    },
  )

  await t.test('a build restarted from a stage finds its release in the ledger', async (t) => {
    const result = of('restarted')
    t.equal(result.error, undefined, 'it went through', { console: result.console })
    t.strictSame(result.steps('sh'), [
      ...['crosscloud releases', 'crosscloud promote', 'crosscloud status'],
    ])
    t.match(deployed('1.0.2'), [{ environment: 'test' }, { reason: 'restarted' }])
  })

  await t.test(
    'a change request has its config checked, in a container, without secrets',
    async (t) => {
      const result = of('change request')
      t.equal(result.error, undefined, 'it went through', { console: result.console })
      t.strictSame(result.steps('image'), [IMAGE])
      t.strictSame(result.steps('stage'), ['Build', 'Config check'])
      const reports = ['lint', 'production', 'staging', 'test'].map(
        (name) => `crosscloud-config-${name}.xml`,
      )
      t.strictSame(result.steps('junit'), [reports])
      t.match(JSON.stringify(result.steps('properties')), 'abortPrevious')
    },
  )

  await t.test('where crosscloud has a gate, Jenkins asks until it is open', async (t) => {
    const result = of('gated')
    t.equal(result.error, undefined, 'it went through', { console: result.console })
    t.equal(result.steps('input').length, 3)
    t.match(JSON.stringify(result.steps('input')[1]), 'needs 1 more approval for production')
    t.match(deployed('1.0.3'), [
      { environment: 'test' },
      { environment: 'staging' },
      { environment: 'production', by: 'wang' },
    ])
  })
}
