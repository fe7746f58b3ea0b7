import t from 'tap'
import { readEvents } from '../../src/client/event-stream.ts'

async function eventsOf(text: string, size: number) {
  const bytes = Buffer.from(text)
  async function* body() {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  }
  const events = []
  for await (const event of readEvents(body(), '0')) events.push(event)
  return events
}

t.test('events are the same however the bytes come', async (t) => {
  const text = [
    ': a comment\n\n',
    'id: 1\nevent: line\ndata: {"text":"größe 中文 🔑"}\n\n',
    'id:2\r\nevent:line\r\ndata:a\r\ndata:b\r\n\r\n',
    'retry: 5\rdata\r\r',
    'event: line\n\n',
    'id: 3\ndata: no end',
  ].join('')
  const expected = [
    { id: '1', name: 'line', data: '{"text":"größe 中文 🔑"}' },
    { id: '2', name: 'line', data: 'a\nb' },
    { id: '2', name: 'message', data: '' },
  ]
  for (const size of [1, 2, 3, 7, 1000]) t.same(await eventsOf(text, size), expected, `${size}`)
})

t.test('a line without an end does not fill the memory', async (t) => {
  await t.rejects(eventsOf(`data: ${'a'.repeat(5_000_000)}`, 65_536), /too long/)
})
