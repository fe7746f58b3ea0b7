import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { ReverseProxy } from '../../src/targets/proxy.ts'
import { type Backend, send } from '../support/servers/backends.ts'
import { until } from '../support/until.ts'

export interface ProxySetting {
  /** Opened with two servers, and a drain time of a minute. */
  proxy: ReverseProxy
  /** The same with a drain time of half a second. */
  hasty: ReverseProxy
  backends: readonly [Backend, Backend]
  /** Where the proxy takes requests. */
  url: string
}

/** What the proxies of all drivers must do, on a real one. */
export async function proxyConformance(t: Test, setting: ProxySetting): Promise<void> {
  const { proxy, hasty, backends, url } = setting
  const [first, second] = backends
  const [one, two] = [first.server, second.server]
  const modes = async () => (await proxy.states()).map(({ mode }) => mode)
  const isBalanced = async () => {
    const bodies = await responses(url, 4)
    return bodies.includes('slot 1') && bodies.includes('slot 2')
  }

  await t.test('every server is listed in order, and asking changes nothing', async (t) => {
    t.ok(await until(async () => (await proxy.isServing(one)) && proxy.isServing(two)))
    const states = await proxy.states()
    t.same(
      states.map(({ server }) => server),
      [one, two],
    )
    t.same(await modes(), ['in', 'in'])
    t.same(await proxy.states(), states)
    t.ok(await isBalanced())
    t.equal(await proxy.repair(), undefined, 'there is nothing to repair')
  })

  await t.test(
    'a POST under way ends well and runs once while its server is taken out',
    async (t) => {
      const { post, id } = await holdPost(first, url)
      const taking = follow(proxy.takeOut(one))
      t.ok(await until(async () => !(await proxy.isServing(one))))
      t.same(new Set(await responses(url, 6)), new Set(['slot 2']), 'no new request')
      t.notOk(taking.isOver, 'it waits for the POST')
      first.release()
      t.match(await post(), { status: 200, body: 'slot 1' })
      const { left } = await taking.promise
      // A proxy that cannot tell has waited for the whole drain time.
      t.ok(left === 0 || left === undefined)
      t.equal(countOf(backends, id), 1)
      t.same(await modes(), ['out', 'in'])
      t.match(await proxy.takeOut(one), { left: 0 }, 'once more is no error')
    },
  )

  await t.test('the last server stays in, unless it is meant', async (t) => {
    await t.rejects(proxy.takeOut(two), { code: 'CONFLICT', message: /app-01-2/ })
    t.same(await modes(), ['out', 'in'])
    t.equal((await send(url)).body, 'slot 2')
    await proxy.takeOut(two, { evenIfLast: true })
    t.ok((await send(url)).status >= 500)
    await proxy.putIn(two)
    t.equal((await send(url)).body, 'slot 2')
  })

  await t.test(
    'under load one server takes over from the other, and no request fails',
    async (t) => {
      const load = startLoad(url)
      t.ok(await until(() => load.bodies.length > 5))
      await proxy.takeOut(two, { instead: one })
      const switched = load.bodies.length
      t.ok(await until(() => load.bodies.length > switched + 5))
      t.same(await load.stop(), [])
      t.same(new Set(load.bodies.slice(switched + 1)), new Set(['slot 1']))
      t.same(await modes(), ['in', 'out'])
    },
  )

  await t.test('when the drain time is over it says what is left, and cuts nothing', async (t) => {
    await proxy.putIn(two)
    const { post, id } = await holdPost(first, url)
    const { left, duration } = await hasty.takeOut(one)
    t.not(left, 0)
    t.ok(duration >= 500)
    first.release()
    t.match(await post(), { status: 200, body: 'slot 1' })
    t.equal(countOf(backends, id), 1)
  })

  await t.test('a server that somebody else puts in while it drains stays in', async (t) => {
    await proxy.putIn(one)
    const { post } = await holdPost(first, url)
    const draining = proxy.takeOut(one)
    t.ok(await until(async () => (await modes())[0] !== 'in'))
    await hasty.putIn(one)
    first.release()
    await Promise.all([draining, post()])
    t.same(await modes(), ['in', 'in'])
    await hasty.takeOut(one)
  })

  await t.test('what was before can be restored', async (t) => {
    const before = await proxy.states()
    await proxy.takeOut(two, { instead: one })
    t.same(await modes(), ['in', 'out'])
    await proxy.restore(before)
    t.same(await proxy.states(), before)
    t.equal((await send(url)).body, 'slot 2')
    await proxy.restore(before)
    t.same(await proxy.states(), before, 'twice is as good')
  })

  await t.test('a server gets the share that it is given', async (t) => {
    await proxy.putIn(one)
    if (!proxy.isWeighted) {
      await t.rejects(proxy.setWeights(new Map([[one, 10]])), { code: 'INPUT_INVALID' })
      return
    }
    for (const weight of [0, 101, 0.5, Number.NaN]) {
      await t.rejects(proxy.setWeights(new Map([[one, weight]])), { code: 'INPUT_INVALID' })
    }
    const before = await proxy.states()
    await proxy.setWeights(new Map([[one, 10]]))
    const few = (await responses(url, 33)).filter((body) => body === 'slot 1').length
    t.ok(few >= 1 && few <= 6, `${few} of 33`)
    await proxy.restore(before)
    const half = (await responses(url, 20)).filter((body) => body === 'slot 1').length
    t.ok(half >= 8 && half <= 12, `${half} of 20`)
  })

  await t.test('of two servers that are taken out at once, one stays', async (t) => {
    const before = await proxy.states()
    const results = await Promise.allSettled([proxy.takeOut(one), proxy.takeOut(two)])
    t.same(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    t.equal((await send(url)).status, 200)
    await proxy.restore(before)
    t.same(await proxy.states(), before)
  })

  await t.test('what was cancelled is restored without waiting for requests', async (t) => {
    const before = await proxy.states()
    const { post, id } = await holdPost(first, url)
    const stop = new AbortController()
    const taking = follow(proxy.takeOut(one, { signal: stop.signal }))
    t.ok(await until(async () => !(await proxy.isServing(one))))
    stop.abort()
    await t.rejects(taking.promise, { code: 'CANCELLED' })
    await proxy.restore(before, { signal: stop.signal })
    t.same(await proxy.states(), before)
    first.release()
    t.match(await post(), { status: 200, body: 'slot 1' })
    t.equal(countOf(backends, id), 1)
  })

  await t.test('responses are counted, where the proxy counts any', async (t) => {
    const before = await proxy.responses(one)
    if (before === undefined) return
    await proxy.takeOut(two, { instead: one })
    await responses(url, 3)
    t.equal((await send(`${url}/broken`)).status, 500)
    const after = await proxy.responses(one)
    t.same([(after?.all ?? 0) - before.all, (after?.failed ?? 0) - before.failed], [4, 1])
  })
}

async function responses(url: string, count: number): Promise<string[]> {
  const bodies: string[] = []
  for (let i = 0; i < count; i++) bodies.push((await send(url)).body)
  return bodies
}

/** A POST that this backend has begun and responds to once it is released. */
async function holdPost(backend: Backend, url: string) {
  backend.hold()
  for (;;) {
    const id = randomUUID()
    const sending = follow(send(`${url}/held?id=${id}`, { method: 'POST' }))
    await until(() => backend.held() > 0 || sending.isOver)
    // Another one may have got it, and has responded.
    if (!sending.isOver) return { id, post: () => sending.promise }
    await sending.promise
  }
}

const countOf = (backends: readonly Backend[], id: string) =>
  backends.flatMap(({ seen }) => seen).filter((each) => each === id).length

/** A promise, and whether it is settled. */
export function follow<T>(promise: Promise<T>) {
  const followed = { promise, isOver: false }
  const end = () => {
    followed.isOver = true
  }
  promise.then(end, end)
  return followed
}

/** Requests one after the other, until they are stopped; what failed is returned. Milliseconds between two. */
export function startLoad(url: string, pause = 5) {
  const bodies: string[] = []
  const failed: string[] = []
  let isRunning = true
  const work = (async () => {
    while (isRunning) {
      const reply = await send(url).catch((error: Error) => ({ status: 0, body: error.message }))
      if (reply.status === 200) bodies.push(reply.body)
      else failed.push(`${reply.status} ${reply.body}`)
      await sleep(pause)
    }
  })()
  const stop = async () => {
    isRunning = false
    await work
    return failed
  }
  return { bodies, failed, stop }
}
