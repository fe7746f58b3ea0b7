import t from 'tap'
import {
  addressLines,
  deployedOutputs,
  summarize,
  summarizeRun,
} from '../../src/delivery/deployment/outcome.ts'
import type { DeploymentRequest } from '../../src/delivery/deployment/request.ts'
import type { Deployment } from '../../src/ledger/ledger.ts'
import type { Settings } from '../../src/settings.ts'

const settings = { environments: { test: {}, staging: { from: 'test' } } } as unknown as Settings
const request = {
  release: { app: 'webapi', version: '1.4.2', digest: `sha256:${'0'.repeat(64)}` },
  environment: { name: 'test', url: undefined },
} as DeploymentRequest
const deployed = {
  deployment: { id: 'd7', configRevision: `sha256:${'1'.repeat(64)}` } as Deployment,
  warMd5: '0'.repeat(32),
  results: [
    {
      host: 'app-01',
      instanceId: 'c2',
      previousInstanceId: 'c1',
      url: 'http://127.0.0.1:8080',
      duration: 5000,
      downtime: 1200,
    },
  ],
}

t.test(
  'a deployment outputs its containers, and their downtime under the old name, too',
  async (t) => {
    const outputs = summarize(request, deployed, settings)
    t.strictSame(outputs.containers, [
      {
        host: 'app-01',
        containerId: 'c2',
        url: 'http://127.0.0.1:8080',
        downtime: 1200,
        silence: 1200,
      },
    ])
    t.strictSame(deployedOutputs.parse(outputs), outputs, 'nothing is output that is not described')
    t.match(outputs, { release: 'webapi@1.4.2', deployment: 'd7', url: 'http://127.0.0.1:8080' })
  },
)

t.test('a composite step outputs what its deployment did, verified', async (t) => {
  const outputs = summarizeRun(summarize(request, deployed, settings))
  t.strictSame(outputs, {
    configRevision: deployed.deployment.configRevision,
    deployment: 'd7',
    url: 'http://127.0.0.1:8080',
    next: 'staging',
    verified: true,
  })
})

t.test('a slot is called a slot, and no address that lasts', async (t) => {
  const [first] = deployed.results
  if (!first) throw new Error('no result')
  const results = [
    { ...first, slot: 2, url: 'http://10.1.0.11:18082' },
    { ...first, host: 'app-02', slot: 1, url: 'http://10.1.0.12:18081' },
  ]
  const outputs = summarize(request, { ...deployed, results }, settings)
  t.equal(outputs.url, undefined, 'the next deployment leaves it')
  t.match(outputs.containers, [{ slot: 2, url: 'http://10.1.0.11:18082' }, { slot: 1 }])
  t.strictSame(deployedOutputs.parse(outputs), outputs)
  t.same(addressLines(outputs), [
    'Slot     2 of app-01, at http://10.1.0.11:18082',
    'Slot     1 of app-02, at http://10.1.0.12:18081',
  ])
  const environment = { ...request.environment, url: 'https://test.example.com' }
  const named = summarize({ ...request, environment }, { ...deployed, results }, settings)
  t.same(addressLines(named), ['Address  https://test.example.com'])
  const alone = summarize(request, deployed, settings)
  t.same(addressLines(alone), ['Address  http://127.0.0.1:8080'])
})
