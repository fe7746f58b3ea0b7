import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** A Maven that fails and tells how it was called, as Maven does with --debug. */
const MVNW = '#!/bin/sh\necho "called with $*"; echo "wrong: $*" >&2; exit 1\n'

async function application(t: Test, settings: string) {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'mvnw'), MVNW, { mode: 0o755 })
  await writeFile(join(cwd, 'crosscloud.yml'), settings)
  await writeFile(join(cwd, 'test.yaml'), 'stage: test\nport: "8080"\ngreeting: correct-horse\n')
  const run = (args: string[], variables: Record<string, string>) =>
    runHere(args, { cwd, variables })
  return { cwd, run }
}

t.test('what a variable brings is never printed, whatever it is called', async (t) => {
  const variables = {
    DB_PWD: 'correct-horse',
    DBPW: 'battery+staple',
    MVN_CRED: 'Zx9',
    AUTH: 'q7!w',
  }
  const args = Object.keys(variables).map((name) => `-D${name.toLowerCase()}=\${${name}}`)
  const { cwd, run } = await application(
    t,
    `app: webapi\nwar: { path: x.war, args: ${JSON.stringify(args)} }\nledger: sqlite:l.db\n`,
  )
  const hidden = ['correct-horse', 'battery+staple', 'q7!w']
  for (const more of [
    [],
    ['--json'],
    ['--log', 'json'],
    ['--verbose'],
    ['--junit', 'report.xml'],
  ]) {
    const { code, all } = await run(['build-war', '--maven', './mvnw', ...more], variables)
    t.equal(code, 1, all)
    t.match(all, '-Ddb_pwd=***', 'the rest is told')
    for (const secret of hidden) t.notOk(all.includes(secret), `${more.join(' ')}: ${secret}`)
  }
  const report = await readFile(join(cwd, 'report.xml'), 'utf8')
  for (const secret of hidden) t.notOk(report.includes(secret), `the report: ${secret}`)
})

const DOCUMENTED = `app: webapi
ledger: sqlite:l.db
container: { env: { A: '\${STAGE}', B: '\${PORT}', C: '\${FORM}', D: '\${LONG}', E: '\${JUST}' } }
environments:
  test:
    image: \${REGISTRY}/team/webapi
    url: https://\${REGISTRY}/webapi
    config: file:test.yaml
    gate: {}
`

t.test('a document keeps its form and its words, whatever is secret', async (t) => {
  const { cwd, run } = await application(t, DOCUMENTED)
  const variables = {
    STAGE: 'test',
    PORT: '8080',
    FORM: '"approvals": 1',
    JUST: 'true',
    LONG: 'correct-horse',
    REGISTRY: 'registry.example.com',
  }
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await run([...args, '--json'], variables)
    t.equal(code, 0, stderr)
    return JSON.parse(stdout)
  }
  t.match(await json('environments'), {
    environments: [
      { name: 'test', gated: true, approvals: 1, url: 'https://registry.example.com/webapi' },
    ],
  })
  const list = ['config', 'list', '--env', 'test']
  const listed = JSON.stringify(await json(...list))
  t.match(listed, '8080')
  t.match(listed, '/stage')
  t.notMatch(listed, 'correct-horse', 'a long one is taken out of its values')
  t.match((await run(list, variables)).stdout, /\/stage.*\*\*\*/, 'people see neither')
  const exported = await run(['config', 'export', '--env', 'test'], variables)
  t.match(exported.stdout, /^stage: test$/m)
  t.match(exported.stdout, /^port: "8080"$/m)
  t.notMatch(exported.stdout, 'correct-horse')
  const lint = await run(['config', 'lint', '--junit', 'lint.xml'], { ...variables, STAGE: 'lint' })
  t.match(await readFile(join(cwd, 'lint.xml'), 'utf8'), /classname="config lint"/, lint.all)
  const wrong = await run(['config', 'list', '--env', 'correct-horse', '--json'], variables)
  t.match(JSON.parse(wrong.stdout), { error: { code: 'INPUT_INVALID', retryable: false } })
  t.notMatch(wrong.all, 'correct-horse', 'what went wrong is told without it')
})
