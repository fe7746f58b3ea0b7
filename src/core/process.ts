import type { Readable } from 'node:stream'
import { describe, errorCodeOf, StepError } from './errors.ts'
import type { Log } from './log.ts'

export interface RunOptions {
  cwd?: string
  /** Added to this process's environment. */
  env?: Record<string, string | undefined>
  signal?: AbortSignal | undefined
  /** milliseconds */
  timeout?: number
  input?: string | Readable
  /** Gets each line of the command's output as it comes. */
  log?: Log | undefined
}

export interface RunResult {
  stdout: string
  stderr: string
}

/**
 * Runs a program with an argument array; no shell ever sees it. On SIGINT the child gets SIGTERM,
 * and SIGKILL five seconds later. A failure is COMMAND_FAILED and carries the last lines printed.
 */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const { execa } = await import('execa')
  const { cwd, env, signal, timeout, input, log } = options
  const child = execa(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
    ...(signal === undefined ? {} : { cancelSignal: signal }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
    reject: false,
    forceKillAfterDelay: 5000,
    stripFinalNewline: true,
    maxBuffer: 64 * 1024 * 1024,
    all: true,
  })
  if (log) {
    for await (const line of child.iterable({ from: 'all' })) log.output(line)
  }
  const result = await child
  if (!result.failed) return { stdout: result.stdout, stderr: result.stderr }
  if (result.isCanceled) {
    throw new StepError('CANCELLED', `${command} was cancelled`, { cause: signal?.reason })
  }
  throw failure(command, args, result, timeout)
}

interface Failed {
  exitCode?: number | undefined
  signal?: string | undefined
  timedOut?: boolean
  all?: string | undefined
  cause?: unknown
}

function failure(
  command: string,
  args: readonly string[],
  result: Failed,
  timeout: number | undefined,
): StepError {
  const shown = [command, ...args].join(' ')
  if (errorCodeOf(result) === 'ENOENT') {
    return new StepError('NOT_FOUND', `${command}: no such program`, {
      hint: `Install ${command}, or put it on the PATH.`,
    })
  }
  const why = result.timedOut
    ? `ran longer than ${(timeout ?? 0) / 1000} s`
    : result.signal
      ? `was ended by ${result.signal}`
      : result.exitCode === undefined
        ? describe(result.cause)
        : `exited with ${result.exitCode}`
  const lines = (result.all ?? '').split('\n').slice(-20).join('\n').trim()
  return new StepError('COMMAND_FAILED', `${shown} ${why}${lines ? `\n${lines}` : ''}`, {
    cause: result,
  })
}
