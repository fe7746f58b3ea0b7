import t from 'tap'
import { createTurns } from '../../../src/server/runs/turns.ts'

const LIMITS = { running: 2, waiting: 2, ofAddress: 3 }

function world() {
  const turns = createTurns(LIMITS)
  const begun: string[] = []
  const ask = (subject: string, address = subject) => {
    const gone = new AbortController()
    let end = () => {}
    const promise = new Promise<void>((resolve) => {
      end = resolve
    })
    const done = turns.take({ subject, address, signal: gone.signal }, async () => {
      begun.push(subject)
      await promise
      return subject
    })
    done.catch(() => {})
    return { done, end: () => end(), leave: () => gone.abort() }
  }
  return { turns, begun, ask }
}

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))
const tooMany = (message: RegExp) => ({
  ...{ code: 'UNAVAILABLE', message, retryAfter: 5000, details: { status: 429 } },
})

t.test('a subject has one plan at a time, however many are free', async (t) => {
  const { ask } = world()
  const first = ask('li')
  await t.rejects(ask('li').done, tooMany(/a plan of yours/))
  ask('zhang').end()
  first.end()
  t.equal(await first.done, 'li')
  const next = ask('li')
  next.end()
  t.equal(await next.done, 'li', 'the next one can be made')
})

t.test('no address and nobody else fills all places', async (t) => {
  const { ask } = world()
  for (const subject of ['a', 'b', 'c']) ask(subject, '192.0.2.1')
  await t.rejects(ask('d', '192.0.2.1').done, tooMany(/for this address/))
  ask('e', '192.0.2.2')
  await t.rejects(ask('f', '192.0.2.3').done, tooMany(/too many plans/))
})

t.test('who is gone waits no more, and their place is free', async (t) => {
  const { begun, ask } = world()
  const [a] = ['a', 'b'].map((subject) => ask(subject))
  const c = ask('c')
  const d = ask('d')
  await tick()
  c.leave()
  await t.rejects(c.done, { code: 'CANCELLED' })
  const e = ask('e')
  a?.end()
  await a?.done
  await tick()
  t.strictSame(begun, ['a', 'b', 'd'], 'in their order, without who is gone')
  d.end()
  await d.done
  e.end()
  t.equal(await e.done, 'e')
  t.strictSame(begun, ['a', 'b', 'd', 'e'])
  const late = world()
  const never = new AbortController()
  never.abort()
  const asker = { subject: 'x', address: 'x', signal: never.signal }
  await t.rejects(
    late.turns.take(asker, async () => {}),
    { code: 'CANCELLED' },
  )
})

t.test('work that fails gives its place back', async (t) => {
  const { turns, ask } = world()
  const { signal } = new AbortController()
  for (let n = 0; n < 5; n++) {
    const failing = turns.take({ subject: 'li', address: 'a', signal }, async () => {
      throw new Error('no')
    })
    await t.rejects(failing, { message: 'no' })
  }
  const next = ask('li', 'a')
  next.end()
  t.equal(await next.done, 'li')
})
