import { LINE_FEED, lines, type Piece } from '../../lines.ts'
import type { LogLine } from '../../target.ts'

/**
 * Docker's stream format, in pieces as they were sent; a terminal's output has no such frames.
 * https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
 */
export async function* pieces(
  chunks: AsyncIterable<Buffer | string>,
  isTerminal: boolean,
): AsyncGenerator<Piece> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk as Buffer)
    if (isTerminal) {
      yield { stream: 1, bytes }
      continue
    }
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    while (rest.length >= 8) {
      const end = 8 + rest.readUInt32BE(4)
      if (rest.length < end) break
      yield { stream: rest[0] ?? 1, bytes: rest.subarray(8, end) }
      rest = rest.subarray(end)
    }
  }
}

/**
 * Lines of a log that was asked for with times. An engine splits a long line into pieces and puts a
 * time before each: only the first is the line's.
 */
export async function* timedLines(
  output: AsyncIterable<Piece>,
  isTerminal: boolean,
): AsyncGenerator<LogLine> {
  const untimed = isTerminal ? output : withoutLaterTimes(output)
  for await (const { text } of lines(untimed)) {
    const [at = '', ...words] = text.split(' ')
    yield { at, text: words.join(' ') }
  }
}

async function* withoutLaterTimes(output: AsyncIterable<Piece>): AsyncGenerator<Piece> {
  const isBegun = new Map<number, boolean>()
  for await (const { stream, bytes } of output) {
    const text = isBegun.get(stream) ? bytes.subarray(bytes.indexOf(' ') + 1) : bytes
    isBegun.set(stream, bytes.at(-1) !== LINE_FEED)
    yield { stream, bytes: text }
  }
}
