import t from 'tap'
import { argumentsOf, readRequest, remoteStepNames } from '../../src/server/runs/steps.ts'
import { loadSteps } from '../../src/steps/index.ts'
import { remoteInputs } from '../../src/steps/inputs.ts'

t.test(
  'only these inputs come over HTTP: no path, no program, nothing of the server',
  async (t) => {
    const found = Object.fromEntries(
      (await loadSteps())
        .filter(({ name }) => remoteStepNames.includes(name))
        .map((step) => [step.name, remoteInputs(step).join(' ')]),
    )
    const past = 'force older breakGlass acrossMigration'
    t.strictSame(found, {
      deploy: `release env reason ${past} without missing lockWait plan`,
      promote: 'release to reason force older acrossMigration lockWait deploy plan',
      rollback: 'env to config reason force breakGlass acrossMigration without lockWait plan',
      approve: 'release env reason reject',
      'record-release': 'image env reason',
      'verify-md5': 'env release',
    })
  },
)

t.test('inputs become arguments that cannot be taken for flags', async (t) => {
  const inputs = {
    ...{ release: 'webapi@1.0.0', env: 'test', reason: '--json\n; rm -rf / $(id)' },
    ...{ without: ['app-01', '--force'], breakGlass: true, missing: false },
  }
  const request = readRequest({ app: 'webapi', step: 'deploy', inputs })
  t.strictSame(argumentsOf(request), [
    ...['deploy', '--release=webapi@1.0.0', '--env=test', '--reason=--json\n; rm -rf / $(id)'],
    ...['--without=app-01', '--without=--force', '--break-glass', '--no-missing'],
  ])
  const promote = { app: 'webapi', step: 'promote', inputs: { to: 'staging', deploy: false } }
  t.equal(readRequest(promote).environment, 'staging')
  t.strictSame(argumentsOf(promote), ['promote', '--to=staging', '--no-deploy'])
})
