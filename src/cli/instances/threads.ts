import { toStepError } from '../../core/errors.ts'
import { joinErrors } from '../../core/settle-all.ts'
import type { CommandResult } from '../command.ts'
import { current, describeInstance, type Opened, placeOf } from './open.ts'

/** The dumps of those that have one; what went wrong with the others is told beside them. */
export async function showThreads(opened: Opened, signal: AbortSignal): Promise<CommandResult> {
  const { found, failure: silent } = await current(opened)
  const read = await Promise.allSettled(
    found.map((instance) => opened.target.threadDump(instance, signal)),
  )
  const dumps = found.flatMap((instance, at) => {
    const result = read[at]
    return result?.status === 'fulfilled' ? [{ instance, lines: result.value }] : []
  })
  const errors = read.flatMap((result) =>
    result.status === 'rejected' ? [toStepError(result.reason)] : [],
  )
  const failure = joinErrors([...(silent ? [silent] : []), ...errors])
  if (dumps.length === 0 && failure) throw failure
  return {
    json: {
      dumps: dumps.map(({ instance, lines }) => ({ ...describeInstance(instance), lines })),
    },
    text: dumps.flatMap(({ instance, lines }) => [`== ${placeOf(instance)}`, ...lines]).join('\n'),
    ...(failure && { failure }),
  }
}
