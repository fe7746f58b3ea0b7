import { text } from 'node:stream/consumers'
import { StepError } from '../core/errors.ts'
import { runProgram } from './program.ts'

const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    // The second one means it: whoever waits no longer gets the prompt back.
    if (stop.signal.aborted) process.exit(1)
    const hint = 'What was begun is being put back. Run the same command again to go on.'
    stop.abort(new StepError('CANCELLED', `stopped by ${name}`, { hint }))
  })
}

// A server that started this command is gone: nobody would learn what came of it.
process.once('disconnect', () => {
  stop.abort(new StepError('CANCELLED', 'the process that started this one ended'))
})
process.channel?.unref()

async function confirm(question: string): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await lines.question(`${question} [y/N] `, { signal: stop.signal })
    return /^y(?:es)?$/i.test(answer.trim())
  } finally {
    lines.close()
  }
}

runProgram({
  argv: process.argv.slice(2),
  cwd: process.cwd(),
  variables: process.env,
  signal: stop.signal,
  terminal: process.stdout.isTTY === true,
  person: {
    confirm: process.stdin.isTTY && process.stderr.isTTY ? confirm : undefined,
    readInput: () => text(process.stdin),
  },
  streams: {
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
  },
}).then((code) => {
  process.exitCode = code
})
