import t from 'tap'
import { missingProgram } from '../../support/servers/server.ts'
import { startWorld, type World } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')
const verify = { app: 'webapi', step: 'verify-md5', inputs: { env: 'test' } }
const INDEX = '{crosscloud:crosscloud}:api:runs'

const post = async (world: World, body: object = verify) =>
  String((await world.ask('POST', '/runs', { body })).body.run)

interface Page {
  items: { run: string; finished: unknown }[]
  next: string | null
}

const list = async (world: World, query: string, by = 'li') =>
  (await world.ask('GET', `/runs?${query}`, { by })).body as unknown as Page

t.test('what a command said is for those who may read its log', { skip }, async (t) => {
  const world = await startWorld(t)
  const run = await post(world)
  const error = {
    code: 'COMMAND_FAILED',
    message: 'crosscloud verify-md5 exited with 1\nlast line of an instance: PASSWORD=x',
    hint: 'Look at it.',
    retryable: false,
  }
  const finished = { outcome: 'failed', outputs: null, error, exitCode: 1 }
  const key = `{crosscloud:crosscloud}:api:run:${run}`
  await world.redis.cli('hset', key, 'finished', JSON.stringify(finished), 'finishedAt', '1')
  t.strictSame((await world.ask('GET', `/runs/${run}`)).body.finished, finished)
  t.strictSame((await list(world, 'limit=1')).items[0]?.finished, finished)
  const shown = { ...finished, error: { ...error, message: 'verify-md5 failed; its log says why' } }
  const seen = await world.ask('GET', `/runs/${run}`, { by: 'sun' })
  t.strictSame(seen.body.finished, shown, 'with view alone: state, code and hint')
  t.strictSame((await list(world, 'limit=1', 'sun')).items[0]?.finished, shown)
  t.equal((await world.ask('GET', `/runs/${run}/lines`, { by: 'sun' })).status, 403)
})

t.test('so does the error of a deployment', { skip }, async (t) => {
  const world = await startWorld(t)
  const { ledger } = world
  const lock = await ledger.lock('webapi', 'test', 'li', 'a test', 60_000)
  const release = await ledger.findRelease('webapi', '1.0.0')
  const { id } = await ledger.startDeployment({
    ...{ app: 'webapi', version: '1.0.0', environment: 'test', by: 'li', reason: undefined },
    ...{ digest: release?.digest ?? 'sha256:', configRevision: release?.digest ?? '' },
    lockToken: lock.token,
  })
  const error = 'last line: PASSWORD=x'
  await ledger.endDeployment(id, { state: 'failed', error, hosts: [], verified: false })
  const path = '/applications/webapi/deployments?env=test'
  t.match((await world.ask('GET', path)).body, { items: [{ error: /PASSWORD/ }] })
  const seen = (await world.ask('GET', path, { by: 'sun' })).body
  t.match(seen, { items: [{ id, state: 'failed' }] })
  t.notMatch(JSON.stringify(seen), /PASSWORD/)
})

t.test(
  'a page of runs reads what the caller may see, and looks at so many',
  { skip },
  async (t) => {
    const world = await startWorld(t)
    const mine = await post(world)
    const fill = `
    for n = 1, 1500 do
      redis.call('ZADD', KEYS[1], 0, string.format('z%05d webapi production', n))
    end
  `
    await world.redis.cli('eval', fill, '1', INDEX)
    const before = Number(
      (await world.redis.cli('info', 'commandstats')).match(/hgetall:calls=(\d+)/)?.[1] ?? 0,
    )
    const first = await list(world, 'limit=200', 'zhang')
    t.strictSame(first.items, [], 'what is newer is not for this caller')
    t.equal(first.next, 'z00501', 'a thousand were looked at')
    const second = await list(world, `limit=200&cursor=${first.next}`, 'zhang')
    t.match(second, { items: [{ run: mine }], next: null })
    const after = Number(
      (await world.redis.cli('info', 'commandstats')).match(/hgetall:calls=(\d+)/)?.[1],
    )
    t.equal(after - before, 1, 'one run was read')
    const more = await post(world)
    await world.redis.cli('zrem', INDEX, `${mine} webapi test`)
    t.ok(more)
  },
)
