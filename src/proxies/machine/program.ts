import { isStepError, StepError } from '../../core/errors.ts'
import { type CommandDetails, run } from '../../core/process/process.ts'
import {
  quoteArguments,
  SSH_EXIT,
  type SshDestination,
  sshArguments,
} from '../../core/process/ssh.ts'
import {
  COMMAND_TIMEOUT,
  type CommandOptions,
  type Machine,
  type MachineOptions,
} from './machine.ts'

/** What a shell exits with when it does not find a program: POSIX, "Exit Status for Commands". */
const NO_PROGRAM = 127

export function openLocal(programs?: MachineOptions['programs']): Machine {
  return {
    name: 'this machine',
    run: async ([program, ...args], options) =>
      (await run(program, args, { ...runOptions(options), ...programs })).stdout,
    async close() {},
  }
}

/** Another machine, by the system's ssh; its user's shell reads each command. */
export function openSsh(
  to: SshDestination,
  config: string | undefined,
  programs?: MachineOptions['programs'],
): Machine {
  const { host: name } = to
  return {
    name,
    async run(argv, options) {
      const args = [...sshArguments(to, config), quoteArguments(argv)]
      try {
        return (await run('ssh', args, { ...runOptions(options), ...programs })).stdout
      } catch (error) {
        throw sshError(name, argv, error)
      }
    },
    async close() {},
  }
}

const runOptions = ({ input, timeout = COMMAND_TIMEOUT }: CommandOptions = {}) => ({
  timeout,
  ...(input !== undefined && { input }),
})

function sshError(name: string, argv: readonly string[], error: unknown): unknown {
  if (!isStepError(error, 'COMMAND_FAILED')) return error
  const { exitCode, printed } = error.details as CommandDetails
  if (exitCode === SSH_EXIT) {
    const why = printed.split('\n').at(-1)
    return new StepError('UNAVAILABLE', `${name}: ssh: ${why || 'no connection'}`, {
      hint: `Try the same by hand: ssh ${name} true.`,
      cause: error,
    })
  }
  if (exitCode === NO_PROGRAM) return noProgram(name, argv[0] ?? '', error)
  const how = exitCode === undefined ? 'did not end in time' : `exited with ${exitCode}`
  const message = `${name}: ${argv.join(' ')} ${how}${printed && `\n${printed}`}`
  return error.with({ message })
}

export function noProgram(name: string, program: string, cause?: unknown): StepError {
  return new StepError('NOT_FOUND', `${name}: ${program}: no such program`, {
    hint: 'Write its whole path: /usr/sbin is often not on the PATH of a user.',
    cause,
  })
}
