import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { stopOnSignals } from '../../src/core/process/signals.ts'
import { TYPESCRIPT } from '../support/typescript.ts'

type Sent = readonly [name: string, at: number]

/** What comes of signals sent at these milliseconds. */
function outcome(terminal: boolean, sent: readonly Sent[]) {
  const source = new EventEmitter()
  let time = 0
  let exits = 0
  const exit = () => void exits++
  const { signal } = stopOnSignals(source, { terminal, exit }, () => time)
  for (const [name, at] of sent) {
    time = at
    source.emit(name)
  }
  const reason = signal.aborted ? (signal.reason as Error).message : undefined
  return { reason, ended: exits > 0 }
}

await t.test(
  'a second signal ends the clean-up only when a user pressed Ctrl-C again',
  async (t) => {
    const at = (name: string, time: number): Sent => [name, time]
    const table: [what: string, terminal: boolean, sent: Sent[], reason: string, ended: boolean][] =
      [
        ['SIGTERM alone', false, [at('SIGTERM', 5)], 'stopped by SIGTERM', false],
        [
          'GitHub cancels a job',
          false,
          [at('SIGINT', 0), at('SIGTERM', 7500)],
          'stopped by SIGINT',
          false,
        ],
        [
          'the same at a terminal',
          true,
          [at('SIGINT', 0), at('SIGTERM', 7500)],
          'stopped by SIGINT',
          false,
        ],
        [
          'a runner asks twice',
          false,
          [at('SIGTERM', 0), at('SIGTERM', 50)],
          'stopped by SIGTERM',
          false,
        ],
        [
          'npm passes Ctrl-C on',
          true,
          [at('SIGINT', 0), at('SIGINT', 20)],
          'stopped by SIGINT',
          false,
        ],
        [
          'a person presses again',
          true,
          [at('SIGINT', 0), at('SIGINT', 1500)],
          'stopped by SIGINT',
          true,
        ],
        [
          'there is no terminal',
          false,
          [at('SIGINT', 0), at('SIGINT', 1500)],
          'stopped by SIGINT',
          false,
        ],
        [
          'the terminal is closed',
          true,
          [at('SIGHUP', 0), at('SIGTERM', 50)],
          'stopped by SIGTERM',
          false,
        ],
        [
          'the time is over',
          false,
          [at('SIGTERM', 0), at('SIGTERM', 10_000)],
          'stopped by SIGTERM',
          true,
        ],
      ]
    for (const [what, terminal, sent, reason, ended] of table) {
      t.same(outcome(terminal, sent), { reason, ended }, what)
    }
    t.same(outcome(true, []), { reason: undefined, ended: false })
    t.same(outcome(true, [at('SIGHUP', 0)]), { reason: undefined, ended: false })
  },
)

await t.test('a process finishes its work after the reader of its output is gone', async (t) => {
  const module = fileURLToPath(new URL('../../src/core/process/signals.ts', import.meta.url))
  const script = `
    import { outliveReaders } from ${JSON.stringify(module)}
    if (process.argv[1] === 'outlive') outliveReaders([process.stdout, process.stderr])
    process.once('SIGTERM', () => {
      for (let line = 0; line < 3; line++) setTimeout(() => process.stdout.write('more\\n'), line * 50)
      setTimeout(() => process.exit(7), 300)
    })
    setTimeout(() => {}, 60_000)
    process.stdout.write('ready\\n')`
  const args = ['--import', TYPESCRIPT, '--input-type=module', '-e', script]
  const codeOf = async (word: string) => {
    const child = spawn(process.execPath, [...args, word], { stdio: ['ignore', 'pipe', 'pipe'] })
    await once(child.stdout, 'data')
    child.stdout.destroy()
    child.stderr.destroy()
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const [code] = await ended
    return code
  }
  t.equal(await codeOf('outlive'), 7)
  t.equal(await codeOf('perish'), 1, 'without it Node ends the process at the first line')
})
