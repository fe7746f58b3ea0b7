import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { StepError } from '../core/errors.ts'
import { failUnlessDone, onHangUp, stopOnSignals } from '../core/process/signals.ts'
import { takeVariables } from '../core/process/worker.ts'
import type { PresentedWho } from '../identity/presented.ts'
import { watchOutput } from './launch/end.ts'
import { runProgram } from './program.ts'

const terminal = process.stdin.isTTY === true || process.stderr.isTTY === true
const variables = takeVariables(process.env)
const stop = stopOnSignals(process, { terminal, exit: () => process.exit(1) })
const hangUp = onHangUp(process)
const end = watchOutput(process)

// The server that started this command is gone: nobody would read its result.
process.once('disconnect', () => {
  stop.abort(new StepError('CANCELLED', 'the process that started this one ended'))
})

/** The variable only says that something comes: what is believed is what the parent process sends. */
async function receiveWho(): Promise<PresentedWho | undefined> {
  if (variables.CROSSCLOUD_RUN === undefined || process.send === undefined) return undefined
  const [{ who }] = (await once(process, 'message')) as [{ who?: PresentedWho }]
  return who
}

async function confirm(question: string): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const reply = await lines.question(`${question} [y/N] `, {
      signal: AbortSignal.any([stop.signal, hangUp]),
    })
    return /^y(?:es)?$/i.test(reply.trim())
  } finally {
    lines.close()
  }
}

const done = failUnlessDone(process)
const received = receiveWho().then((who) => {
  process.channel?.unref()
  return who
})
const run = (who: PresentedWho | undefined) =>
  runProgram({
    argv: process.argv.slice(2),
    cwd: process.cwd(),
    variables,
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
    who,
  })
received.then(run).then(async (code) => {
  await end(code)
  done()
})
