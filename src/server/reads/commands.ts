import type { OpenedApplication } from '../applications/applications.ts'
import { type CommandEnd, completeCommand } from '../effects/command.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import { actorOf } from '../runs/child.ts'
import { type RunSubject, whoOf } from '../runs/run.ts'
import { inTurns } from './turns.ts'

/** A command line of ours that is run for somebody who asks over HTTP. */
export interface AskedCommand {
  application: OpenedApplication
  /** Undefined: it is about all of them, and needs what any of them needs. */
  environment?: string | undefined
  /**
   * Only texts of the server's own, and checked values behind `--name=`: none can be taken for a flag.
   */
  args: readonly string[]
  /** What no argument may hold. */
  input?: string | undefined
  /** Whom it acts for, where it changes something. */
  subject?: RunSubject | undefined
  signal: AbortSignal
}

export type Commands = (command: AskedCommand) => Promise<CommandEnd>

/** Processes at the same time, and requests that wait for one. */
const MOST = 3
const MOST_WAITING = 30
const TIMEOUT = 60_000

/**
 * Engines, config centres and templates are read by processes of their own, in the application's
 * checkout: what is slow or broken there stops no other request.
 */
export function createCommands(worker: WorkerEnvironment): Commands {
  const inTurn = inTurns({ most: MOST, waiting: MOST_WAITING }, 'too many requests are being read')
  return ({ application, environment, args, input, subject, signal }) =>
    inTurn(() =>
      completeCommand({
        program: worker.program,
        args: [...args, '--settings', application.file, '--log', 'json'],
        cwd: application.folder,
        env:
          environment === undefined
            ? application.environment
            : application.variablesFor(environment),
        signal,
        timeout: TIMEOUT,
        message: subject ? { who: { ...whoOf(subject), from: actorOf(subject, '') } } : {},
        input,
      }),
    )
}

/** The document of a command that only reads; what hosts did not answer is in it. */
export async function readDocument(
  commands: Commands,
  command: AskedCommand,
): Promise<Record<string, unknown>> {
  const { output, failure } = await commands(command)
  const { error: _error, ...document } = output ?? {}
  if (failure && Object.keys(document).length === 0) throw failure
  return failure ? { ...document, incomplete: failure.message } : document
}
