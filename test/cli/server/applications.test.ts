import { access, chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { expandPipeline } from '../../support/ci/gitlab-pipeline.ts'
import { writeWar } from '../../support/data/war.ts'
import { runHere } from '../../support/program.ts'

/** Stands in for Maven: the WAR of the folder it runs in. */
const MVNW = '#!/bin/sh\nmkdir -p target && cp made.war target/app.war && touch target/app.war\n'

const filesOf = (app: string) => ({
  'crosscloud.yml': `app: ${app}
war: { path: target/app.war }
image: { base: scratch, webapp: /srv/web, templates: deploy, add: { bin/run: /bin/run } }
config-key: file:config.key
environments:
  test: { image: registry.test/app, config: 'file:config/test.yaml' }
`,
  mvnw: MVNW,
  bin: { run: `#!/bin/${app}\n` },
  config: { 'test.yaml': `greeting: hello from ${app}\n` },
  deploy: {
    'conf.d': { 'app.toml': '[template]\nsrc = "a.hbs"\ndest = "/etc/a"\nkeys = ["/greeting"]\n' },
    templates: { 'a.hbs': '{{getv "/greeting"}}\n' },
  },
})

/** One repository, two applications, each with a crosscloud.yml in a folder of its own. */
async function repository(t: Test) {
  const cwd = t.testdir({ orders: filesOf('orders'), billing: filesOf('billing') })
  const run = (args: string[], variables: Record<string, string> = {}) =>
    runHere(args, { cwd, variables })
  const key = await run(['config', 'make-key', 'k1'])
  for (const app of ['orders', 'billing']) {
    await chmod(join(cwd, app, 'mvnw'), 0o755)
    await writeFile(join(cwd, app, 'config.key'), key.stdout)
    await writeWar(join(cwd, app, 'made.war'), { 'index.html': app, 'WEB-INF/web.xml': '<x/>' })
  }
  return { cwd, run }
}

t.test('paths of crosscloud.yml start from its folder, wherever a command runs', async (t) => {
  const { cwd, run } = await repository(t)
  const said = async (...args: string[]) => {
    const { code, stdout, stderr } = await run([...args, '--json'])
    t.equal(code, 0, `${args.join(' ')}: ${stderr}`)
    return JSON.parse(stdout) as Record<string, string>
  }
  const baked = []
  for (const app of ['orders', 'billing']) {
    const settings = ['--settings', `${app}/crosscloud.yml`]
    const built = await said('build-war', ...settings, '--maven', './mvnw')
    t.equal(built.war, `${app}/target/app.war`, 'its outputs start from where it runs')
    const { digest } = await said('bake-image', ...settings, '--version', '1.0.0')
    const again = await said(
      'bake-image',
      ...settings,
      '--version',
      '1.0.0',
      '--war',
      `${built.war}`,
    )
    t.equal(again.digest, digest, 'so do its inputs')
    baked.push(digest)
    await said('render-config', ...settings, '--env', 'test', '--out', `rendered-${app}`)
    t.equal(await readFile(join(cwd, `rendered-${app}/etc/a`), 'utf8'), `hello from ${app}\n`)
    await said('config', 'set', '--env', 'test', '/greeting', 'good day', '--yes', ...settings)
    t.match(await said('config', 'lint', ...settings), { findings: [] })
    await access(join(cwd, app, '.crosscloud/ledger.db'))
  }
  t.not(baked[0], baked[1])
})

t.test('the file may be named by a variable, as jobs do', async (t) => {
  const { run } = await repository(t)
  const CROSSCLOUD_SETTINGS = 'billing/crosscloud.yml'
  const list = ['config', 'list', '--env', 'test']
  t.match(await run(list, { CROSSCLOUD_SETTINGS }), { code: 0, stdout: /hello from billing/ })
  const flag = ['--settings', 'orders/crosscloud.yml']
  const both = await run([...list, ...flag], { CROSSCLOUD_SETTINGS })
  t.match(both, { code: 0, stdout: /hello from orders/ }, 'a flag comes first')
  const none = await run(list, { CROSSCLOUD_SETTINGS: '' })
  t.match(none, { code: 2, stderr: /crosscloud\.yml does not exist/ }, 'an empty one is none')
})

t.test('the pipeline that docs/gitlab.md shows has jobs for each of them', async (t) => {
  const page = await readFile(new URL('../../../docs/gitlab.md', import.meta.url), 'utf8')
  const [, orders = ''] =
    /^```yaml\n# two more lines of include[^\n]*\n([\s\S]*?)^```$/m.exec(page) ?? []
  const setup = '  - { file: pipeline-templates/setup.yml }\n'
  const text = `include:\n${setup}${orders}${orders.replaceAll('orders', 'billing')}`
  const jobs = Object.entries(await expandPipeline(text))
  for (const app of ['orders', 'billing']) {
    const own = jobs.filter(([name]) => name.startsWith(`${app}-`))
    t.equal(own.length, jobs.length / 2, `${app}: ${own.length} jobs`)
    t.ok(own.length >= 9)
    for (const [name, { variables, needs = [] }] of own) {
      t.match(variables?.CROSSCLOUD_SETTINGS, { value: `${app}/crosscloud.yml` }, name)
      const others = needs.map((need) => (typeof need === 'string' ? need : need.job))
      t.ok(
        others.every((other) => other.startsWith(`${app}-`)),
        `${name} needs its own`,
      )
    }
  }
})
