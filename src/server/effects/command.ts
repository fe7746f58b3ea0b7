import { fork } from 'node:child_process'
import { stat } from 'node:fs/promises'
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
}

/** How long a command may take to restore what it began, before it is killed. */
const KILL_TIMEOUT = 60_000
const MOST_KEPT = 256 * 1024

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
  const found = await stat(command.cwd).catch(() => undefined)
  if (!found?.isDirectory()) {
    throw new StepError('NOT_FOUND', `there is no folder ${command.cwd}`, {
      hint: 'Set folder of this route to where crosscloud.yml is.',
    })
  }
  if (command.signal.aborted) throw cancelled(command.signal)
  const ended = await waitFor(command)
  const output = readJson(ended.stdout)
  if (ended.code === 0 && output !== undefined) return output
  if (command.signal.aborted) throw cancelled(command.signal)
  throw failure(command, ended, output)
}

async function waitFor({
  program,
  args,
  cwd,
  env,
  signal,
  timeout,
}: Command): Promise<AttemptResult> {
  const child = fork(program, [...args, '--json'], {
    cwd,
    env: { ...env },
    execArgv: [],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const printed = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      printed[name] = (printed[name] + text).slice(-MOST_KEPT)
    })
  }
  let force: NodeJS.Timeout | undefined
  const end = () => {
    child.kill('SIGTERM')
    force ??= setTimeout(() => child.kill('SIGKILL'), KILL_TIMEOUT)
  }
  const limit = setTimeout(end, timeout)
  signal.addEventListener('abort', end, { once: true })
  try {
    return await new Promise<AttemptResult>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, killedBy) => resolve({ code, killedBy, ...printed }))
    })
  } catch (error) {
    throw new StepError('UNAVAILABLE', `starting ${args[0]}: ${describe(error)}`, { cause: error })
  } finally {
    clearTimeout(limit)
    clearTimeout(force)
    signal.removeEventListener('abort', end)
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

function failure(
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
