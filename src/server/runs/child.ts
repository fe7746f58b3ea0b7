import type { Line } from '../../api/events.ts'
import type { PresentedWho } from '../../identity/presented.ts'
import type { OpenedApplication } from '../applications/applications.ts'
import { type CommandEnd, completeCommand } from '../effects/command.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import { readLine } from './lines.ts'
import { type RunRequest, type RunSubject, whoOf } from './run.ts'
import { argumentsOf } from './steps.ts'

export interface ChildRun {
  request: Pick<RunRequest, 'step' | 'inputs' | 'environment' | 'idToken'>
  subject: RunSubject
  application: OpenedApplication
  worker: WorkerEnvironment
  /** Where the run is seen, for the ledger. */
  url: string
  more?: readonly string[]
  signal: AbortSignal
  timeout: number
  /** Milliseconds that it may take to end when it is to. */
  killTimeout?: number | undefined
  onLine?: (line: Line) => void
}

/** Runs a step for somebody, as a process of its own in the application's checkout. */
export async function runChild(run: ChildRun): Promise<CommandEnd> {
  const { request, subject, application, worker, url, more = [], onLine } = run
  const { folder, file } = application
  const settings = ['--settings', file, '--log', 'json']
  return completeCommand({
    program: worker.program,
    args: [...argumentsOf(request), ...more, ...settings],
    cwd: folder,
    env: application.variablesFor(request.environment),
    signal: run.signal,
    timeout: run.timeout,
    killTimeout: run.killTimeout,
    message: {
      who: { ...whoOf(subject), from: actorOf(subject, url), token: request.idToken },
    },
    ...(onLine && { onLine: (text: string) => onLine(readLine(text, worker.secrets.mask)) }),
  })
}

/**
 * For the ledger. It goes over the channel, not in variables: with another environment than the one
 * that the commit's settings were checked with, these could be others than those.
 */
export function actorOf(
  { by, claims = {}, presented }: RunSubject,
  jobUrl: string,
): PresentedWho['from'] {
  const text = (value: unknown) => (value === undefined || value === '' ? undefined : String(value))
  return { by, branch: text(claims.ref), commit: presented?.job?.sha, jobUrl }
}
