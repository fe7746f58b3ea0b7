import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { runFiles } from '../scripts/run-files.ts'
import { temporaryFolder } from './support/temporary.ts'

const TAP = pathToFileURL(join(process.cwd(), 'node_modules/tap/dist/esm/index.js')).href

t.test('the runner of test files', async (t) => {
  const folder = await temporaryFolder(t)
  const run = async (text: string, timeout = 60) => {
    const file = join(folder, 'one.test.ts')
    await writeFile(file, `import t from '${TAP}'\n${text}`)
    const lines: string[] = []
    const { failed, totals } = await runFiles([[file]], { jobs: 1, timeout }, (line) =>
      lines.push(line),
    )
    return { failed: failed.length, totals, output: lines.join('\n') }
  }

  await t.test('a file that passes is one line, and what it skips is shown', async (t) => {
    const { failed, totals, output } = await run(
      "t.pass('fine')\nawait t.test('needs a dog', { skip: 'no dog' }, async () => {})",
    )
    t.equal(failed, 0)
    t.strictSame(totals, { total: 2, pass: 1, fail: 0, skip: 1 })
    t.match(output, /^ok 1 - .*one\.test\.ts # time=[\d.]+s\n {4}ok 2 - needs a dog # SKIP no dog$/)
  })

  await t.test('what a failed file printed is shown', async (t) => {
    const { failed, totals, output } = await run(
      "t.pass()\nconsole.error('a hint')\nt.equal(1, 2, 'sums up')",
    )
    t.equal(failed, 1)
    t.strictSame(totals, { total: 2, pass: 1, fail: 1, skip: 0 })
    t.match(output, /not ok 2 - sums up[\s\S]*a hint[\s\S]*not ok 1 - .*one\.test\.ts/)
  })

  await t.test('a file that ends before its tests do has failed', async (t) => {
    t.match(await run("t.test('x', () => new Promise(() => {}))"), { failed: 1 })
    t.match(await run("t.test('x', async () => process.exit(0))"), { failed: 1 })
    t.match(await run(''), { failed: 1 })
  })

  await t.test('a run of nothing is an error', async (t) => {
    await t.rejects(runFiles([], { jobs: 1, timeout: 60 }), /no test file was found/)
    await t.rejects(
      runFiles([['x']], { jobs: Number('two'), timeout: 60 }),
      /jobs must be a number/,
    )
  })

  await t.test('a file that takes too long is ended', async (t) => {
    const { failed, output } = await run(
      "t.test('long', () => new Promise((end) => setTimeout(end, 60_000)))",
      1,
    )
    t.equal(failed, 1)
    t.match(output, 'timeout')
  })

  await t.test('what a file starts has the environment of the runner, and no loader', async (t) => {
    const { failed, output } = await run(
      `import { execFileSync } from 'node:child_process'
       const args = ['-p', 'String(process.env.NODE_OPTIONS)']
       const options = execFileSync(process.execPath, args, { encoding: 'utf8' }).trim()
       t.equal(options, ${JSON.stringify(String(process.env.NODE_OPTIONS))})`,
    )
    t.equal(failed, 0, output)
  })
})
