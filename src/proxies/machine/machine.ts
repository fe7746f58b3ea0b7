import type { RunOptions } from '../../core/process/process.ts'
import type { EngineAddress } from '../../targets/docker/address.ts'
import type { TlsFiles } from '../../targets/docker/connect.ts'

export interface CommandOptions {
  /** What the program reads. */
  input?: string | undefined
  /** milliseconds; default half a minute */
  timeout?: number | undefined
}

/** milliseconds */
export const COMMAND_TIMEOUT = 30_000

/**
 * Where a proxy runs, reached by commands alone: files go the same way, see files.ts. A command is
 * its program and arguments; none of them means anything to a shell.
 */
export interface Machine {
  /** For people: `this machine`, `lb-01`, `container nginx on lb-01`. */
  readonly name: string
  /**
   * What the program printed to its standard output. COMMAND_FAILED with CommandDetails when it exits
   * with anything but 0, NOT_FOUND when there is no such program, UNAVAILABLE when the machine cannot
   * be reached.
   */
  run(argv: readonly [string, ...string[]], options?: CommandOptions): Promise<string>
  close(): Promise<void>
}

export interface MachineOptions {
  /** A Docker Engine's, or ssh's; undefined: this machine. */
  address: EngineAddress | undefined
  /** The container that the proxy runs in, on that engine. */
  container?: string | undefined
  tls?: TlsFiles | undefined
  /** A file for `ssh -F`; without it ssh reads the user's own. */
  sshConfig?: string | undefined
  /** Of the programs on this machine, ssh included; default: this process's. */
  programs?: Pick<RunOptions, 'env' | 'cleanEnv'> | undefined
}
