import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { annotation, summaryRows } from '../../src/actions/report.ts'
import { StepError } from '../../src/core/errors.ts'
import { startRegistry } from '../../src/registry-server/server.ts'
import { runAction } from '../support/ci/action.ts'
import { writeWar } from '../support/data/war.ts'

t.setTimeout(120_000)

const SETTINGS = `
app: webapi
environments:
  test: { image: registry.example.com/webapi }
`

await t.test(
  'settings and working-directory say where a step runs and by which file',
  async (t) => {
    const workspace = t.testdir({ services: { web: { 'other.yml': SETTINGS } } })
    const env = { GITHUB_WORKSPACE: workspace }
    const inputs = { env: 'nowhere' }
    const place = { 'working-directory': 'services/web', settings: 'other.yml' }
    const found = await runAction(workspace, 'verify-md5', { ...inputs, ...place }, { env })
    t.equal(found.code, 2, found.printed)
    t.match(found.printed, `no environment "nowhere" in ${workspace}/services/web/other.yml`)

    const without = await runAction(workspace, 'verify-md5', inputs, { env })
    t.match(without.printed, `${workspace}/crosscloud.yml does not exist`)
    t.match(without.printed, 'name it with the input `settings: FILE`', 'told in its own words')
    t.notMatch(without.printed, '--settings')

    const wrong = { ...inputs, 'working-directory': 'service' }
    const lost = await runAction(workspace, 'verify-md5', wrong, { env })
    t.equal(lost.code, 2)
    t.match(lost.printed, `working-directory: there is no folder ${workspace}/service%0A`)
  },
)

await t.test(
  'an input goes before its CROSSCLOUD_ variable, and that before crosscloud.yml',
  async (t) => {
    const folder = t.testdir({ 'crosscloud.yml': SETTINGS, a: {}, b: {} })
    await writeWar(join(folder, 'app.war'), { 'index.jsp': 'hello', 'WEB-INF/web.xml': '<x/>' })
    const inputs = { war: 'app.war', base: 'scratch', webapp: '/app' }
    const env = { CROSSCLOUD_VERSION: '7.0.0', CROSSCLOUD_APP: 'by-variable' }
    const variable = await runAction(folder, 'bake-image', inputs, { env })
    t.equal(variable.code, 0, variable.printed)
    t.match(variable.output, /version<<.*\n7\.0\.0\n/, 'the variable')
    t.match(variable.summary, '7.0.0')
    const input = await runAction(folder, 'bake-image', { ...inputs, version: '8.0.0' }, { env })
    t.match(input.output, /version<<.*\n8\.0\.0\n/, 'the input')
    const empty = { env: { CROSSCLOUD_VERSION: '' } }
    const neither = await runAction(folder, 'bake-image', { ...inputs, version: ' ' }, empty)
    t.notMatch(neither.output, '8.0.0', 'what is empty is not given')
  },
)

await t.test('yes and no are read as people and other languages write them', async (t) => {
  const folder = t.testdir({ 'crosscloud.yml': SETTINGS })
  const reads = (check: string) => runAction(folder, 'render-config', { env: 'test', check })
  for (const text of ['True', 'TRUE', 'False', 'FALSE', 'true']) {
    const { printed } = await reads(text)
    t.match(printed, /template folder .* no such file/, `${text} is read; the step goes on`)
  }
  t.match((await reads('yes')).printed, 'check: "yes" is not true or false')
})

await t.test('an annotation is masked before it is cut, and controls nothing', async (t) => {
  const mask = (text: string) => text.replaceAll('Sup3r-S3cret', '***')
  const said = `\x1b[2J\x07${'x'.repeat(3994)}Sup3r-S3cret`
  const text = annotation(new StepError('INTERNAL', said, { hint: 'a\x07b' }), mask)
  t.equal(text, `${'x'.repeat(3994)}***\nab`)
  t.notMatch(annotation(new StepError('INTERNAL', `xxxx${said}`), mask), 'Sup')
})

await t.test('an annotation has the fact; the log of Maven stays in the log', async (t) => {
  const ledger = 'ledger: mysql://crosscloud@db.example.com/crosscloud\n'
  const folder = t.testdir({ 'crosscloud.yml': `${ledger}${SETTINGS}` })
  const lines = Array.from({ length: 30 }, (_, index) => `\\033[31m[ERROR] line ${index}\\033[0m`)
  const script = `#!/bin/sh\n${lines.map((line) => `printf '${line}\\n'`).join('\n')}\nexit 1\n`
  await writeFile(join(folder, 'mvnw'), script, { mode: 0o755 })
  const { code, printed } = await runAction(folder, 'build-war', { war: 'a.war', maven: './mvnw' })
  t.equal(code, 1)
  const annotations = printed.split('\n').filter((line) => line.startsWith('::error'))
  t.equal(annotations.length, 1)
  t.match(annotations[0], /::error title=crosscloud build-war::\.\/mvnw .* exited with 1$/)
  t.match(printed, '[ERROR] line 29', 'the log has all of it')
  t.notMatch(printed, '\x1b', 'without colours')
})

await t.test(
  'an image that was not recorded gives no release, and what needs one says why',
  async (t) => {
    const folder = t.testdir({ 'crosscloud.yml': SETTINGS })
    const registry = await startRegistry({ folder: join(folder, 'registry') })
    t.teardown(() => registry.close())
    await writeWar(join(folder, 'app.war'), { 'index.jsp': 'hello', 'WEB-INF/web.xml': '<x/>' })
    await mkdir(join(folder, '.docker'))
    const bake = { war: 'app.war', base: 'scratch', webapp: '/app', version: '1.0.0' }
    t.equal((await runAction(folder, 'bake-image', bake)).code, 0)
    const to = `${registry.address}/team/webapi`
    const pushed = await runAction(folder, 'push-image', { to, record: 'False' })
    t.equal(pushed.code, 0, pushed.printed)
    t.notMatch(pushed.output, /^release<</m)
    t.match(pushed.output, /^digest<</m)
    t.match(pushed.printed, 'none was recorded: this image can be retagged, not deployed')
    const deployed = await runAction(folder, 'deploy', { release: '', env: 'test' })
    t.equal(deployed.code, 2)
    t.match(deployed.printed, 'the input `release` is required')
    t.match(deployed.printed, 'with the input `record: false` there is none')
  },
)

t.test('a summary stays far below the size at which GitHub throws it away', async (t) => {
  const files = Array.from({ length: 100_000 }, (_, index) => `/app/file-${index}`)
  const rows = summaryRows({ files, release: 'a@1', url: undefined }, (text) => text)
  t.strictSame(rows[1], ['release', 'a@1'])
  t.equal(rows.length, 2)
  t.ok(JSON.stringify(rows).length < 10_000)
  t.match(rows[0]?.[1], /file-5.*… \(\d+ characters more\)$/)
})
