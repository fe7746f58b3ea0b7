import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import type Docker from 'dockerode'
import { StepError } from '../../core/errors.ts'
import type { CommandDetails } from '../../core/process/process.ts'
import { caller } from '../../targets/docker/call.ts'
import { openEngine } from '../../targets/docker/connect.ts'
import {
  COMMAND_TIMEOUT,
  type CommandOptions,
  type Machine,
  type MachineOptions,
} from './machine.ts'
import { noProgram } from './program.ts'

/** What an engine's runtime exits with for a program that is missing, or no program. */
const NOT_STARTED = [126, 127]

/** A container on a Docker Engine. */
export async function openContainer(container: string, options: MachineOptions): Promise<Machine> {
  const { address } = options
  if (address === undefined) throw new StepError('INTERNAL', 'a container has no engine')
  const engine = await openEngine({ ...options, address })
  const closing = new AbortController()
  const where = address.kind === 'unix' ? 'this machine' : address.host
  const name = `container ${container} on ${where}`
  const call = caller({ name: where, address: address.text }, closing.signal)
  return {
    name,
    run: (argv, given = {}) =>
      call(
        `${argv.join(' ')} in container ${container}`,
        (abortSignal) =>
          execute(engine.docker.getContainer(encodeURIComponent(container)), argv, {
            ...given,
            name,
            abortSignal,
          }),
        {
          timeout: given.timeout ?? COMMAND_TIMEOUT,
          hint: `See that the container runs: \`docker ps --filter name=${container}\`.`,
        },
      ),
    async close() {
      closing.abort()
      engine.close()
    },
  }
}

interface Execution extends CommandOptions {
  name: string
  abortSignal: AbortSignal
}

/** https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Exec */
async function execute(
  container: Docker.Container,
  argv: readonly string[],
  { input, timeout = COMMAND_TIMEOUT, name, abortSignal }: Execution,
): Promise<string> {
  const exec = await container.exec({
    Cmd: [...argv],
    AttachStdin: input !== undefined,
    AttachStdout: true,
    AttachStderr: true,
    abortSignal,
  })
  const stream = await exec.start({ hijack: true, stdin: input !== undefined, abortSignal })
  const [stdout, stderr] = await outputOf(container, stream, input, abortSignal).catch((error) => {
    throw isTimeout(error) ? tooLong(`${name}: ${argv.join(' ')}`, timeout) : error
  })
  const { ExitCode: exitCode } = await exec.inspect({ abortSignal })
  if (exitCode === 0) return stdout.replace(/\n$/, '')
  if (exitCode !== null && NOT_STARTED.includes(exitCode)) throw noProgram(name, argv[0] ?? '')
  const printed = `${stdout}${stderr}`.trim()
  const details: CommandDetails = { exitCode: exitCode ?? undefined, printed }
  throw new StepError(
    'COMMAND_FAILED',
    `${name}: ${argv.join(' ')} exited with ${exitCode}${printed && `\n${printed}`}`,
    { details },
  )
}

const isTimeout = (error: unknown) => error instanceof Error && error.name === 'TimeoutError'

function tooLong(what: string, timeout: number): StepError {
  return new StepError('COMMAND_FAILED', `${what} ran longer than ${timeout / 1000} s`, {
    hint: 'See what it waits for, inside the container.',
  })
}

/** Both outputs, once the program has ended; the signal ends the waiting, not the program. */
async function outputOf(
  { modem }: Docker.Container,
  stream: Duplex,
  input: string | undefined,
  signal: AbortSignal,
): Promise<[string, string]> {
  const streams = [new PassThrough(), new PassThrough()] as const
  const stop = () => stream.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    modem.demuxStream(stream, ...streams)
    const ended = once(stream, 'close')
    stream.once('end', stop)
    if (input !== undefined) stream.end(input)
    const printed = Promise.all([text(streams[0]), text(streams[1])])
    await ended
    signal.throwIfAborted()
    for (const each of streams) each.end()
    return await printed
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
