/** An event of a stream: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream */
export interface StreamEvent {
  /** The last id that was seen, its own or an earlier one. */
  id: string
  name: string
  data: string
}

/** A line or an event that is longer is no log line. */
const LONGEST_EVENT = 4 * 1024 * 1024

/** The events of a body; comments, which keep the connection alive, are none. */
export async function* readEvents(
  body: AsyncIterable<Buffer>,
  lastId = '',
): AsyncGenerator<StreamEvent> {
  let [id, name, size] = [lastId, '', 0]
  let data: string[] = []
  for await (const line of linesOf(body)) {
    if (line === '') {
      if (data.length > 0) yield { id, name: name || 'message', data: data.join('\n') }
      ;[name, data, size] = ['', [], 0]
      continue
    }
    const [, field = '', value = ''] = /^([^:]*)(?::[ ]?)?(.*)$/s.exec(line) ?? []
    size += value.length
    if (size > LONGEST_EVENT) throw new Error('an event of the stream is too long')
    if (field === 'data') data.push(value)
    else if (field === 'event') name = value
    else if (field === 'id' && !value.includes('\0')) id = value
  }
}

async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true })
    if (rest.length > LONGEST_EVENT) throw new Error('a line of the stream is too long')
    // A carriage return at the end may be half of a line end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop() ?? ''
    yield* lines
  }
}
