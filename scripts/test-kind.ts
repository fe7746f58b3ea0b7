import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { text } from 'node:stream/consumers'
import { findTestFiles, ROOT } from '../test/support/unit-tests.ts'

// npm run test:unit: every unit test, each file in a process of its own. Without tap's runner a file
// starts in half the time. npm run test:servers: all other files, by tap's runner.
const [kind, ...more] = process.argv.slice(2)
const { unit, servers } = await findTestFiles()
if (kind === 'unit') process.exitCode = await runUnitTests(unit)
else if (kind === 'servers') process.exitCode = await runTap([...more, ...servers])
else throw new Error('say unit or servers')

/** Shows what failed, then one line about all; the status to exit with. */
async function runUnitTests(files: string[]): Promise<number> {
  const started = Date.now()
  const waiting = [...files]
  const failed: string[] = []
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const { passed, output } = await runFile(file)
      if (passed) continue
      failed.push(file)
      console.log(`${output}\n`)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  const seconds = ((Date.now() - started) / 1000).toFixed(1)
  console.log(`${files.length - failed.length} of ${files.length} files passed in ${seconds} s`)
  for (const file of failed) console.log(`failed: npm run test:one ${file}`)
  return failed.length === 0 ? 0 : 1
}

async function runFile(file: string): Promise<{ passed: boolean; output: string }> {
  const args = ['--import=./scripts/typescript.mjs', '--enable-source-maps', file]
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, TAP: '1', TAP_TIMEOUT: '600', FORCE_COLOR: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [output, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { passed: code === 0, output: `${file}\n${output}${errors}` }
}

async function runTap(args: string[]): Promise<number> {
  const child = spawn('npx', ['--no-install', 'tap', 'run', ...args], {
    cwd: ROOT,
    stdio: 'inherit',
  })
  return new Promise((resolve) => child.once('close', (code) => resolve(code ?? 1)))
}
