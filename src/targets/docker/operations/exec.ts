import type { Readable } from 'node:stream'
import { cancelled, StepError } from '../../../core/errors.ts'
import { lines } from '../../lines.ts'
import type { ExecOptions } from '../../target.ts'
import { engineError } from '../errors.ts'
import type { Operating } from './operating.ts'
import { pieces } from './output.ts'

/** Runs a command in a container, without a shell, a terminal or input. */
export async function exec(
  { docker, host, call, closed, environment }: Operating,
  id: string,
  command: readonly string[],
  { onLine, signal }: ExecOptions,
): Promise<number> {
  const doing = `running ${command[0]} in ${id.slice(0, 12)}`
  const ended = AbortSignal.any([signal, closed])
  const made = await call(
    doing,
    (abortSignal) =>
      docker.getContainer(id).exec({
        Cmd: [...command],
        AttachStdout: true,
        AttachStderr: true,
        Tty: false,
        abortSignal,
      }),
    { hint: `The container must run: see \`crosscloud instances list --env ${environment}\`.` },
  )
  let output: Readable | undefined
  try {
    output = (await made.start({ Detach: false, Tty: false, abortSignal: ended })) as Readable
    for await (const { stream, text } of lines(pieces(output, false))) {
      onLine(text, stream === 2 ? 'stderr' : 'stdout')
    }
  } catch (error) {
    throw ended.aborted ? cancelled(ended) : engineError(host, doing, error)
  } finally {
    output?.destroy()
  }
  const { ExitCode } = await call(doing, (abortSignal) => made.inspect({ abortSignal }))
  if (ExitCode !== null) return ExitCode
  throw new StepError('UNAVAILABLE', `host ${host.name}: ${doing}: the engine lost its end`, {
    hint: 'The command may still run in the container: look at it before you run it again.',
    retryable: false,
  })
}
