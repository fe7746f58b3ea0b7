import t from 'tap'
import type { DeploymentRequest } from '../../src/delivery/deployment/request.ts'
import { planProxy } from '../../src/delivery/plan/proxy.ts'
import type { PlannedHost } from '../../src/delivery/plan/schema.ts'
import { isLeftOut, isOut, type ServerMode, type ServerState } from '../../src/targets/proxy.ts'
import { oneByOne } from '../../src/targets/strategy.ts'

const NAMES = ['app-01', 'app-02']

const state = (host: string, mode: ServerMode, up: boolean | undefined = true): ServerState => ({
  ...{ mode, up, weight: 100 },
  server: { host, slot: undefined, address: '10.0.0.1', port: 8080 },
})

/** What a plan says of the canary's share, by what the proxy has. */
function shareOf(states: ServerState[] | undefined, percent = 10, isWeighted = true) {
  const hosts = NAMES.map(
    (name) => ({ name, action: 'replace', slot: null, runs: null, error: null }) as PlannedHost,
  )
  const strategy = { ...oneByOne, canary: { percent } }
  const environment = { rollout: { strategy }, hosts: NAMES.map((name) => ({ name })) }
  const request = { kind: 'deploy', environment } as unknown as DeploymentRequest
  const preview = previewOf(states, { isWeighted })
  return planProxy(request, preview, hosts).canary
}

const previewOf = (states: ServerState[] | undefined, { isWeighted = true }) => ({
  name: 'a proxy',
  isWeighted,
  leftOut: NAMES.filter((name) => isOut(name, states)),
  leftover: undefined,
  states,
})

t.test(
  'whether somebody took a host out is told by the proxy and by what runs there',
  async (t) => {
    const [telling, guessing] = [{ tellsOut: true }, { tellsOut: false }]
    for (const activity of ['runs', 'idle', 'unknown'] as const) {
      t.ok(isLeftOut(activity, telling), activity)
    }
    t.ok(isLeftOut('runs', guessing), 'what runs there was taken out by somebody')
    t.notOk(isLeftOut('idle', guessing), 'a first deployment puts it in')
    t.notOk(isLeftOut('unknown', guessing))
    for (const proxy of [telling, guessing]) t.notOk(isLeftOut('cut off', proxy), 'a deployer did')
  },
)

t.test('a plan says what the canary gets, not what was asked for', async (t) => {
  t.equal(shareOf([state('app-01', 'in'), state('app-02', 'in')]), 10)
  t.equal(shareOf([state('app-01', 'in'), state('app-02', 'in')], 90), 50, 'no host gets more')
  t.equal(shareOf([state('app-01', 'in'), state('app-02', 'out')]), 100, 'the other is out')
  t.equal(shareOf([state('app-01', 'in'), state('app-02', 'in', false)]), 100, 'it is down')
  t.equal(shareOf([state('app-01', 'in'), state('app-03', 'in')]), 10, 'others serve all the same')
  t.equal(shareOf([state('app-01', 'out'), state('app-02', 'in')]), null, 'it stays out')
  t.equal(shareOf(undefined), 10, 'before a repair, as if all served')
  t.equal(shareOf([state('app-01', 'in'), state('app-02', 'in')], 10, false), null)
})
