import { fork } from 'node:child_process'
import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { cancelled, describe, StepError } from '../../core/errors.ts'

export interface Command {
  /** The file of the program: the same that serves. */
  program: string
  args: readonly string[]
  /** The folder with crosscloud.yml. */
  cwd: string
  /** All environment variables of the command. */
  env: Readonly<Record<string, string>>
  signal: AbortSignal
  /** Milliseconds. */
  timeout: number
  /** How long it may take to end before it is killed; default: a minute, to restore what it began. */
  killTimeout?: number | undefined
  /** Gets each line of its log at once. */
  onLine?: (line: string) => void
  /** Sent to it over its channel, which no variable and no other process can do. */
  message?: object
  /** Its standard input: what no argument may hold, which every process can see. */
  input?: string | undefined
}

const KILL_TIMEOUT = 60_000
/** A plan of many hosts is long. */
const MOST_KEPT = { stdout: 8 * 1024 * 1024, stderr: 256 * 1024 }
const LONGEST_LINE = 64 * 1024

interface AttemptResult {
  code: number | null
  killedBy: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/**
 * Runs a command of crosscloud as a process of its own, so that a build does not block the server,
 * and gives its JSON. It ends with this process, which holds the other end of its IPC channel.
 */
export async function runCommand(command: Command): Promise<Record<string, unknown>> {
  const { output, failure } = await completeCommand(command)
  if (failure) throw failure
  return output ?? {}
}

/** How a command ended: its document, which a failed one may have as well, and the failure. */
export interface CommandEnd {
  output: Record<string, unknown> | undefined
  failure: StepError | undefined
  exitCode: number
}

/** The same, where a failure is a result. CANCELLED is thrown where the command had not succeeded. */
export async function completeCommand(command: Command): Promise<CommandEnd> {
  const found = await stat(command.cwd).catch(() => undefined)
  if (!found?.isDirectory()) {
    throw new StepError('NOT_FOUND', `there is no folder ${command.cwd}`, {
      hint: 'Set folder of this route to where crosscloud.yml is.',
    })
  }
  if (command.signal.aborted) throw cancelled(command.signal)
  const ended = await waitFor(command)
  const output = readJson(ended.stdout)
  if (ended.code === 0 && output !== undefined) return { output, failure: undefined, exitCode: 0 }
  if (command.signal.aborted) throw cancelled(command.signal)
  return { output, failure: failureOf(command, ended, output), exitCode: ended.code || 1 }
}

async function waitFor({
  program,
  args,
  cwd,
  env,
  signal,
  timeout,
  killTimeout = KILL_TIMEOUT,
  onLine,
  message,
  input,
}: Command): Promise<AttemptResult> {
  const child = fork(program, [...args, '--json'], {
    cwd,
    env: { ...env },
    execArgv: [],
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', 'ipc'],
  })
  // A child that ends before it has read all says why in its own words.
  child.stdin?.on('error', () => {}).end(input)
  const printed = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      printed[name] = (printed[name] + text).slice(-MOST_KEPT[name])
    })
  }
  const rest = onLine && child.stderr ? readLines(child.stderr, onLine) : undefined
  // A child that has ended already shows in its exit code.
  if (message) child.send(message, () => {})
  let force: NodeJS.Timeout | undefined
  const end = () => {
    child.kill('SIGTERM')
    force ??= setTimeout(() => child.kill('SIGKILL'), killTimeout)
  }
  const limit = setTimeout(end, timeout)
  signal.addEventListener('abort', end, { once: true })
  try {
    return await new Promise<AttemptResult>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, killedBy) => {
        rest?.()
        resolve({ code, killedBy, ...printed })
      })
    })
  } catch (error) {
    throw new StepError('UNAVAILABLE', `starting ${args[0]}: ${describe(error)}`, { cause: error })
  } finally {
    clearTimeout(limit)
    clearTimeout(force)
    signal.removeEventListener('abort', end)
  }
}

/** Gives the function that ends it: the last line may have no line break. */
function readLines(stream: Readable, onLine: (line: string) => void): () => void {
  let part = ''
  stream.on('data', (text: string) => {
    const lines = (part + text).split('\n')
    part = (lines.pop() ?? '').slice(0, LONGEST_LINE)
    for (const line of lines) if (line !== '') onLine(line)
  })
  return () => {
    if (part !== '') onLine(part)
  }
}

function readJson(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}

const RETRY = 75
const LAST_LINES = 10

function failureOf(
  { args }: Command,
  { code, killedBy, stderr }: AttemptResult,
  output: Record<string, unknown> | undefined,
): StepError {
  const reported = output?.error as Partial<StepError> | undefined
  const retryable = code === RETRY
  if (typeof reported?.message === 'string') {
    const { code: reportedCode = 'COMMAND_FAILED', message } = reported
    const hint = typeof reported.hint === 'string' ? reported.hint : undefined
    return new StepError(reportedCode, message, { hint, retryable })
  }
  // The command itself succeeded, and its finding is the error: the last lines of its output.
  const found = output !== undefined && code === 1 ? lastWords(stderr) : undefined
  if (found !== undefined) return new StepError('VERIFY_FAILED', found)
  const last = stderr.trim().split('\n').slice(-LAST_LINES).join('\n')
  const how = killedBy ? `was ended by ${killedBy}` : `exited with ${code}`
  const message = `crosscloud ${args[0]} ${how}${last && `\n${last}`}`
  return new StepError('COMMAND_FAILED', message, { retryable })
}

/** An error is the last thing a command prints. */
function lastWords(stderr: string): string | undefined {
  const at = stderr.lastIndexOf('error: ')
  return at < 0 ? undefined : stderr.slice(at + 'error: '.length).trim()
}
