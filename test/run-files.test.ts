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

  const runBatch = async (...texts: string[]) => {
    const files = texts.map((_, number) => join(folder, `batch-${number}.test.ts`))
    await Promise.all(
      texts.map((text, number) =>
        writeFile(files[number] ?? '', `import t from '${TAP}'\n${text}`),
      ),
    )
    const lines: string[] = []
    const { failed, totals } = await runFiles([files], { jobs: 1, timeout: 60 }, (line) =>
      lines.push(line),
    )
    return { failed: failed.map((file) => files.indexOf(file)), totals, output: lines.join('\n') }
  }

  await t.test('files that share a process are judged each by its own tests', async (t) => {
    const { failed, totals, output } = await runBatch(
      "t.test('slow', () => new Promise((end) => setTimeout(end, 200)))\nt.pass()",
      "t.equal(1, 2, 'sums up')",
      "await t.test('last', async (t) => t.equal(process.env.TEST_FILES, undefined))",
      'const nothing = 1',
    )
    t.strictSame(failed, [1, 3], 'the one with a failed test, and the one without a test')
    t.strictSame(totals, { total: 4, pass: 3, fail: 1, skip: 0 })
    t.match(output, /^ok 1 - .*batch-0[\s\S]*not ok 3 - sums up[\s\S]*not ok 2 - .*batch-1/)
    t.notMatch(output, /last/, 'what passed is a line')
  })

  await t.test(
    'when a shared process ends early, what it did not come to has failed',
    async (t) => {
      const { failed } = await runBatch("t.pass('fine')", 'process.exit(0)', "t.pass('never')")
      t.strictSame(failed, [1, 2], 'what had ended before has passed')
      const thrown = await runBatch(
        "t.pass('fine')",
        "throw new Error('a typo')",
        "t.pass('never')",
      )
      t.ok(thrown.failed.includes(1) && thrown.failed.includes(2))
      t.match(thrown.output, 'a typo')
      const late = await runBatch(
        "t.pass('a')",
        'setTimeout(() => { process.exitCode = 3 }, 50)\nt.pass()',
      )
      t.strictSame(late.failed, [0, 1], 'a bad status of the process belongs to no file')
    },
  )
})
