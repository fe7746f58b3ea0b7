import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import t from 'tap'
import type { CommandResult } from '../../src/cli/command.ts'
import { junitXml } from '../../src/cli/junit.ts'
import { createPerform } from '../../src/cli/perform.ts'
import { StepError } from '../../src/core/errors.ts'
import { run } from '../../src/core/process/process.ts'
import { createSecrets, type Secrets } from '../../src/core/secrets.ts'
import { runHere } from '../support/program.ts'
import { missingProgram } from '../support/servers/server.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** What a command that answers this leaves as its report. */
async function reportOf(cwd: string, secrets: Secrets, answer: CommandResult): Promise<void> {
  const streams = { stdout() {}, stderr() {} }
  const { signal } = new AbortController()
  const person = { confirm: undefined, readInput: async () => '' }
  const surroundings = { argv: [], cwd, variables: { HOME: cwd }, signal, terminal: false, person }
  const perform = createPerform({ ...surroundings, streams }, secrets, { with() {}, beside() {} })
  const command = new Command('look').description('Look.').option('--junit <file>')
  command.setOptionValue('junit', 'out.xml')
  await perform(command, async () => answer)
}

t.test('what a command found becomes a JUnit report', async (t) => {
  const cwd = await temporaryFolder(t)
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    `app: webapi
environments:
  test: { image: registry.test/webapi, config: file:test.yaml }\n`,
  )
  const values = (text: string) => writeFile(join(cwd, 'test.yaml'), text)
  await t.test('it is written in the folder that the command was started from', async (t) => {
    const path = join(cwd, 'elsewhere.xml')
    await values('webapi: { greeting: hello }\n')
    const args = ['config', 'lint', 'test', '--junit', path]
    t.match(await runHere(args, { cwd }), { code: 0 })
    t.match(await readFile(path, 'utf8'), /<testsuite name="config lint" tests="1" failures="0">/)
  })
  await values('webapi: { greeting: "hello <&> \\u0001 ", password: "sw0rd-fish " }\n')
  const path = join(cwd, 'bad.xml')
  const bad = await runHere(['config', 'lint', 'test', '--junit', path], { cwd })
  t.not(bad.code, 0)
  const xml = await readFile(path, 'utf8')
  t.match(xml, /<testsuite name="config lint" tests="(\d+)" failures="\1">/)
  t.notMatch(xml, /sw0rd-fish/)
  const unknown = await runHere(['render-config', '--env', 'x<y', '--junit', path], { cwd })
  t.equal(unknown.code, 2)
  t.match(await readFile(path, 'utf8'), /classname="render-config x&lt;y" name="[^"]*x&lt;y/)
  const skip = missingProgram('xmllint')
  await t.test('it is XML', { skip }, async () => {
    await run('xmllint', ['--noout', path])
  })
})

t.test('a secret is masked before XML gives it other looks', async (t) => {
  const cwd = await temporaryFolder(t)
  const password = 's3&cr<e>t"'
  const { secrets, answer } = { secrets: createSecrets(), answer: { text: `got ${password}` } }
  secrets.add(password)
  const failure = new StepError('VERIFY_FAILED', `no ${password}\nnor`, { hint: `not ${password}` })
  for (const fault of [undefined, failure]) {
    await reportOf(cwd, secrets, { json: {}, ...answer, ...(fault && { failure: fault }) })
    const xml = await readFile(join(cwd, 'out.xml'), 'utf8')
    t.notMatch(xml, /s3|cr&lt;e/)
    t.match(xml, fault ? '<failure message="no ***">no ***\ngot ***\nnot ***<' : '>got ***<')
  }
})

t.test('a suite is named with its environment, also where a variable names it', async (t) => {
  const cwd = await temporaryFolder(t)
  const variables = { CROSSCLOUD_ENV: 'staging', CROSSCLOUD_TO: 'production' }
  for (const [step, name] of [
    ['verify-md5', 'verify-md5 staging'],
    ['promote', 'promote production'],
  ] as const) {
    const said = await runHere([step, '--junit', 'out.xml'], { cwd, variables })
    t.equal(said.code, 2, said.all)
    t.match(await readFile(join(cwd, 'out.xml'), 'utf8'), `<testsuite name="${name}" `)
  }
})

t.test('a test has the same name when only digests, checksums or versions change', async (t) => {
  const names = (failure: StepError | undefined, ...facts: string[]) => {
    const findings = { title: 'verify-md5 test', test: 'Compare.', text: facts.join('\n'), failure }
    const xml = junitXml(findings, createSecrets())
    return [...xml.matchAll(/<testcase classname="([^"]*)" name="([^"]*)"/g)].map((one) => one[2])
  }
  t.strictSame(names(undefined, `webapi@1.0.${1} in test`), ['Compare.'])
  const wrong = (digit: string, version: string) =>
    new StepError(
      'VERIFY_FAILED',
      [
        `webapi on app-01 runs sha256:${digit.repeat(64)}, not sha256:${'0'.repeat(64)} (webapi@${version})`,
        `index.html is ${digit.repeat(32)}`,
        `index.html is ${'9'.repeat(32)}`,
      ].join('\n'),
    )
  const first = names(wrong('a', '1.0.1'))
  t.strictSame(first, names(wrong('b', '1.0.2-rc.1')))
  t.strictSame(first, [
    'webapi on app-01 runs …, not … (webapi)',
    'index.html is …',
    'index.html is … (2)',
  ])
})
