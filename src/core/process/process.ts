import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { describe, errorCodeOf, StepError, throwIfCancelled } from '../errors.ts'
import type { Log } from '../log.ts'

export interface RunOptions {
  cwd?: string
  /** Added to this process's environment. */
  env?: Record<string, string | undefined>
  /**
   * Only `env`, nothing of this process's environment: for programs that must not see its secrets.
   */
  cleanEnv?: boolean
  signal?: AbortSignal | undefined
  /** milliseconds */
  timeout?: number
  input?: string | Readable
  /** Gets each line of the command's output at once. */
  log?: Log | undefined
}

export interface RunResult {
  stdout: string
  stderr: string
}

/** The details of a COMMAND_FAILED by `run`. */
export interface CommandDetails {
  /** Undefined when a signal or the time limit ended it. */
  exitCode: number | undefined
  /** The last lines that it printed. */
  printed: string
}

/** Between SIGTERM and SIGKILL, in milliseconds. */
const KILL_DELAY = 5000
/** How many of the last lines an error shows. */
const LAST_LINES = 20

/**
 * Runs a program with an argument array, without a shell. Cancelling and the timeout end it and all
 * it started: SIGTERM, and SIGKILL five seconds later. A failure is COMMAND_FAILED with the last
 * lines printed. With `log` the result is empty: output goes to the log only.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const { execa } = await import('execa')
  const { cwd, env, cleanEnv = false, signal, timeout, input, log } = options
  throwIfCancelled(signal)
  if (cwd !== undefined) await requireFolder(command, cwd)
  const child = execa(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    extendEnv: !cleanEnv,
    ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
    reject: false,
    stripFinalNewline: true,
    maxBuffer: 64 * 1024 * 1024,
    all: true,
    buffer: log === undefined,
    // A process group of its own, so that its children are ended with it.
    detached: true,
    cleanup: false,
  })
  const group = watchGroup(child, signal, timeout)
  const last: string[] = []
  try {
    if (log) {
      for await (const line of child.iterable({ from: 'all' })) {
        log.output(line)
        last.push(line)
        if (last.length > LAST_LINES) last.shift()
      }
    }
    const result = await child
    throwIfCancelled(signal)
    if (!result.failed) return { stdout: result.stdout ?? '', stderr: result.stderr ?? '' }
    const printed = log ? last : (result.all ?? '').split('\n').slice(-LAST_LINES)
    const logged = log !== undefined
    const failed: Failed = { ...result, timedOut: group.timedOut(), printed, logged }
    throw failure(command, args, failed, timeout, result)
  } catch (error) {
    throwIfCancelled(signal)
    throw error
  } finally {
    group.release()
  }
}

/** For a missing folder Node would report that the program is missing. */
async function requireFolder(command: string, path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) return
  throw new StepError('NOT_FOUND', `${command}: there is no folder ${path} to run it in`)
}

interface Group {
  timedOut(): boolean
  release(): void
}

/** Ends a child's whole group when the signal fires, the time is up, or this process ends first. */
function watchGroup(
  child: { pid?: number | undefined; all: Readable },
  signal: AbortSignal | undefined,
  timeout: number | undefined,
): Group {
  const { pid } = child
  const kill = (name: NodeJS.Signals) => {
    try {
      if (pid !== undefined) process.kill(-pid, name)
    } catch {
      // It has ended.
    }
  }
  let timedOut = false
  let force: NodeJS.Timeout | undefined
  const end = () => {
    kill('SIGTERM')
    force ??= setTimeout(() => {
      kill('SIGKILL')
      // A process that left the group may still hold the pipe; do not wait for it.
      child.all.destroy()
    }, KILL_DELAY)
  }
  const limit =
    timeout === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true
          end()
        }, timeout)
  const leave = () => kill('SIGKILL')
  signal?.addEventListener('abort', end, { once: true })
  process.once('exit', leave)
  return {
    timedOut: () => timedOut,
    release() {
      clearTimeout(limit)
      clearTimeout(force)
      signal?.removeEventListener('abort', end)
      process.removeListener('exit', leave)
    },
  }
}

interface Failed {
  exitCode?: number | undefined
  signal?: string | undefined
  timedOut: boolean
  printed: readonly string[]
  /** Whether the log has all that was printed. */
  logged: boolean
  cause?: unknown
}

function failure(
  command: string,
  args: readonly string[],
  failed: Failed,
  timeout: number | undefined,
  cause: unknown,
): StepError<CommandDetails> {
  if (errorCodeOf(cause) === 'ENOENT') {
    return new StepError('NOT_FOUND', `${command}: no such program`, {
      hint: `Install ${command}, or put it on the PATH.`,
    })
  }
  const why = failed.timedOut
    ? `ran longer than ${(timeout ?? 0) / 1000} s`
    : failed.signal
      ? `was ended by ${failed.signal}`
      : failed.exitCode === undefined
        ? describe(failed.cause)
        : `exited with ${failed.exitCode}`
  const fact = `${[command, ...args].join(' ')} ${why}`
  const lines = failed.printed.join('\n').trim()
  return new StepError('COMMAND_FAILED', `${fact}${lines ? `\n${lines}` : ''}`, {
    ...(failed.logged && { summary: fact }),
    details: { exitCode: failed.exitCode, printed: lines },
    cause,
  })
}
