import t from 'tap'
import { wait } from '../../../src/core/retry.ts'
import { limitFollowers } from '../../../src/server/api/followers.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { until } from '../../support/until.ts'
import { readLines } from './event-reader.ts'
import { startWorld, type World } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')
const verify = { app: 'webapi', step: 'verify-md5', inputs: { env: 'test' } }

t.test('a place is counted once, and given back once', async (t) => {
  const followers = limitFollowers({ ofOne: 2, ofAll: 3 })
  const tooMany = { code: 'UNAVAILABLE', details: { status: 429 } }
  const leave = followers.enter('li')
  followers.enter('li')
  t.throws(() => followers.enter('li'), tooMany)
  followers.enter('zhang')
  t.throws(() => followers.enter('zhang'), { ...tooMany, message: /3 logs/ })
  leave()
  leave()
  followers.enter('zhang')
  t.throws(() => followers.enter('wang'), tooMany, 'only one place was free')
})

async function queued(world: World): Promise<string> {
  const answer = await world.ask('POST', '/runs', { body: verify })
  return String(answer.body.run)
}

/** What the stream says at its end; nothing while it goes on. */
function follow(world: World, run: string) {
  const said: unknown[] = []
  const read = async (): Promise<void> => {
    try {
      for await (const { event, data } of readLines(world, run)) said.push({ event, ...data })
    } catch (error) {
      // Another request of the test has the place for a moment.
      if (!/^Error: 429 /.test(String(error))) throw error
      await wait(50)
      await read()
    }
  }
  return { said, ended: read() }
}

t.test('one subject follows so many logs, and no more', { skip }, async (t) => {
  const world = await startWorld(t, { api: { followers: { ofOne: 2, ofAll: 3 }, heartbeat: 100 } })
  const run = await queued(world)
  const open = [follow(world, run), follow(world, run)]
  const status = async (by: string) => {
    const stop = new AbortController()
    const response = await fetch(`${world.url}/api/v1/runs/${run}/lines`, {
      headers: { authorization: `Bearer ${by}` },
      signal: stop.signal,
    })
    stop.abort()
    return response.status
  }
  t.ok(await until(async () => (await status('li')) === 429, 10_000))
  t.equal(await status('zhang'), 200, 'others have their own')
  world.held.standing = 'expired'
  await Promise.all(open.map(({ ended }) => ended))
  t.strictSame(open[0]?.said, [{ event: 'bye', reason: 'expired' }])
  world.held.standing = 'alive'
  t.equal(await status('li'), 200, 'a place that was left is free')
})

t.test('who may not read a log any more reads no further', { skip }, async (t) => {
  const world = await startWorld(t, { api: { heartbeat: 100 } })
  const run = await queued(world)
  const revoked = [{ event: 'bye', reason: 'revoked' }]
  const first = follow(world, run)
  world.held.standing = 'revoked'
  await first.ended
  t.strictSame(first.said, revoked, 'the session, or the token')
  world.held.standing = 'alive'
  for (const verb of ['logs', 'view']) {
    const open = follow(world, run)
    await until(async () => world.asked.at(-1)?.verb === 'logs', 5000)
    await wait(300)
    t.strictSame(open.said, [], 'it goes on')
    world.held.verbs = world.held.verbs.filter((each) => each !== verb)
    await open.ended
    t.strictSame(open.said, revoked, `the verb ${verb}`)
    world.held.verbs = ['view', 'logs', 'verify']
  }
})
