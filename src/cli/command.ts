import type { Command } from 'commander'
import type { z } from 'zod'
import type { OpenContext } from '../context.ts'
import { StepError } from '../core/errors.ts'
import { duration } from '../core/settings/schema.ts'

/** What a command found or did: one document for `--json`, the same as lines for people. */
export interface CommandResult {
  json: Record<string, unknown> | unknown[]
  text: string
  /** The text is a document as well, for a program to read. */
  document?: true
  /** The same for a merge request, where `--markdown` names a file. */
  markdown?: string
  /** What it is about was printed while it ran; without `--json` there is nothing left to print. */
  printed?: true
  /** That of a command which was run elsewhere, to be handed on. */
  exitCode?: number
  /** The command ran to its end, and what it found is an error. */
  failure?: StepError
}

/** What a report states of a command besides its result. */
export interface Reported {
  /** Environment that the command is about. */
  environment?: string | undefined
  /** What a step declares to put out. */
  outputs?: z.ZodObject
  /** The result alone goes to stdout, the log to stderr. */
  aloneOnStdout?: true
  /** Whether it only reads: then nothing can be written into the ledger. */
  readOnly?: boolean
}

export type CommandWork = (context: OpenContext) => Promise<CommandResult>

/** Runs a command's work with a context of its own; given to each group of commands. */
export type Perform = (command: Command, work: CommandWork, reported?: Reported) => Promise<void>

/** Every command shows one line that works. */
export function addExample(command: Command, example: string): void {
  command.addHelpText('after', `\nExample:\n  $ crosscloud ${example}`)
}

/** A flag that must be there; commander's own words would not name the example. */
export function requireText(value: string | undefined, flag: string): string {
  if (value) return value
  throw new StepError('INPUT_INVALID', `${flag} is required`)
}

/** `--lock-wait`, in milliseconds. */
export function readTimeout(text: string | undefined): number {
  if (!text) return 0
  const parsed = duration.safeParse(text)
  if (parsed.success) return parsed.data
  throw new StepError('INPUT_INVALID', `--lock-wait ${parsed.error.issues[0]?.message}`)
}
