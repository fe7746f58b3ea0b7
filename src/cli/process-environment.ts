import type { PresentedWho } from '../identity/presented.ts'
import type { Streams } from './output.ts'
import type { Terminal } from './terminal.ts'

/** The process as the command line sees it; only main.ts knows the real one. */
export interface ProcessEnvironment {
  argv: readonly string[]
  cwd: string
  variables: Readonly<Record<string, string | undefined>>
  signal: AbortSignal
  /** Fires when the terminal is gone; a step goes on all the same. */
  hangUp?: AbortSignal | undefined
  terminal: boolean
  person: Terminal
  streams: Streams
  /** Who it runs for, where a server started it; it comes over a channel, never by a variable. */
  who?: PresentedWho | undefined
}
