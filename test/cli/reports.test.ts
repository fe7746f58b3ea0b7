import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import t from 'tap'
import { resultText, table, tellBeside, tellFailure } from '../../src/cli/output.ts'
import { StepError } from '../../src/core/errors.ts'
import { run } from '../../src/core/process/process.ts'
import { dotenvName, fieldsOf } from '../../src/steps/fields.ts'
import { loadSteps } from '../../src/steps/index.ts'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** What a commit, Maven or an older job may have left where the report goes. */
const HOSTILE = 'NODE_OPTIONS=--require=/evil.cjs\nCROSSCLOUD_FORCE=true\n'
const render = ['render-config', '--env', 'test', '--check', '--dotenv', 'crosscloud.env']

async function project(t: Parameters<typeof temporaryFolder>[0]) {
  const cwd = await temporaryFolder(t)
  const files: Record<string, string> = {
    'crosscloud.yml':
      'app: webapi\nenvironments:\n  test: { image: registry.test/webapi, config: file:test.yaml }\n',
    'test.yaml': 'webapi: { greeting: hello }\n',
    'deploy/conf.d/app.toml':
      '[template]\nsrc = "app.hbs"\ndest = "/etc/app.conf"\nkeys = ["/webapi/greeting"]\n',
    'deploy/templates/app.hbs': '{{getv "/webapi/greeting"}}\n',
  }
  await mkdir(join(cwd, 'deploy/conf.d'), { recursive: true })
  await mkdir(join(cwd, 'deploy/templates'))
  for (const [path, text] of Object.entries(files)) await writeFile(join(cwd, path), text)
  const dotenv = join(cwd, 'crosscloud.env')
  return { cwd, dotenv, read: () => readFile(dotenv, 'utf8') }
}

t.test('a dotenv report has the declared outputs and nothing that was there before', async (t) => {
  const { cwd, dotenv, read } = await project(t)
  await writeFile(dotenv, HOSTILE)
  const said = await runHere(render, { cwd })
  t.equal(said.code, 0, said.all)
  const lines = (await read()).trimEnd().split('\n')
  t.match(lines, ['CROSSCLOUD_ENVIRONMENT=test', /^CROSSCLOUD_CONFIG_REVISION=\S+$/])
  t.equal(lines.length, 2, 'lists are not in it')
  t.equal((await stat(dotenv)).mode & 0o777, 0o644 & ~process.umask())
})

t.test('a command that fails leaves no report of before', async (t) => {
  const { cwd, dotenv, read } = await project(t)
  await writeFile(dotenv, HOSTILE)
  const said = await runHere([...render, '--env', 'nowhere'], { cwd })
  t.equal(said.code, 2, said.all)
  await t.rejects(read(), { code: 'ENOENT' })
})

t.test('a link at the path of a report is replaced, not followed', async (t) => {
  const { cwd, dotenv, read } = await project(t)
  const secret = join(cwd, 'keep.txt')
  await writeFile(secret, 'mine')
  await symlink(secret, dotenv)
  await symlink(secret, join(cwd, 'out.xml'))
  const said = await runHere([...render, '--junit', 'out.xml'], { cwd })
  t.equal(said.code, 0, said.all)
  t.equal(await readFile(secret, 'utf8'), 'mine')
  t.match(await read(), 'CROSSCLOUD_ENVIRONMENT=test')
  t.match(await readFile(join(cwd, 'out.xml'), 'utf8'), '<testsuite')
})

t.test('a report that names no file removes nothing', async (t) => {
  const { cwd } = await project(t)
  const inside = join(cwd, 'co')
  await mkdir(join(inside, 'reports'), { recursive: true })
  await writeFile(join(inside, 'reports/keep.txt'), 'mine')
  await run('mkfifo', [join(inside, 'pipe')])
  for (const flag of ['--dotenv', '--junit']) {
    for (const name of ['', '.', '..', 'reports', './', 'reports/', 'pipe', cwd]) {
      const said = await runHere(['render-config', '--env', 'test', flag, name], { cwd: inside })
      t.equal(said.code, 2, `${flag} "${name}"`)
      const told = name ? /: \S+ is (?:a folder, )?not a file\n/ : `${flag}\` names no file`
      t.match(said.stderr, told)
      t.match(said.stderr, '→ ')
    }
    t.equal(await readFile(join(inside, 'reports/keep.txt'), 'utf8'), 'mine')
  }
})

t.test('a report goes through no linked folder that leads out of the working folder', async (t) => {
  const { cwd } = await project(t)
  const victim = await temporaryFolder(t)
  const kept = join(victim, 'junit.xml')
  await writeFile(kept, 'mine')
  await symlink(victim, join(cwd, 'reports'))
  await mkdir(join(cwd, 'real'))
  await symlink('real', join(cwd, 'linked'))
  const alias = join(victim, 'alias')
  await symlink(cwd, alias)
  const args = ['render-config', '--env', 'test', '--check', '--junit']
  const out = relative(cwd, kept)
  const refused = ['reports/junit.xml', join(cwd, 'reports/junit.xml'), out]
  for (const name of [...refused, join(alias, 'reports/junit.xml')]) {
    const said = await runHere([...args, name], { cwd })
    t.equal(said.code, 2, name)
    t.match(said.stderr, `${name} is outside of the working folder`)
    t.equal(await readFile(kept, 'utf8'), 'mine')
  }
  for (const name of ['linked/junit.xml', join(alias, 'linked/junit.xml'), kept]) {
    const said = await runHere([...args, name], { cwd })
    t.equal(said.code, 0, said.all)
  }
  t.match(await readFile(join(cwd, 'real/junit.xml'), 'utf8'), '<testsuite')
  t.match(await readFile(kept, 'utf8'), '<testsuite', 'an absolute path is the word of the caller')
})

t.test('a report that cannot be written hides neither a success nor a failure', async (t) => {
  const { cwd } = await project(t)
  const args = ['render-config', '--env', 'test', '--check', '--junit', 'none/x.xml']
  const done = await runHere([...args, '--dotenv', 'none/x.env'], { cwd })
  t.equal(done.code, 1)
  t.match(done.stdout, 'test', 'the answer is told')
  t.match(
    done.stderr,
    /^error: render-config was done; its outputs could not be handed on: writing none\/x.xml: .*none\/x.env/,
  )
  const json = await runHere([...args, '--json'], { cwd })
  t.match(JSON.parse(json.stdout), { environment: 'test', error: { message: /was done/ } })
  const failed = await runHere([...args, '--env', 'nowhere'], { cwd })
  t.equal(failed.code, 2)
  t.match(failed.stderr, /^error: .*nowhere(?:.|\n)*\nwarning: writing none\/x.xml: /)
})

t.test('what others wrote controls no runner from a result', (t) => {
  const text = 'x\n::add-mask::abc\n\x1b[0Ksection_end:1:a\r\x1b[0K\ty'
  t.equal(resultText(text, {}), 'x\n::add-mask::abc\nsection_end:1:a\ty')
  const github = resultText(text, { GITHUB_ACTIONS: 'true' })
  t.equal(github, 'x\n: :add-mask::abc\nsection_end:1:a\ty')
  const mask = (plain: string) => plain.replace('##[pass', '***')
  t.equal(resultText('a ##[pa\x1b[0mss', { GITHUB_ACTIONS: 'true' }, mask), 'a ***')
  t.end()
})

t.test('nor does it from an error, or a row from outside of a table', (t) => {
  const told: string[] = []
  const options = {
    write: (text: string) => void told.push(text),
    mask: (text: string) => text,
    variables: { GITHUB_ACTIONS: 'true' },
  }
  const hostile = 'no\x1b[2J\x07\r\n##[stop-commands]z\n::stop-commands::z'
  tellFailure(new StepError('INTERNAL', hostile, { hint: hostile }), undefined, options)
  tellBeside(hostile, undefined, options)
  for (const text of told) t.notMatch(text, /[^\P{Cc}\n\t]|##\[|^\s*::/mu)
  t.equal(told.length, 4)
  t.equal(
    table(['host', 'version'], [['app-01', '1.0\napp-02  \x1b[2J']]).split('\n').length,
    2,
    'a line a row',
  )
  t.end()
})

t.test('a command without declared outputs refuses --dotenv', async (t) => {
  const { cwd } = await project(t)
  const said = await runHere(['config', 'lint', '--dotenv', 'crosscloud.env'], { cwd })
  t.equal(said.code, 2)
  t.match(said.stderr, /config lint has no outputs for --dotenv\n.*--json/)
})

t.test('steps.md promises in dotenv what can be written there', async (t) => {
  const page = await readFile('docs/steps.md', 'utf8')
  let lists = 0
  for (const step of await loadSteps()) {
    const [, part = ''] = page.split(`\n## ${step.name}\n`)
    const table = part.split('\n## ')[0]?.split('| output | in dotenv')[1] ?? ''
    for (const field of fieldsOf(step.outputs, 'output')) {
      const name = dotenvName(field)
      if (name === undefined) lists++
      const cell = name === undefined ? '' : `\`${name}\``
      t.match(table, `| \`${field.name}\` | ${cell} |`, `${step.name}: ${field.name}`)
    }
  }
  t.ok(lists > 5, `${lists} lists`)
})
