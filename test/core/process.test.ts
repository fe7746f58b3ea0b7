import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { isStepError, StepError } from '../../src/core/errors.ts'
import { type Log, silentLog } from '../../src/core/log.ts'
import { run } from '../../src/core/process/process.ts'
import { temporaryFolder } from '../support/temporary.ts'

function recordingLog(onLine: (line: string) => void): Log {
  return { ...silentLog, output: onLine }
}

const alive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Waits until a process has ended; a zombie counts as ended. */
async function gone(pid: number): Promise<boolean> {
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(20)) {
    if (!alive(pid)) return true
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z')
    if (state.includes(') Z')) return true
  }
  return false
}

async function caught(work: Promise<unknown>): Promise<StepError> {
  try {
    await work
  } catch (error) {
    if (error instanceof StepError) return error
    throw error
  }
  throw new Error('it did not fail')
}

const NODE = process.execPath

await t.test('arguments reach the program unchanged', async (t) => {
  const folder = await temporaryFolder(t)
  const args = [
    '$(touch hit)',
    '`touch hit`',
    '; touch hit',
    '* ? ~',
    'a"b\'c',
    '',
    'ü 中\n€',
    '|&><',
  ]
  const script = 'process.stdout.write(JSON.stringify(process.argv.slice(1)))'
  const { stdout } = await run(NODE, ['-e', script, '--', ...args], { cwd: folder })
  t.strictSame(JSON.parse(stdout), args)
  await t.rejects(readFile(join(folder, 'hit')), { code: 'ENOENT' })
})

await t.test(
  'environment and input reach the program, and both outputs are returned',
  async (t) => {
    const script = `
    process.stderr.write('to stderr\\n')
    process.stdin.on('data', (d) => process.stdout.write(process.env.WORD + ' ' + d))`
    const result = await run(NODE, ['-e', script], { env: { WORD: 'hello' }, input: 'from stdin' })
    t.strictSame(result, { stdout: 'hello from stdin', stderr: 'to stderr' })
    const empty = await run('cat', [])
    t.equal(empty.stdout, '', 'without input a program reads nothing and does not wait')
  },
)

await t.test('lines are logged while the program runs', async (t) => {
  const lines: { text: string; at: number }[] = []
  const log = recordingLog((text) => lines.push({ text, at: Date.now() }))
  await run('sh', ['-c', 'echo one; echo two >&2; sleep 0.4; printf three'], { log })
  t.strictSame(
    lines.map(({ text }) => text),
    ['one', 'two', 'three'],
  )
  t.ok((lines[2]?.at ?? 0) - (lines[0]?.at ?? 0) > 200, 'the first was not held back')
})

await t.test('a very talkative program is not stopped', async (t) => {
  let bytes = 0
  const log = recordingLog((line) => {
    bytes += line.length
  })
  const script = 'yes "$(printf %01000d 0)" | head -n 80000; exit 3'
  const error = await caught(run('sh', ['-c', script], { log }))
  t.equal(bytes, 80_000_000)
  t.match(error.message, /exited with 3/)
  t.equal(error.message.split('\n').length, 21, 'the message has only the last lines')
})

await t.test('failures name the program and show its last lines', async (t) => {
  const script = 'seq 1 100; echo "it broke" >&2; exit 7'
  for (const log of [undefined, silentLog]) {
    const error = await caught(run('sh', ['-c', script], { log }))
    t.equal(error.code, 'COMMAND_FAILED')
    t.equal(error.exitCode, 1)
    t.match(error.message, /^sh -c .* exited with 7\n/)
    t.match(error.message, /\n99\n100\nit broke$/)
    t.notMatch(error.message, /\n50\n/)
  }
  const killed = await caught(run('sh', ['-c', 'kill -9 $$']))
  t.match(killed.message, /was ended by SIGKILL/)
})

await t.test('a missing program and a missing folder are named', async (t) => {
  const program = await caught(run('no-such-program-here', ['x']))
  t.equal(program.code, 'NOT_FOUND')
  t.equal(program.message, 'no-such-program-here: no such program')
  t.match(program.hint, /Install no-such-program-here/)
  const folder = await caught(run('true', [], { cwd: '/no/such/folder' }))
  t.equal(folder.code, 'NOT_FOUND')
  t.match(folder.message, /\/no\/such\/folder/)
})

await t.test('the time limit ends the program and what it started', async (t) => {
  const file = join(await temporaryFolder(t), 'pid')
  const start = Date.now()
  const script = `sleep 60 & echo $! > ${file}; wait`
  const error = await caught(run('sh', ['-c', script], { timeout: 1500 }))
  t.ok(Date.now() - start < 30_000)
  t.equal(error.code, 'COMMAND_FAILED')
  t.match(error.message, /ran longer than 1\.5 s/)
  t.ok(await gone(Number(await readFile(file, 'utf8'))))
})

await t.test('cancelling ends the program and what it started, within seconds', async (t) => {
  const folder = await temporaryFolder(t)
  for (const log of [undefined, silentLog]) {
    const file = join(folder, 'pid')
    await writeFile(file, '')
    const stop = new AbortController()
    // Not the last command of the shell, so that the shell stays and has a child.
    const work = caught(
      run('sh', ['-c', `sh -c 'echo $$ > ${file}; sleep 60; true'; true`], {
        signal: stop.signal,
        log,
      }),
    )
    while ((await readFile(file, 'utf8')) === '') await sleep(20)
    const start = Date.now()
    stop.abort(new StepError('CANCELLED', 'stopped by SIGINT', { hint: 'again' }))
    const error = await work
    t.ok(Date.now() - start < 4500, 'before it would be killed')
    t.ok(isStepError(error, 'CANCELLED'))
    t.equal(error.message, 'stopped by SIGINT')
    t.ok(await gone(Number(await readFile(file, 'utf8'))))
  }
})

await t.test(
  'a program that ignores SIGTERM is killed, and a child outside its group is not waited for',
  async (t) => {
    const folder = await temporaryFolder(t)
    const script = `trap '' TERM; setsid sleep 30 & echo $$ > pid; while :; do sleep 0.2; done`
    const cancelStubborn = async (name: string, log: Log | undefined) => {
      const cwd = join(folder, name)
      await mkdir(cwd)
      const stop = new AbortController()
      const work = caught(run('sh', ['-c', script], { cwd, signal: stop.signal, log }))
      const pid = () => readFile(join(cwd, 'pid'), 'utf8').catch(() => '')
      while ((await pid()) === '') await sleep(20)
      const start = Date.now()
      stop.abort()
      const error = await work
      t.equal(error.code, 'CANCELLED')
      const took = Date.now() - start
      t.ok(took > 4000 && took < 25_000, `SIGKILL after five seconds (${took} ms)`)
      t.ok(await gone(Number(await pid())))
    }
    await Promise.all([cancelStubborn('kept', undefined), cancelStubborn('logged', silentLog)])
  },
)

await t.test('after cancellation no program is started', async (t) => {
  const folder = await temporaryFolder(t)
  const error = await caught(run('touch', ['file'], { cwd: folder, signal: AbortSignal.abort() }))
  t.equal(error.code, 'CANCELLED')
  t.strictSame(await readdir(folder), [])
})
