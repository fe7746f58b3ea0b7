import t from 'tap'
import { createOutbox, formatPosition, parsePosition } from '../../../src/server/stream/outbox.ts'

/** A reader that takes nothing until it is told to. */
function slowReader() {
  const texts: string[] = []
  let go = () => {}
  const opened = new Promise<void>((resolve) => (go = resolve))
  const write = async (text: string) => {
    texts.push(text)
    await opened
  }
  return { write, go: () => go(), texts: () => texts.join('') }
}

const never = new Promise(() => {})
const status = (number: number) => ({ event: 'status.changed', data: {}, number })
const idsOf = (text: string) => [...text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id)

t.test('a slow reader gets resync in place of what it missed; nothing piles up', async (t) => {
  const reader = slowReader()
  const outbox = createOutbox({ number: 0, lines: new Map() }, reader.write, 10)
  const stop = new AbortController()
  const drained = outbox.drain(stop.signal, never)
  outbox.announce(status(1))
  await new Promise((resolve) => setImmediate(resolve))
  for (let number = 2; number <= 1000; number++) outbox.announce(status(number))
  reader.go()
  await new Promise((resolve) => setTimeout(resolve, 20))
  outbox.announce(status(1001))
  await new Promise((resolve) => setTimeout(resolve, 20))
  const events = [...reader.texts().matchAll(/^event: (.*)$/gm)].map(([, event]) => event)
  t.equal(events[0], 'status.changed')
  t.equal(events[1], 'resync')
  t.ok(events.length <= 13, String(events.length))
  const ids = idsOf(reader.texts()).map(Number)
  t.strictSame(
    ids,
    ids.toSorted((a, b) => a - b),
    'the reader never goes back',
  )
  t.equal(ids.at(-1), 1001)
  stop.abort()
  await drained
})

t.test('lines wait for the reader, and every id says where it is in all of them', async (t) => {
  const reader = slowReader()
  reader.go()
  const position = { number: 7, lines: new Map([['a', 0]]) }
  const outbox = createOutbox(position, reader.write)
  const line = (number: number) => ({
    ...{ event: 'run.lines', data: {}, line: { run: 'a', number } },
  })
  const sending = (async () => {
    await outbox.send(line(3))
    outbox.announce(status(8))
    await outbox.send(line(4))
  })()
  await outbox.drain(new AbortController().signal, sending)
  t.strictSame(idsOf(reader.texts()), ['7.a:3', '8.a:3', '8.a:4'])
  t.strictSame(parsePosition('8.a:4.b:12'), {
    number: 8,
    lines: new Map([
      ['a', 4],
      ['b', 12],
    ]),
  })
  t.equal(formatPosition(parsePosition('8.a:4.b:12')), '8.a:4.b:12')
})

t.test('what fails ends the stream', async (t) => {
  const reader = slowReader()
  const outbox = createOutbox({ number: 0, lines: new Map() }, reader.write)
  const failing = Promise.reject(new Error('Redis is away'))
  await t.rejects(outbox.drain(new AbortController().signal, failing), /Redis is away/)
})
