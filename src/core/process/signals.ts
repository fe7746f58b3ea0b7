import { errorCodeOf, StepError } from '../errors.ts'

/**
 * How long a cancelled command has to put back what it began, in milliseconds. Until then another
 * signal is the next stage of the same cancellation: GitHub sends SIGINT, 7.5 s later SIGTERM and
 * 2.5 s later SIGKILL (https://docs.github.com/en/actions/reference/workflow-cancellation-reference).
 */
const CLEAN_UP = 10_000
/** A Ctrl-C that npm or a shell passes on arrives twice, this close together in milliseconds. */
const SAME_KEY_PRESS = 1000
const STOPPING = ['SIGINT', 'SIGTERM'] as const

export interface StopOptions {
  /** Whether a person sits at a terminal and may press Ctrl-C a second time. */
  terminal: boolean
  /** Ends the process at once, with its clean-up left undone. */
  exit(): void
}

/** What sends the signals: the process. */
interface SignalSource {
  on(name: (typeof STOPPING)[number] | 'SIGHUP', listener: () => void): unknown
}

/**
 * The first signal cancels what runs. A second one ends the process only if it is a person's second
 * Ctrl-C, or if the time for the clean-up is over.
 */
export function stopOnSignals(
  source: SignalSource,
  { terminal, exit }: StopOptions,
  now: () => number = () => performance.now(),
): AbortController {
  const stop = new AbortController()
  let since = 0
  for (const name of STOPPING) {
    source.on(name, () => {
      if (!stop.signal.aborted) {
        since = now()
        const hint = 'What was begun is being put back. Run the same command again to go on.'
        stop.abort(new StepError('CANCELLED', `stopped by ${name}`, { hint }))
        return
      }
      const passed = now() - since
      const pressedAgain = terminal && name === 'SIGINT' && passed >= SAME_KEY_PRESS
      if (pressedAgain || passed >= CLEAN_UP) exit()
    })
  }
  return stop
}

/**
 * A terminal that was closed, or a connection that broke, is nobody's decision: what was begun goes
 * on. Only what waits for a person or serves for ever takes it for its end.
 */
export function onHangUp(source: SignalSource): AbortSignal {
  const hangUp = new AbortController()
  source.on('SIGHUP', () => {
    hangUp.abort(new StepError('CANCELLED', 'the terminal was closed'))
  })
  return hangUp.signal
}

/**
 * Who reads what is printed may be gone, or the disk full, before the work is done: that must not
 * end it. What is lost because nobody reads any more is no fault.
 * @returns what else kept a text from being written, once it did
 */
export function outliveReaders(
  streams: readonly { on(event: 'error', listener: (error: Error) => void): unknown }[],
): () => string | undefined {
  let fault: string | undefined
  for (const stream of streams) {
    stream.on('error', (error) => {
      const code = errorCodeOf(error) ?? error.message
      if (code !== 'EPIPE' && code !== 'ERR_STREAM_DESTROYED') fault ??= code
    })
  }
  return () => fault
}

/** What ends, and is told before it does: the process. */
interface Ending {
  exitCode?: number | string | null | undefined
  once(event: 'exit', listener: () => void): unknown
  stderr: { write(text: string): unknown }
}

/**
 * Node ends, with success, when nothing is left to wait for. A work that is not done by then failed.
 * @returns what is to be called when it is done
 */
export function failUnlessDone(program: Ending): () => void {
  let done = false
  program.once('exit', () => {
    if (done || program.exitCode) return
    program.exitCode = 1
    program.stderr.write('error: crosscloud ended before its work was done; run it again\n')
  })
  return () => {
    done = true
  }
}
