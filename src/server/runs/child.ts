import type { Line } from '../../api/events.ts'
import type { OpenedApplication } from '../applications/applications.ts'
import { type CommandEnd, completeCommand } from '../effects/command.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import { readLine } from './lines.ts'
import { type RunRequest, type RunSubject, whoOf } from './run.ts'
import { argumentsOf } from './steps.ts'

export interface ChildRun {
  request: Pick<RunRequest, 'step' | 'inputs'>
  subject: RunSubject
  application: OpenedApplication
  worker: WorkerEnvironment
  /** Where the run is seen, for the ledger. */
  url: string
  more?: readonly string[]
  signal: AbortSignal
  timeout: number
  onLine?: (line: Line) => void
}

/** Runs a step for somebody, as a process of its own in the application's checkout. */
export async function runChild(run: ChildRun): Promise<CommandEnd> {
  const { request, subject, application, worker, url, more = [], onLine } = run
  const { folder, file, environment } = application
  const settings = ['--settings', file, '--log', 'json']
  return completeCommand({
    program: worker.program,
    args: [...argumentsOf(request), ...more, ...settings],
    cwd: folder,
    env: { ...environment, ...actorVariables(subject, url) },
    signal: run.signal,
    timeout: run.timeout,
    message: { who: whoOf(subject) },
    ...(onLine && { onLine: (text: string) => onLine(readLine(text, worker.secrets.mask)) }),
  })
}

/** Who acts, in the variables of a CI job; the ledger records it. */
function actorVariables({ by, claims = {} }: RunSubject, url: string): Record<string, string> {
  const facts = {
    CI_COMMIT_SHA: claims.sha,
    CI_COMMIT_REF_NAME: claims.ref,
  }
  const known = Object.entries(facts).flatMap(([name, value]): [string, string][] =>
    value === undefined || value === '' ? [] : [[name, String(value)]],
  )
  return {
    CROSSCLOUD_SERVER: 'true',
    CROSSCLOUD_WORKER: 'true',
    // A message follows that says who it is: a variable alone proves nothing.
    CROSSCLOUD_RUN: url,
    GITLAB_USER_LOGIN: by,
    CI_JOB_URL: url,
    ...Object.fromEntries(known),
  }
}
