import t from 'tap'
import { createKey } from '../../../src/client/key.ts'
import { StepError } from '../../../src/core/errors.ts'
import { silentLog } from '../../../src/core/log.ts'
import type { AuditStart } from '../../../src/ledger/ledger.ts'
import { auditLogins } from '../../../src/server/sessions/logins.ts'
import { loginOf, sessionWorld } from './world.ts'

t.test('each login and each refusal is in the audit log, with its reason', async (t) => {
  const records: AuditStart[] = []
  const onLogin = auditLogins(async (entry) => records.push(entry), silentLog)
  const { sessions, start } = await sessionWorld(t, { onLogin })
  const key = await createKey()
  await start(key)
  const guess = { ...(await loginOf(await createKey())), token: 'x.y.z' }
  await t.rejects(sessions.start(guess), { message: 'the ID token is not accepted' })
  const headers = { authorization: `Bearer cct_${'s'.repeat(43)}` }
  const url = '/api/v1/runs?limit=1'
  await t.rejects(sessions.authenticate({ method: 'GET', url, headers, ip: '192.0.2.7' }))
  await t.rejects(sessions.authenticate({ method: 'GET', url, headers: {}, ip: '192.0.2.7' }))
  const login = { via: 'session', verb: 'login', object: {} }
  t.match(records, [
    {
      ...{ ...login, subject: 'job 302 of team/webapi (ops-li)', decision: 'allowed' },
      ...{ request: 'POST /api/v1/session', address: '192.0.2.1' },
    },
    { ...login, subject: 'unknown', decision: 'refused', reason: String, address: '192.0.2.1' },
    {
      ...{ ...login, decision: 'refused', reason: 'api-token-unknown' },
      ...{ request: 'GET /api/v1/runs', address: '192.0.2.7' },
    },
  ])
  t.equal(records.length, 3, 'who shows nothing at all tries nothing')
  t.notMatch(JSON.stringify(records), /x\.y\.z|cct_|ccs_/, 'no credential is recorded')
})

t.test('a login that cannot be recorded is none; a refusal stays one', async (t) => {
  const onLogin = auditLogins(async () => {
    throw new StepError('UNAVAILABLE', 'the ledger is away')
  }, silentLog)
  const { sessions, start, store } = await sessionWorld(t, { onLogin })
  const key = await createKey()
  await t.rejects(start(key), { code: 'UNAVAILABLE', message: /ledger is away/ })
  t.strictSame(await store.list({}), [], 'its session is gone')
  const guess = { ...(await loginOf(await createKey())), token: 'x.y.z' }
  await t.rejects(sessions.start(guess), { code: 'UNAUTHORIZED' })
})

t.test('refused logins do not fill the ledger', async (t) => {
  const records: AuditStart[] = []
  let now = 1_000_000
  const told = auditLogins(
    async (entry) => records.push(entry),
    silentLog,
    () => now,
  )
  const request = { method: 'POST', url: '/api/v1/session', ip: '192.0.2.1' }
  for (let n = 0; n < 100; n++) await told({ request, reason: 'credentials' })
  t.equal(records.length, 60)
  await told({ request, subject: { name: 'li' } })
  t.equal(records.length, 61, 'who comes in is always recorded')
  now += 60_000
  await told({ request, reason: 'credentials' })
  t.equal(records.at(-1)?.reason, 'credentials; 40 refused logins before it are in no record')
})
