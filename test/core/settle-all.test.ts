import t from 'tap'
import { StepError } from '../../src/core/errors.ts'
import { joinErrors, settleAll } from '../../src/core/settle-all.ts'

const down = new StepError('UNAVAILABLE', 'app-01: no route', { hint: 'Look at the network.' })
const wrong = new StepError('VERIFY_FAILED', 'app-02: another WAR', { hint: 'Deploy again.' })

t.test('all work has ended before the first error is thrown', async (t) => {
  let ended = false
  const slow = (async () => {
    await new Promise((resolve) => setImmediate(resolve))
    ended = true
  })()
  await t.rejects(settleAll([Promise.reject(down), slow]), down)
  t.ok(ended)
})

t.test('the values keep the order of the work', async (t) => {
  const later = new Promise<string>((resolve) => setImmediate(() => resolve('first')))
  t.strictSame(await settleAll([later, Promise.resolve('second')]), ['first', 'second'])
})

t.test('several errors become one: a line each, and final when any of them is', async (t) => {
  await t.rejects(settleAll([Promise.reject(down), Promise.reject(wrong), Promise.reject(down)]), {
    code: 'VERIFY_FAILED',
    message: 'app-01: no route\napp-02: another WAR',
    hint: 'Deploy again.',
    retryable: false,
  })
  t.match(joinErrors([down, down]), { code: 'UNAVAILABLE', retryable: true })
  t.equal(joinErrors([wrong]), wrong, 'a single error stays itself')
  t.equal(joinErrors([]), undefined)
})
