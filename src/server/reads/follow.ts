import { fork } from 'node:child_process'
import type { Line } from '../../api/events.ts'
import type { OpenedApplication } from '../applications/applications.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import { readLine } from '../runs/lines.ts'

export interface FollowedLog {
  application: OpenedApplication
  environment: string
  /** As for AskedCommand. */
  args: readonly string[]
  worker: WorkerEnvironment
  signal: AbortSignal
  /** Gets lines as they come; what is not taken yet waits in the child, not here. */
  write(lines: Line[]): Promise<void>
}

const KILL_TIMEOUT = 5000
const LONGEST_LINE = 64 * 1024

/** Runs `instances logs --follow` until the signal fires, or the command ends; gives its exit code. */
export async function followLog(log: FollowedLog): Promise<number | null> {
  const { application, environment, args, worker, signal, write } = log
  const child = fork(
    worker.program,
    [...args, '--follow', '--settings', application.file, '--log', 'json'],
    {
      cwd: application.folder,
      env: { ...application.variablesFor(environment) },
      execArgv: [],
      stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
    },
  )
  child.send({}, () => {})
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve)
    child.once('error', () => resolve(null))
  })
  let force: NodeJS.Timeout | undefined
  const end = () => {
    child.kill('SIGTERM')
    force ??= setTimeout(() => child.kill('SIGKILL'), KILL_TIMEOUT)
  }
  if (signal.aborted) end()
  signal.addEventListener('abort', end, { once: true })
  try {
    let rest = ''
    for await (const chunk of child.stdout?.setEncoding('utf8') ?? []) {
      const texts = `${rest}${chunk}`.split('\n')
      rest = (texts.pop() ?? '').slice(0, LONGEST_LINE)
      const lines = texts.filter((text) => text !== '')
      if (lines.length > 0) await write(lines.map((text) => readLine(text, worker.secrets.mask)))
    }
    return await ended
  } finally {
    end()
    signal.removeEventListener('abort', end)
    await ended
    clearTimeout(force)
  }
}
