import t, { type Test } from 'tap'
import { missingProgram } from '../../support/servers/server.ts'
import { startWorld } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')
const RATE = 20

/** So many requests within one second, whenever that is. */
async function burst(t: Test, send: () => Promise<{ status: number; headers: Headers }>) {
  const answers = await Promise.all(Array.from({ length: RATE * 4 }, send))
  const refused = answers.filter(({ status }) => status === 429)
  t.ok(refused.length > 0, 'those above the rate are refused')
  t.ok(Number(refused[0]?.headers.get('retry-after')) >= 1)
  return answers.length - refused.length
}

t.test('an address logs in and asks so often, before anybody is asked', { skip }, async (t) => {
  const { ask, counts } = await startWorld(t, { api: { rate: RATE } })
  const login = () => ask('POST', '/session', { body: { token: 'x.y.z' }, by: '' })
  t.equal(await burst(t, login), counts.logins, 'no token is looked at for the others')
  t.ok(counts.logins < RATE * 4)
  const guess = () => ask('GET', '/session', { by: 'mallory' })
  t.equal(await burst(t, guess), counts.authenticated, 'nor any session')
  const lost = counts.authenticated
  t.equal(
    await burst(t, () => ask('GET', '/nowhere', { by: 'mallory' })),
    counts.authenticated - lost,
  )
})

t.test('plans of one subject at the same time are one', { skip }, async (t) => {
  const { ask } = await startWorld(t)
  const inputs = { release: 'webapi@1.0.0', env: 'test', reason: 'x' }
  const body = { app: 'webapi', step: 'deploy', inputs }
  const plans = await Promise.all([1, 2, 3].map(() => ask('POST', '/plans', { body })))
  t.strictSame(plans.map(({ status }) => status).sort(), [200, 429, 429])
  const refused = plans.find(({ status }) => status === 429)
  t.equal(refused?.headers.get('retry-after'), '5')
  t.match(refused?.body, { code: 'UNAVAILABLE', retryable: true, detail: /a plan of yours/ })
  const both = await Promise.all(['li', 'zhang'].map((by) => ask('POST', '/plans', { body, by })))
  t.strictSame(
    both.map(({ status }) => status),
    [200, 200],
    'others have their own',
  )
})
