/** A piece of output; 1 is what was printed to stdout, 2 to stderr. */
export interface Piece {
  stream: number
  bytes: Buffer
}

/** What a line may have at the most before it is cut. */
const LONGEST_LINE = 1024 * 1024
export const LINE_FEED = 10

/** Whole lines of each stream; what comes after the last line feed is a line, too. */
export async function* lines(
  output: AsyncIterable<Piece>,
): AsyncGenerator<{ stream: number; text: string }> {
  const begun = new Map<number, Buffer>()
  for await (const { stream, bytes } of output) {
    let rest = Buffer.concat([begun.get(stream) ?? Buffer.alloc(0), bytes])
    for (let end = endOfLine(rest); end >= 0; end = endOfLine(rest)) {
      yield { stream, text: textOf(rest.subarray(0, end)) }
      rest = rest.subarray(rest[end] === LINE_FEED ? end + 1 : end)
    }
    begun.set(stream, rest)
  }
  for (const [stream, rest] of begun) if (rest.length > 0) yield { stream, text: textOf(rest) }
}

function endOfLine(bytes: Buffer): number {
  const end = bytes.indexOf(LINE_FEED)
  if (end >= 0) return end
  return bytes.length > LONGEST_LINE ? LONGEST_LINE : -1
}

const textOf = (bytes: Buffer) => bytes.toString('utf8').replace(/\r$/, '')
