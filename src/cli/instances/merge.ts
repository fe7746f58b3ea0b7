import { type StepError, toStepError } from '../../core/errors.ts'
import type { Instance, LogLine } from '../../targets/target.ts'

export interface Source {
  instance: Instance
  lines: AsyncIterable<LogLine>
}

export interface SourceLine extends LogLine {
  instance: Instance
}

/** Lines of several instances in the order of their times. A log that fails hides none of the others. */
export async function* mergeByTime(
  sources: readonly Source[],
  onError: (error: StepError) => void,
): AsyncGenerator<SourceLine> {
  const next = async (source: Source, iterator: AsyncIterator<LogLine>) => {
    const result = await iterator.next().catch((error: unknown) => {
      onError(toStepError(error))
      return undefined
    })
    return result && !result.done ? { source, iterator, line: result.value } : undefined
  }
  const begun = sources.map((source) => next(source, source.lines[Symbol.asyncIterator]()))
  let heads = (await Promise.all(begun)).filter((head) => head !== undefined)
  for (;;) {
    const [first, ...others] = heads
    if (!first) return
    const oldest = others.reduce(
      (found, head) => (head.line.at < found.line.at ? head : found),
      first,
    )
    yield { instance: oldest.source.instance, ...oldest.line }
    const following = await next(oldest.source, oldest.iterator)
    heads = heads.flatMap((head) => (head === oldest ? (following ?? []) : head))
  }
}

/** The last of the lines that count. */
export async function* lastOf(
  lines: AsyncIterable<LogLine>,
  most: number,
): AsyncGenerator<LogLine> {
  const last: LogLine[] = []
  for await (const line of lines) {
    last.push(line)
    if (last.length > most) last.shift()
  }
  yield* last
}

export async function* only(
  lines: AsyncIterable<LogLine>,
  matches: (line: string) => boolean,
): AsyncGenerator<LogLine> {
  for await (const line of lines) if (matches(line.text)) yield line
}
