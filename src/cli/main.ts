import { text } from 'node:stream/consumers'
import { StepError } from '../core/errors.ts'
import { failUnlessDone, onHangUp, outliveReaders, stopOnSignals } from '../core/process/signals.ts'
import { runProgram } from './program.ts'

const terminal = process.stdin.isTTY === true || process.stderr.isTTY === true
const stop = stopOnSignals(process, { terminal, exit: () => process.exit(1) })
const hangUp = onHangUp(process)
const unwritten = outliveReaders([process.stdout, process.stderr])

// A server that started this command is gone: nobody would learn what came of it.
process.once('disconnect', () => {
  stop.abort(new StepError('CANCELLED', 'the process that started this one ended'))
})
process.channel?.unref()

async function confirm(question: string): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await lines.question(`${question} [y/N] `, {
      signal: AbortSignal.any([stop.signal, hangUp]),
    })
    return /^y(?:es)?$/i.test(answer.trim())
  } finally {
    lines.close()
  }
}

/** Whether all could be written is known once the last of it was, or could not be. */
const written = (stream: NodeJS.WriteStream) =>
  new Promise<void>((settled) => void stream.write('', () => settled()))

const done = failUnlessDone(process)
runProgram({
  argv: process.argv.slice(2),
  cwd: process.cwd(),
  variables: process.env,
  signal: stop.signal,
  hangUp,
  terminal: process.stdout.isTTY === true,
  person: {
    confirm: process.stdin.isTTY && process.stderr.isTTY ? confirm : undefined,
    readInput: () => text(process.stdin),
  },
  streams: {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
  },
}).then(async (code) => {
  await Promise.all([process.stdout, process.stderr].map(written))
  done()
  const fault = unwritten()
  process.exitCode = fault === undefined ? code : code || 1
  if (fault === undefined) return
  process.stderr.write(
    `error: what was done is done, but not all of it could be printed: ${fault}\n`,
  )
})
