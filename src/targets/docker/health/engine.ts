import type Docker from 'dockerode'
import { StepError } from '../../../core/errors.ts'
import type { Caller } from '../call.ts'
import type { CommandResult, ContainerInfo } from '../host.ts'
import { unframe } from '../output.ts'

const MOST_OUTPUT = 64 * 1024

/** What the engine says about the container's own HEALTHCHECK. */
export function engineHealth({
  Config,
  State,
}: Docker.ContainerInspectInfo): Pick<ContainerInfo, 'hasHealthCheck' | 'health'> {
  const test = Config.Healthcheck?.Test ?? []
  const { Status, Log = [] } = State.Health ?? {}
  return {
    hasHealthCheck: test.length > 0 && test[0] !== 'NONE',
    health:
      Status === undefined || Status === 'none'
        ? undefined
        : { status: Status, output: Log?.at(-1)?.Output.trim() ?? '' },
  }
}

/** Runs a program in a running container, without a shell. */
export async function runCommand(
  container: Docker.Container,
  call: Caller,
  command: readonly string[],
): Promise<CommandResult> {
  const doing = `running ${command[0]} in ${container.id.slice(0, 12)}`
  const exec = await call(doing, (abortSignal) =>
    container.exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true, abortSignal }),
  )
  const output = await call(doing, async (abortSignal) => {
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of (await exec.start({ abortSignal })) as AsyncIterable<Buffer>) {
      if (length < MOST_OUTPUT) chunks.push(chunk)
      length += chunk.length
    }
    return unframe(Buffer.concat(chunks)).toString('utf8').trim()
  })
  const { ExitCode } = await call(doing, (abortSignal) => exec.inspect({ abortSignal }))
  if (ExitCode === null) throw new StepError('UNAVAILABLE', `${doing}: it has not ended`)
  return { exitCode: ExitCode, output }
}
