import { fork } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { cancelled, describe, StepError } from '../../core/errors.ts'

export interface Command {
  /** The program's own file: the same that serves. */
  program: string
  args: readonly string[]
  /** Where crosscloud.yml is. */
  cwd: string
  /** All that it sees of the environment. */
  env: Readonly<Record<string, string>>
  signal: AbortSignal
  /** Milliseconds. */
  timeout: number
}

/** How long a command has to put back what it began, before it is killed. */
const PATIENCE = 60_000
const MOST_KEPT = 256 * 1024

interface Ended {
  code: number | null
  killedBy: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/**
 * Runs a command of crosscloud as a process of its own, so that building does not hold up the
 * server. It ends when this process does: it holds the other end of a channel. Gives its JSON.
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
  const answer = readJson(ended.stdout)
  if (ended.code === 0 && answer !== undefined) return answer
  if (command.signal.aborted) throw cancelled(command.signal)
  throw failure(command, ended, answer)
}

async function waitFor({ program, args, cwd, env, signal, timeout }: Command): Promise<Ended> {
  const child = fork(program, [...args, '--json'], {
    ...{ cwd, env: { ...env }, execArgv: [], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
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
    force ??= setTimeout(() => child.kill('SIGKILL'), PATIENCE)
  }
  const limit = setTimeout(end, timeout)
  signal.addEventListener('abort', end, { once: true })
  try {
    return await new Promise<Ended>((resolve, reject) => {
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
  { code, killedBy, stderr }: Ended,
  answer: Record<string, unknown> | undefined,
): StepError {
  const told = answer?.error as Partial<StepError> | undefined
  const retryable = code === RETRY
  if (typeof told?.message === 'string') {
    const hint = typeof told.hint === 'string' ? told.hint : undefined
    return new StepError(told.code ?? 'COMMAND_FAILED', told.message, { hint, retryable })
  }
  // It did its work, and what it found is the fault: told in its last words.
  const found = answer !== undefined && code === 1 ? lastWords(stderr) : undefined
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
