import { StepError } from '../errors.ts'

/** Where ssh goes. */
export interface SshDestination {
  host: string
  port: number | undefined
  user: string | undefined
}

/** What ssh exits with when it has no connection, no key that is taken, or was killed: ssh(1). */
export const SSH_EXIT = 255

/**
 * The arguments of the system's ssh up to the command. It is used, not a library: it checks the
 * host's key and knows the user's configuration, keys and agent. `more`: options of this use.
 */
export function sshArguments(
  { host, port, user }: SshDestination,
  config: string | undefined,
  more: readonly string[] = [],
): string[] {
  return [
    ...['-T', '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10', '-o', 'ServerAliveInterval=15'],
    ...(config === undefined ? [] : ['-F', config]),
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(user === undefined ? [] : ['-l', user]),
    ...more,
    ...['--', host],
  ]
}

/**
 * A command as the one text that the shell at the far end of ssh reads: each argument in single
 * quotes, in which no character means anything. INPUT_INVALID for control characters.
 */
export function quoteArguments(argv: readonly string[]): string {
  return argv
    .map((argument) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is refused
      if (/[\x00-\x1f\x7f]/.test(argument)) {
        throw new StepError(
          'INPUT_INVALID',
          `${JSON.stringify(argument)} has a control character and goes through no shell`,
        )
      }
      return `'${argument.replaceAll("'", `'\\''`)}'`
    })
    .join(' ')
}
