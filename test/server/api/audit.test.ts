import t from 'tap'
import { auditStart } from '../../../src/server/audit.ts'

t.test('the record of an act has its inputs, and none looks like another one', async (t) => {
  const { object } = auditStart({
    ...{ subject: 'li', via: 'session', verb: 'deploy', decision: 'allowed' },
    object: {
      ...{ app: 'webapi', environment: 'test', step: 'deploy', release: 'webapi@1.0.0' },
      ...{ older: 'true', reason: 'late, force true' },
    },
  })
  t.strictSame(object, {
    ...{ app: 'webapi', environment: 'test' },
    text: 'step deploy, release webapi@1.0.0, older true, reason "late, force true"',
  })
})

t.test('what is asked of all applications has the name of none', async (t) => {
  const { object } = auditStart({
    ...{ subject: 'li', via: 'session', verb: 'audit-read', decision: 'refused' },
    object: { app: '*', environment: '*' },
  })
  t.strictSame(object, {})
})
