import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { missingProgram } from '../../support/servers/server.ts'
import { until } from '../../support/until.ts'
import { allLines } from './event-reader.ts'
import { startWorld } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')

t.test(
  'a server is killed in the middle of a run: another one ends it, once',
  { skip },
  async (t) => {
    const world = await startWorld(t)
    const lock = await world.ledger.lock('webapi', 'test', 'somebody', 'a test', 300_000)
    const first = await world.startServer()
    const inputs = { release: 'webapi@1.0.0', env: 'test', lockWait: '5m' }
    const answer = await world.ask('POST', '/runs', {
      body: { app: 'webapi', step: 'deploy', inputs },
    })
    const run = String(answer.body.run)
    const following = allLines(world, run)
    const state = async () => (await world.ask('GET', `/runs/${run}`)).body.state
    t.ok(await until(async () => (await state()) === 'running', 30_000))
    await sleep(2000)
    await first.kill('SIGKILL')
    const second = await world.startServer()
    const third = await world.startServer()
    await sleep(5000)
    await second.kill('SIGKILL')
    await sleep(5000)
    await world.ledger.unlock(lock)
    const events = await following
    const finished = events.filter(({ event }) => event === 'finished')
    t.equal(finished.length, 1)
    t.match(finished[0]?.data, { outcome: 'failed' })
    t.match(finished[0]?.data, { error: { code: 'UNAVAILABLE' }, exitCode: 75 }, 'by its own error')
    t.ok(events.some(({ data }) => /another one goes on with it/.test(String(data.text))))
    t.equal(await state(), 'finished')
    await sleep(3000)
    t.equal((await allLines(world, run)).length, events.length, 'nothing comes after its end')
    await third.kill('SIGTERM')
  },
)
