import t from 'tap'
import { StepError } from '../../../src/core/errors.ts'
import { engineError } from '../../../src/targets/docker/errors.ts'
import { rolloutFailure } from '../../../src/targets/docker/rollout/failure.ts'

const host = { name: 'app-01', address: 'unix:///run/docker.sock' }
const aborted = (cause: unknown) =>
  Object.assign(new Error('aborted', { cause }), { name: 'AbortError' })

t.test('the error of an aborted request is that of its signal, or of its timeout', async (t) => {
  const stopped = new StepError('CANCELLED', 'stopped by SIGTERM')
  t.equal(engineError(host, 'reading', aborted(stopped)), stopped)
  const late = new DOMException('late', 'TimeoutError')
  t.match(engineError(host, 'starting', aborted(late)), {
    code: 'UNAVAILABLE',
    message: /does not answer in time/,
  })
})

t.test('the hint after a cancel does not claim that restoring goes on', async (t) => {
  const hint = 'What was begun is being put back. Run the same command again to go on.'
  const cause = new StepError('CANCELLED', 'stopped by SIGTERM', { hint })
  const failure = rolloutFailure(cause, [], [], { labels: {}, prove: async () => failure })
  t.equal(failure.hint, 'Run the same command again.')
})
