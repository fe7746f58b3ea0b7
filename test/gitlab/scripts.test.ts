import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseAllDocuments, stringify } from 'yaml'
import { template } from '../support/ci/gitlab.ts'
import { expandPipeline, type Job } from '../support/ci/gitlab-pipeline.ts'
import { runScript, shells } from '../support/ci/gitlab-script.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.setTimeout(240_000)

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const folder = fileURLToPath(new URL('../../pipeline-templates', import.meta.url))
const names = (await readdir(folder))
  .filter((name) => name.endsWith('.yml') && name !== 'setup.yml')
  .map((name) => name.replace(/\.yml$/, ''))

/** The jobs of one template, with what its include must be given. */
async function jobsOf(name: string, setup: object): Promise<[string, Job][]> {
  const header = parseAllDocuments(await readFile(template(name), 'utf8'))[0]?.toJS()
  const inputs = Object.entries<{ default?: unknown }>(header.spec.inputs)
    .filter(([, input]) => input.default === undefined)
    .map(([input]) => [input, 'staging'])
  const include = [
    { project: 'platform/crosscloud', file: 'pipeline-templates/setup.yml', inputs: setup },
    { local: `pipeline-templates/${name}.yml`, inputs: Object.fromEntries(inputs) },
  ]
  return Object.entries(await expandPipeline(stringify({ include })))
}

/** A program that is there, and nothing but it and the system's. */
async function programs(t: Parameters<typeof temporaryFolder>[0], files: Record<string, string>) {
  const bin = await temporaryFolder(t)
  for (const [name, text] of Object.entries({ mvn: '#!/bin/sh\n', ...files })) {
    await writeFile(join(bin, name), text)
    await chmod(join(bin, name), 0o755)
  }
  const node = join(process.execPath, '..')
  return { bin, PATH: `${bin}:/usr/bin:/bin:${node}` }
}

await t.test('every job ends with the code that crosscloud ended with', async (t) => {
  const { bin, PATH } = await programs(t, {
    failing: '#!/bin/sh\necho "called with $*"\nexit "$WITH"\n',
  })
  const cwd = await temporaryFolder(t)
  let ran = 0
  for (const name of names) {
    for (const [job, { before_script: before = [], script }] of await jobsOf(name, {
      command: join(bin, 'failing'),
    })) {
      for (const shell of shells) {
        for (const WITH of ['75', '2', '1', '0']) {
          const given = { CROSSCLOUD_ENVIRONMENTS: 'test staging', CROSSCLOUD_DO: 'lock' }
          const env = { PATH, WITH, ...given }
          const { code, output } = await runScript(shell, [...before, ...script], { cwd, env })
          t.equal(code, Number(WITH), `${name}: ${job} in ${shell.name} with ${WITH}`, { output })
          t.match(output, 'called with ', `${name}: ${job}`)
          ran++
        }
      }
    }
  }
  t.ok(ran > 20 * shells.length * 4, `${ran} runs`)
})

await t.test('the job that signs off works as docs/gates.md prints it', async (t) => {
  const { bin, PATH } = await programs(t, {
    printing: '#!/bin/sh\nprintf "<%s>" "$@"\nexit "$WITH"\n',
  })
  const page = await readFile(new URL('../../docs/gates.md', import.meta.url), 'utf8')
  const [, printed] = /```yaml\n(sign-off-production:\n[^`]+)```/.exec(page) ?? []
  const setup = { project: 'platform/crosscloud', file: 'pipeline-templates/setup.yml' }
  const include = stringify({ include: [{ ...setup, inputs: { command: join(bin, 'printing') } }] })
  const { 'sign-off-production': job } = await expandPipeline(`${include}\n${printed}`)
  const { script = [], ...rest } = job ?? {}
  t.match(rest, {
    environment: { name: 'production', action: 'prepare' },
    id_tokens: { CROSSCLOUD_ID_TOKEN: { aud: 'crosscloud' } },
  })
  const env = { PATH, WITH: '1', DEPLOYMENT: 'd12', REASON: 'looks right; $(id) "x"' }
  for (const shell of shells) {
    const { code, output } = await runScript(shell, script, { cwd: bin, env })
    t.equal(code, 1, shell.name)
    t.match(output, `<sign-off><d12><--env><production><--reason><${env.REASON}>`, shell.name)
  }
})

await t.test('a script without `|| exit $?` loses the exit code in that wrapper', async (t) => {
  const env = { PATH: process.env.PATH ?? '' }
  const codes = shells.map(async (shell) => {
    return (await runScript(shell, ['sh -c "exit 75"'], { cwd: '/', env })).code
  })
  t.strictSame(await Promise.all(codes), [1, 75, 75])
})

/** What whoever may push, or may set a pipeline's variables, could leave to be started instead. */
async function hostileCheckout(t: Parameters<typeof temporaryFolder>[0]) {
  const cwd = await temporaryFolder(t)
  const evil = '#!/bin/sh\necho EVIL "$0"\n'
  await mkdir(join(cwd, 'node_modules/.bin'), { recursive: true })
  await mkdir(join(cwd, 'node_modules/crosscloud'))
  const files = [
    'crosscloud',
    'npx',
    'node_modules/.bin/crosscloud',
    'node_modules/crosscloud/main',
  ]
  for (const file of files) {
    await writeFile(join(cwd, file), evil)
    await chmod(join(cwd, file), 0o755)
  }
  await writeFile(join(cwd, '.npmrc'), 'registry=https://evil.example.com/\n')
  await writeFile(
    join(cwd, 'node_modules/crosscloud/package.json'),
    '{"name":"crosscloud","bin":{"crosscloud":"main"}}',
  )
  return cwd
}

await t.test('neither a checkout nor a variable chooses the program', async (t) => {
  const cwd = await hostileCheckout(t)
  const { PATH } = await programs(t, { crosscloud: `#!/bin/sh\nexec node ${MAIN} "$@"\n` })
  const variables = {
    CROSSCLOUD_COMMAND: './crosscloud',
    crosscloud_command: './crosscloud',
    crosscloud_package: '/evil.tgz',
    CROSSCLOUD_PACKAGE: 'https://evil.example.com/x.tgz',
    CROSSCLOUD_ENV: 'test',
    CROSSCLOUD_RELEASE: 'webapi@1.0.0',
  }
  const [[, { script }] = ['', { script: [] }]] = await jobsOf('verify-md5', {})
  for (const shell of shells) {
    const places = [PATH, `.:${PATH}`, `:${PATH}`, `${cwd}:${cwd}/node_modules/.bin:${PATH}`]
    for (const path of places) {
      const env = { ...variables, HOME: cwd, PATH: path }
      const { code, output } = await runScript(shell, script, { cwd, env })
      t.notMatch(output, 'EVIL', `${shell.name} with ${path}`)
      t.match(output, /error: .*crosscloud\.yml/, 'crosscloud itself has read the inputs')
      t.equal(code, 2)
    }
  }
  const { PATH: none } = await programs(t, {})
  for (const shell of shells) {
    const env = { ...variables, HOME: cwd, PATH: `${cwd}:${none}` }
    const { code, output } = await runScript(shell, script, { cwd, env })
    t.equal(code, 2, 'where there is none, nothing is fetched', { output })
    t.match(output, /crosscloud/)
    t.notMatch(output, 'EVIL')
  }
})

await t.test('what an include names is used before the PATH', async (t) => {
  const { bin, PATH } = await programs(t, {
    crosscloud: '#!/bin/sh\necho the PATH\n',
    given: '#!/bin/sh\necho the include: "$@"\n',
  })
  const cwd = await temporaryFolder(t)
  const [[, job] = ['', undefined]] = await jobsOf('approve', {
    command: `${join(bin, 'given')} x`,
  })
  const { output } = await runScript(shells[0] as never, job?.script ?? [], { cwd, env: { PATH } })
  t.match(output, 'the include: x approve --dotenv crosscloud.env')
  await t.rejects(jobsOf('approve', { command: 'a; touch pwned' }), /does not match/)
  await t.rejects(jobsOf('approve', { package: 'http://x/y.tgz' }), /does not match/)
  await t.rejects(jobsOf('approve', { sha512: 'abc' }), /does not match/)
})

await t.test('an old report is removed before the program starts', async (t) => {
  const { PATH } = await programs(t, { crosscloud: '#!/bin/sh\nls -a\nexit 1\n' })
  for (const name of names) {
    for (const [job, { before_script: before = [], script, artifacts }] of await jobsOf(name, {})) {
      const cwd = await temporaryFolder(t)
      const { dotenv, junit } = artifacts?.reports ?? {}
      await symlink('/etc/passwd', join(cwd, 'crosscloud.env'))
      await writeFile(join(cwd, 'crosscloud-verify.xml'), '<old/>')
      await mkdir(join(cwd, 'crosscloud-config-old.xml'))
      const { code, output } = await runScript(shells[0] as never, [...before, ...script], {
        cwd,
        env: { PATH, CROSSCLOUD_DO: 'lock' },
      })
      t.equal(code, 1, `${name}: ${job}`, { output })
      t.notMatch(output, /^crosscloud[.-]/m, `${name}: ${job} with ${dotenv} and ${junit}`)
    }
  }
})

await t.test('a job that writes no outputs promises no dotenv report', async (t) => {
  for (const name of names) {
    for (const [job, { script, artifacts }] of await jobsOf(name, {})) {
      const writes = /--dotenv (\S+)/.exec(script.join('\n'))?.[1]
      t.equal(artifacts?.reports?.dotenv, writes, `${name}: ${job}`)
    }
  }
})

await t.test('every job that changes an environment waits while somebody else does', async (t) => {
  let found = 0
  for (const name of names) {
    for (const [job, { script, variables = {} }] of await jobsOf(name, {})) {
      const lines = script.join('\n')
      if (!/^crosscloud (?:deploy|promote|rollback|release|instances (?:stop|rm))\b/m.test(lines))
        continue
      t.ok('CROSSCLOUD_LOCK_WAIT' in variables, `${name}: ${job}`)
      found++
    }
  }
  t.ok(found > 8, `${found} jobs`)
})
