import t from 'tap'
import { chooseHosts, chooseMissing } from '../../src/delivery/deployment/host-choice.ts'
import type { Deployment } from '../../src/ledger/ledger.ts'
import type { EnvironmentSettings } from '../../src/settings.ts'
import { parseAddress } from '../../src/targets/docker/address.ts'
import { outcome } from '../ledger/conformance/samples.ts'

const host = (name: string) => ({
  name,
  address: parseAddress(`ssh://${name}`),
  certificates: undefined,
})
const environment = (...names: string[]) =>
  ({ name: 'test', hosts: names.map(host) }) as EnvironmentSettings
const three = environment('app-01', 'app-02', 'app-03')

t.test('hosts are left out by name, each a known one, with a reason, and never all', async (t) => {
  t.same(chooseHosts(three, [], ''), { change: three.hosts, kept: [], without: [] })
  t.same(chooseHosts(three, ['app-02', 'app-02'], 'dead'), {
    change: [host('app-01'), host('app-03')],
    kept: [],
    without: ['app-02'],
  })
  const refused = (names: string[], reason: string, message: RegExp) =>
    t.throws(() => chooseHosts(three, names, reason), { code: 'INPUT_INVALID', message })
  refused(['app-02'], '', /needs a reason/)
  refused(['app-04'], 'dead', /environment test has no host "app-04"/)
  refused(['app-01', 'app-02', 'app-03'], 'dead', /every host of test is left out/)
  t.throws(() => chooseHosts(environment(), [], ''), { message: 'environment test has no hosts' })
})

t.test('missing hosts were left out or are new; the others are kept', async (t) => {
  const hosts = [outcome('app-01'), outcome('app-02', { ok: false }), outcome('old')]
  const current = { id: 'd7', app: 'webapi', hosts } as Deployment
  const kept = [outcome('app-01')]
  t.same(chooseMissing(three, current, [], ''), {
    change: [host('app-02'), host('app-03')],
    kept,
    without: [],
  })
  t.same(chooseMissing(three, current, ['app-01', 'app-02'], 'dead'), {
    change: [host('app-03')],
    kept,
    without: ['app-02'],
  })
  t.throws(() => chooseMissing(environment('app-01'), current, [], ''), {
    code: 'NOT_FOUND',
    message: 'no host of webapi in test is behind: d7 is on all of them',
  })
})
