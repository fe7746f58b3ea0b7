import { fileURLToPath } from 'node:url'
import t from 'tap'
import { run } from '../../src/core/process/process.ts'
import { TYPESCRIPT } from '../support/typescript.ts'

const module = (name: string) =>
  JSON.stringify(new URL(`../../src/core/${name}.ts`, import.meta.url))

/** A process of its own that has nothing but this. */
const runScript = (script: string) => {
  const imports = [
    `import { startDeadline } from ${module('deadline')}`,
    `import { failUnlessDone } from ${module('process/signals')}`,
  ]
  const code = [...imports, script].join('\n')
  const args = ['--import', TYPESCRIPT, '--input-type=module', '--eval', code]
  return run(process.execPath, args, { cwd: fileURLToPath(new URL('../..', import.meta.url)) })
}

t.test('a process does not end while it waits for a response, however it waits', async (t) => {
  const { stdout } = await runScript(`
    const { signal } = startDeadline(300)
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      .catch((error) => console.log(error.name, error.message))`)
  t.equal(stdout.trim(), 'TimeoutError no answer within 0.3 s')
})

t.test('a response in time ends the waiting', async (t) => {
  const began = Date.now()
  await runScript('startDeadline(60_000).end()')
  t.ok(Date.now() - began < 50_000)
})

t.test('a process whose work is not done by its end has failed', async (t) => {
  const outcome = (script: string) =>
    runScript(`const done = failUnlessDone(process); ${script}`).then(
      () => 'success',
      (error: Error) => error.message,
    )
  const said = 'crosscloud ended before its work was done; run it again'
  t.match(await outcome('new Promise(() => {})'), said)
  t.equal(await outcome('done()'), 'success')
  t.notMatch(await outcome('process.exitCode = 75'), said, 'who failed has said why')
})
