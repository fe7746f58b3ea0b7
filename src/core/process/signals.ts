import { errorCodeOf, StepError } from '../errors.ts'

/**
 * How long a cancelled command has for its clean-up, in milliseconds. Until then another signal is
 * the next stage of the same cancellation: GitHub sends SIGINT, 7.5 s later SIGTERM and 2.5 s later
 * SIGKILL (https://docs.github.com/en/actions/reference/workflow-cancellation-reference).
 */
const CLEAN_UP = 10_000
/** npm and shells pass on Ctrl-C, so that it arrives twice within this time, in milliseconds. */
const SAME_KEY_PRESS = 1000
const STOPPING = ['SIGINT', 'SIGTERM'] as const

export interface StopOptions {
  /** Whether a user at a terminal may press Ctrl-C a second time. */
  terminal: boolean
  /** Ends the process at once, without its clean-up. */
  exit(): void
}

/** The process, as the source of signals. */
interface SignalSource {
  on(name: (typeof STOPPING)[number] | 'SIGHUP', listener: () => void): unknown
}

/**
 * The first signal cancels what runs. A second signal ends the process only if it is a user's
 * second Ctrl-C, or if the time for the clean-up is over.
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
 * A closed terminal or a broken connection is not a decision of the user: a deployment goes on.
 * Only commands that wait for a user or serve for ever end on it.
 */
export function onHangUp(source: SignalSource): AbortSignal {
  const hangUp = new AbortController()
  source.on('SIGHUP', () => {
    hangUp.abort(new StepError('CANCELLED', 'the terminal was closed'))
  })
  return hangUp.signal
}

/**
 * The reader of the output may close its pipe, or the disk may be full, before the work is done:
 * the work goes on. A closed pipe is not an error.
 * @returns the code of any other write error
 */
export function outliveReaders(
  streams: readonly { on(event: 'error', listener: (error: Error) => void): unknown }[],
): () => string | undefined {
  let failed: string | undefined
  for (const stream of streams) {
    stream.on('error', (error) => {
      const code = errorCodeOf(error) ?? error.message
      if (code !== 'EPIPE' && code !== 'ERR_STREAM_DESTROYED') failed ??= code
    })
  }
  return () => failed
}

/** The process, as far as its end is concerned. */
interface Ending {
  exitCode?: number | string | null | undefined
  once(event: 'exit', listener: () => void): unknown
  stderr: { write(text: string): unknown }
}

/**
 * Node exits with success when its event loop is empty. Work that is not done by then has failed.
 * @returns the function to call when the work is done
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
