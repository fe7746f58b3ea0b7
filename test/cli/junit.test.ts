import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { run } from '../../src/core/process.ts'
import { runHere } from '../support/program.ts'
import { missingProgram } from '../support/server.ts'
import { temporaryFolder } from '../support/temporary.ts'

t.test('what a command found, as a JUnit report', async (t) => {
  const cwd = await temporaryFolder(t)
  await writeFile(
    join(cwd, 'crosscloud.yml'),
    `app: webapi
environments:
  test: { image: registry.test/webapi, config: file:test.yaml }\n`,
  )
  const values = (text: string) => writeFile(join(cwd, 'test.yaml'), text)
  await t.test('in the folder it was started from', async (t) => {
    const path = join(cwd, 'elsewhere.xml')
    await values('webapi: { greeting: hello }\n')
    const args = ['config', 'lint', 'test', '--junit', path]
    t.match(await runHere(args, { cwd }), { code: 0 })
    t.match(await readFile(path, 'utf8'), /<testsuite name="lint" tests="1" failures="0">/)
  })
  await values('webapi: { greeting: "hello <&> \\u0001 ", password: "sw0rd-fish " }\n')
  const path = join(cwd, 'bad.xml')
  const bad = await runHere(['config', 'lint', 'test', '--junit', path], { cwd })
  t.not(bad.code, 0)
  const xml = await readFile(path, 'utf8')
  t.match(xml, /<testsuite name="lint" tests="(\d+)" failures="\1">/)
  t.notMatch(xml, /sw0rd-fish/)
  const unknown = await runHere(['render-config', '--env', 'x<y', '--junit', path], { cwd })
  t.equal(unknown.code, 2)
  t.match(await readFile(path, 'utf8'), /classname="render-config x&lt;y" name="[^"]*x&lt;y/)
  const skip = missingProgram('xmllint')
  await t.test('is XML', { skip }, async () => {
    await run('xmllint', ['--noout', path])
  })
})
