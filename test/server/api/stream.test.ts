import t, { type Test } from 'tap'
import { openLineWriter } from '../../../src/server/runs/lines.ts'
import { RUN_ROUTE } from '../../../src/server/runs/route.ts'
import { openRunStore } from '../../../src/server/runs/store.ts'
import { sha256Hex } from '../../../src/server/sources/source.ts'
import { type Announcement, openEvents } from '../../../src/server/stream/events.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { readEvents, type StreamEvent } from './event-reader.ts'
import { startWorld, type World } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')

/** A reader of a stream; `next` waits for the next event. */
async function listen(
  t: Test,
  world: World,
  query: string,
  how: { after?: string; by?: string } = {},
) {
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const events = readEvents(world, `/stream${query}`, { ...how, signal: stop.signal })
  const next = async () => (await events.next()).value as StreamEvent
  const rest = async () => {
    const found: StreamEvent[] = []
    for await (const event of events) found.push(event)
    return found
  }
  return { next, rest, stop: () => stop.abort() }
}

/** One that has begun: what happens from now on it sees. */
async function listening(...given: Parameters<typeof listen>) {
  const reader = await listen(...given)
  return { ...reader, start: (await reader.next()).id }
}

const deploy = (env: string) => ({
  ...{ app: 'webapi', step: 'deploy', inputs: { release: 'webapi@1.0.0', env } },
})

const post = async (world: World, env: string) => {
  const { body, status } = await world.ask('POST', '/runs', { body: deploy(env) })
  if (status !== 202) throw new Error(JSON.stringify(body))
  return String(body.run)
}

const at = (environment: string, more: object = {}): Announcement => ({
  ...{ type: 'status.changed', app: 'webapi', environment },
  ...more,
})

if (skip) t.test('one stream', { skip }, async () => {})
else {
  t.test('a run is followed from its queue to its end', async (t) => {
    const world = await startWorld(t)
    const reader = await listening(t, world, '?topics=runs')
    const run = await post(world, 'test')
    t.match(await reader.next(), {
      event: 'run.queued',
      data: { run, app: 'webapi', environment: 'test', step: 'deploy', by: 'li (team/dev)' },
    })
    // As if a worker had its turn.
    const turn = sha256Hex(JSON.stringify([RUN_ROUTE, 'webapi', 'test'])).slice(0, 32)
    await world.redis.cli('hset', '{crosscloud:crosscloud}:owners', turn, '{}')
    const second = await post(world, 'test')
    t.match(await reader.next(), { event: 'run.queued', data: { run: second } })
    t.match(await reader.next(), {
      event: 'run.waiting',
      data: { run: second, why: 'earlier runs' },
    })
    const store = openRunStore(world.access)
    await store.start(run)
    await store.start(run)
    t.match(await reader.next(), { event: 'run.started', data: { run } })
    const writer = openLineWriter(world.access, run)
    const line = { at: new Date().toISOString(), level: 'info', depth: 0 } as const
    writer.add({ ...line, text: 'Rolling out', section: 'start' })
    writer.add({ ...line, text: 'app-01 is done' })
    await writer.end()
    t.match(await reader.next(), {
      event: 'run.section',
      data: { run, title: 'Rolling out', section: 'start', environment: 'test' },
    })
    const end = { outcome: 'succeeded', outputs: {}, error: null, exitCode: 0 } as const
    await store.finish(run, end)
    await store.finish(run, end)
    await world.runs.cancel(second, { by: 'li', reason: 'a test' })
    t.match(await reader.next(), { event: 'run.finished', data: { run, outcome: 'succeeded' } })
    t.match(await reader.next(), {
      event: 'run.finished',
      data: { run: second, outcome: 'cancelled' },
    })
  })

  t.test('lines of logs come in the same stream, and it goes on where it was', async (t) => {
    const world = await startWorld(t)
    const run = await post(world, 'test')
    const writer = openLineWriter(world.access, run)
    const say = (text: string) =>
      writer.add({ at: new Date().toISOString(), level: 'info', text, depth: 0 })
    say('one')
    await writer.end()
    const reader = await listening(t, world, `?topics=runs,lines:${run}`)
    const first = await reader.next()
    t.match(first, {
      ...{ event: 'run.lines', id: `1.${run}:1` },
      data: { run, lines: [{ text: 'one' }], finished: false },
    })
    reader.stop()
    say('two')
    await writer.end()
    const end = { outcome: 'failed', outputs: null, error: null, exitCode: 1 } as const
    await openRunStore(world.access).finish(run, end)
    const again = await listening(t, world, `?topics=runs,lines:${run}`, { after: first.id })
    const two = [await again.next(), await again.next()]
    t.match(
      two.find(({ event }) => event === 'run.lines')?.data,
      { lines: [{ text: 'two' }], finished: true },
      'strictly after',
    )
    t.match(two.find(({ event }) => event === 'run.finished')?.data, { outcome: 'failed' })
    const logs = await listen(t, world, `?topics=lines:${run}`)
    t.match(await logs.rest(), [{ event: 'run.lines' }], 'a log that is over ends the stream')
  })

  t.test('each event passes the policy of the one who listens', async (t) => {
    const world = await startWorld(t)
    const events = openEvents(world.access)
    const zhang = await listening(t, world, '', { by: 'zhang' })
    const chen = await listening(t, world, '?topics=config,agents', { by: 'chen' })
    const other = await listening(t, world, '?app=shop')
    const config = { type: 'config.changed', app: 'webapi', keys: ['/webapi/pool'] } as const
    await events.emit(at('production'))
    await events.emit({ ...config, environment: 'test' })
    await events.emit({ ...config, environment: 'production' })
    await events.emit({ type: 'agent.changed', agent: 'dc-2', state: 'away' })
    await events.emit(at('test'))
    await events.emit({ ...at('test'), app: 'shop' })
    await events.emit({ ...config, environment: 'test', keys: ['/webapi/last'] })
    t.match(await zhang.next(), { event: 'status.changed', data: { environment: 'test' }, id: '5' })
    t.match(await chen.next(), { data: { environment: 'test', keys: ['/webapi/pool'] }, id: '2' })
    t.match(await chen.next(), { data: { keys: ['/webapi/last'] } }, 'and nothing in between')
    t.match(await other.next(), { data: { app: 'shop' } })
    const run = await post(world, 'production')
    for (const [by, status] of [
      ['chen', 404],
      ['zhang', 404],
    ] as const) {
      const answer = await world.ask('GET', `/stream?topics=lines:${run}`, { by })
      t.equal(answer.status, status, by)
    }
    const visible = await post(world, 'test')
    const refused = await world.ask('GET', `/stream?topics=lines:${visible}`, { by: 'chen' })
    t.match(refused, { status: 403, body: { code: 'FORBIDDEN' } }, 'view is not logs')
    for (const query of ['?topics=all', '?topics=', '?app=../x', '?topics=lines:..%2f', '?x=1']) {
      t.equal((await world.ask('GET', `/stream${query}`)).status, 400, query)
    }
    const after = { 'last-event-id': 'x' }
    t.equal((await world.ask('GET', '/stream', { headers: after })).status, 400)
  })

  t.test('whoever was away gets what they missed, or is told to look anew', async (t) => {
    const world = await startWorld(t)
    const events = openEvents(world.access)
    for (const environment of ['test', 'staging', 'test']) await events.emit(at(environment))
    const late = await listening(t, world, '?topics=status', { after: '1' })
    t.equal(late.start, '1')
    t.match([await late.next(), await late.next()], [{ id: '2' }, { id: '3' }])
    await events.emit(at('test'))
    t.match(await late.next(), { id: '4' })
    await world.redis.cli('xtrim', '{crosscloud:crosscloud}:api:events', 'MAXLEN', '=', '1')
    const trimmed = await listen(t, world, '?topics=status', { after: '1' })
    t.match([await trimmed.next(), await trimmed.next()], [{}, { event: 'resync', id: '4' }])
    await events.emit(at('production'))
    t.match(await trimmed.next(), { event: 'status.changed', id: '5' })
    const strange = await listen(t, world, '?topics=status', { after: '999' })
    t.match([await strange.next(), await strange.next()], [{}, { event: 'resync' }])
  })

  t.test('all listeners share one connection to Redis', async (t) => {
    const world = await startWorld(t)
    const clients = async () =>
      (await world.redis.cli('client', 'list')).split('\n').filter((line) => line !== '').length
    const before = await clients()
    const readers = await Promise.all(Array.from({ length: 15 }, () => listening(t, world, '')))
    t.equal(await clients(), before)
    await openEvents(world.access).emit(at('test'))
    const got = await Promise.all(readers.map(({ next }) => next()))
    t.ok(got.every(({ event }) => event === 'status.changed'))
  })

  t.test('it ends with what its reader came with, and when the server closes', async (t) => {
    const world = await startWorld(t, { api: { heartbeat: 50 } })
    for (const standing of ['revoked', 'expired'] as const) {
      const reader = await listening(t, world, '')
      world.held.standing = standing
      t.match(await reader.rest(), [{ event: 'bye', data: { reason: standing } }])
      world.held.standing = 'alive'
    }
    const reader = await listening(t, world, '')
    await world.app.close()
    t.match(await reader.rest(), [{ event: 'bye', data: { reason: 'restart' } }])
  })
}
