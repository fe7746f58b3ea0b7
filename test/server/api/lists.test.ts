import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { missingProgram } from '../../support/servers/server.ts'
import { startWorld } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')

/** Takes connections, and says nothing. */
async function startSilence(t: Test) {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    socket.on('error', () => {})
    t.teardown(() => void socket.destroy())
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  t.teardown(() => void server.close())
  const { port } = server.address() as { port: number }
  return { port, connections: () => connections }
}

const at = (port: number) => ({
  repository: `http://li:secret-token@127.0.0.1:${port}/team/x.git`,
  ...{ branch: 'main', ledger: 'mysql://crosscloud@127.0.0.1/ledger' },
})

t.test('an application that cannot be opened hides and delays no other', { skip }, async (t) => {
  const silence = await startSilence(t)
  const world = await startWorld(t, {
    others: { broken: at(1), silent: at(silence.port) },
    api: { patience: 3000 },
  })
  t.equal((await world.ask('GET', '/applications/webapi')).status, 200)
  const started = performance.now()
  const { status, body } = await world.ask('GET', '/applications')
  t.ok(performance.now() - started < 15_000)
  t.equal(status, 200)
  const problems = ['broken', 'silent'].map((app) => ({
    ...{ app, environments: [], problem: { code: 'UNAVAILABLE' } },
  }))
  t.strictSame(body, {
    items: [{ app: 'webapi', environments: ['test', 'staging', 'production'] }, ...problems],
    next: null,
  })
  const all = await world.ask('GET', '/status', { by: 'zhang' })
  t.match(all.body, { items: [{ app: 'webapi', environment: 'test' }, ...problems] })
  t.notMatch(JSON.stringify([body, all.body]), /secret|127\.0\.0\.1/)
})

t.test('nothing is opened for who may not view it anywhere', { skip }, async (t) => {
  const silence = await startSilence(t)
  const world = await startWorld(t, {
    others: { silent: at(silence.port) },
    api: { patience: 3000 },
  })
  const get = (place: string) => world.ask('GET', place, { by: 'wu' })
  t.strictSame((await get('/applications')).body, { items: [], next: null })
  t.strictSame((await get('/status')).body, { items: [], next: null })
  for (const place of ['', '/releases', '/deployments']) {
    t.equal((await get(`/applications/silent${place}`)).status, 404, place)
  }
  t.equal(silence.connections(), 0)
})
