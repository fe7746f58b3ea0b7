import { access, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { placeInputs } from '../../src/actions/inputs.ts'
import { createContext } from '../../src/context.ts'
import { silentLog } from '../../src/core/log.ts'
import { createSecrets } from '../../src/core/secrets.ts'
import { startRegistry } from '../../src/registry-server/server.ts'
import { bakeImage } from '../../src/steps/bake-image.ts'
import { loadSteps } from '../../src/steps/index.ts'
import { kebab, runStep } from '../../src/steps/inputs.ts'
import { pushImage } from '../../src/steps/push-image.ts'
import { runAction } from '../support/ci/action.ts'
import { runtimes } from '../support/ci/nodes.ts'
import { writeWar } from '../support/data/war.ts'
import { startEtcd } from '../support/servers/etcd.ts'
import { missingProgram } from '../support/servers/server.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
t.setTimeout(120_000)

for (const { name, program, skip } of runtimes) {
  await t.test(`retag-image from its bundle, as a runner runs it, on ${name}`, { skip }, (t) =>
    retag(t, program),
  )
}

async function retag(t: Test, node: string) {
  const runs = (inputs: Record<string, string>) =>
    runAction(folder, 'retag-image', inputs, { node })
  const folder = t.testdir({})
  const login = { kind: 'basic', username: 'ci', password: 'a very secret word' } as const
  const registry = await startRegistry({ folder: join(folder, 'registry'), auth: login })
  t.teardown(() => registry.close())
  const auth = Buffer.from(`${login.username}:${login.password}`).toString('base64')
  const DOCKER_AUTH_CONFIG = JSON.stringify({ auths: { [registry.address]: { auth } } })
  await writeWar(join(folder, 'app.war'), { 'index.jsp': 'hello', 'WEB-INF/web.xml': '<x/>' })
  const context = createContext({
    cwd: folder,
    variables: { DOCKER_AUTH_CONFIG, CROSSCLOUD_CACHE: join(folder, 'cache') },
    log: silentLog,
    secrets: createSecrets(),
    signal: new AbortController().signal,
  })
  await runStep(bakeImage, { app: 'app', war: 'app.war', base: 'scratch', webapp: '/app' }, context)
  const from = `${registry.address}/team/app`
  const { digest } = await runStep(pushImage, { to: from, tag: 'one', record: false }, context)
  await context.close()

  const to = `${registry.address}/team/other:two`
  process.env.DOCKER_AUTH_CONFIG = undefined
  const refused = await runs({ image: `${from}:one`, to })
  t.equal(refused.code, 1, 'no login, no tag')
  t.match(
    refused.printed,
    /::error title=crosscloud retag-image::.*%0A/,
    'one annotation with a hint',
  )

  await mkdir(join(folder, '.docker'))
  await writeFile(join(folder, '.docker', 'config.json'), DOCKER_AUTH_CONFIG)
  const done = await runs({ image: `${from}:one`, to, overwrite: '' })
  t.equal(done.code, 0, done.printed)
  t.match(done.output, `${registry.address}/team/other@${digest}`, 'output image')
  t.match(done.output, /changed<<.*\ntrue/, 'output changed')
  t.match(done.summary, digest, 'the summary has the digest')
  t.match(done.printed, `::add-mask::${login.password}`, 'the runner is told the secret')
  const shown = done.printed.replace(/^::add-mask::.*$/gm, '')
  t.notMatch(`${shown}${done.output}${done.summary}`, login.password, 'and nobody else')

  const full = { GITHUB_OUTPUT: '/dev/full' }
  const unheard = await runAction(
    folder,
    'retag-image',
    { image: `${from}:one`, to },
    { env: full },
  )
  t.equal(unheard.code, 1, 'a later step would read nothing')
  t.match(unheard.printed, /retag-image succeeded, but .* written to \/dev\/full: ENOSPC/)
  const unseen = await runAction(
    folder,
    'retag-image',
    { image: `${from}:one`, to },
    { env: { GITHUB_STEP_SUMMARY: '/dev/full' } },
  )
  t.equal(unseen.code, 0, 'a summary decides nothing')
  t.match(unseen.printed, /::warning.*the summary cannot be written: ENOSPC/)
  t.match(unseen.output, digest)

  const wrong = await runs({ image: 'http://x', to, overwrite: 'maybe' })
  t.equal(wrong.code, 2, wrong.printed)
}

interface Action {
  description: string
  inputs: Record<string, { description: string }>
  outputs: Record<string, { description: string }>
  runs: { using: string; main: string }
}

await t.test(
  'each action.yml names its inputs, its outputs and a bundle that is there',
  async (t) => {
    const faces = (await loadSteps()).map((step) => ({
      step,
      file: `actions/${step.name}/action.yml`,
    }))
    const whole = faces.find(({ step }) => step.name === 'release')
    for (const { step, file } of [...faces, ...(whole ? [{ ...whole, file: 'action.yml' }] : [])]) {
      const action: Action = parse(await readFile(join(ROOT, file), 'utf8'))
      t.equal(action.description, step.summary, file)
      const inputs = [...Object.keys(step.inputs.shape).map(kebab), ...Object.keys(placeInputs)]
      t.strictSame(Object.keys(action.inputs), inputs, file)
      t.strictSame(Object.keys(action.outputs), Object.keys(step.outputs.shape).map(kebab), file)
      for (const { description } of Object.values({ ...action.inputs, ...action.outputs })) {
        t.ok(description, `${file} describes each`)
      }
      t.equal(action.runs.using, 'node24')
      const main = join(ROOT, dirname(file), action.runs.main)
      t.equal(main, join(ROOT, 'dist', `${step.name}.cjs`), file)
      await t.resolves(access(main), `${file}: its bundle is there`)
    }
  },
)

await t.test('away from node_modules, an SQLite ledger is refused with a way out', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-action-'))
  t.teardown(() => rm(folder, { recursive: true }))
  for (const name of ['crosscloud.cjs', 'crosscloud', 'deploy.cjs', 'release.cjs']) {
    await cp(join(ROOT, 'dist', name), join(folder, name), { recursive: true })
  }
  await writeFile(
    join(folder, 'crosscloud.yml'),
    'app: app\nledger: ledger.db\nenvironments: { test: { image: registry.example.com/app, hosts: { app-01: "unix:///absent.sock" } } }\n',
  )
  const inputs = { release: ' app@1.0.0\n', env: 'test' }
  const { code, printed } = await runAction(folder, 'deploy', inputs, { dist: folder })
  t.equal(code, 1, printed)
  t.match(printed, 'SQLite cannot be loaded')
  t.match(printed, '%0AActions have no SQLite. Set ledger: mysql://')
  const whole = await runAction(folder, 'release', {}, { dist: folder })
  t.match(whole.printed, 'SQLite cannot be loaded')
  t.notMatch(whole.printed, 'build-war', 'before anything is built')
})

const noEtcd = missingProgram('etcd', 'etcdctl')
await t.test('away from node_modules, values in etcd are read', { skip: noEtcd }, async (t) => {
  const etcd = await startEtcd(t)
  await etcd.ctl('put', '/webapi/greeting', 'Hello from etcd')
  const folder = await mkdtemp(join(tmpdir(), 'crosscloud-action-'))
  t.teardown(() => rm(folder, { recursive: true }))
  for (const name of ['crosscloud.cjs', 'crosscloud', 'render-config.cjs']) {
    await cp(join(ROOT, 'dist', name), join(folder, 'dist', name), { recursive: true })
  }
  await mkdir(join(folder, 'conf', 'conf.d'), { recursive: true })
  await mkdir(join(folder, 'conf', 'templates'))
  await writeFile(
    join(folder, 'conf/conf.d/a.toml'),
    '[template]\nsrc = "a.tmpl"\ndest = "/etc/a.conf"\nkeys = ["/webapi"]\n',
  )
  await writeFile(join(folder, 'conf/templates/a.tmpl'), "{{getv '/webapi/greeting'}}\n")
  await writeFile(
    join(folder, 'crosscloud.yml'),
    `app: app\nenvironments: { test: { image: registry.example.com/app, config: 'etcd://127.0.0.1:${etcd.port}' } }\n`,
  )
  const inputs = { env: 'test', templates: 'conf', out: 'out' }
  const done = await runAction(folder, 'render-config', inputs, { dist: join(folder, 'dist') })
  t.equal(done.code, 0, done.printed)
  t.equal(await readFile(join(folder, 'out/etc/a.conf'), 'utf8'), 'Hello from etcd\n')
})
