import type { Test } from 'tap'
import { newApiToken } from '../../../src/ledger/api-token.ts'
import type { ApiTokenStart, Ledger } from '../../../src/ledger/ledger.ts'
import { HOSTILE, MINUTE, type OpenLedger } from './samples.ts'

const START = Date.parse('2026-01-31T12:00:00.000Z')
const DAY = 24 * 3_600_000
const by = { subject: 'admin', via: 'cli' } as const
const scope = { verbs: ['deploy', 'promote'], apps: ['webapi'], envs: ['test', 'staging'] }
const iso = (milliseconds: number) => new Date(milliseconds).toISOString()

function token(more: Partial<ApiTokenStart> = {}): ApiTokenStart {
  const { hash } = newApiToken()
  return { name: 'jenkins', hash, scope, expiresAt: iso(START + 90 * DAY), ...more }
}

export async function keepsApiTokens(t: Test, _ledger: Ledger, open: OpenLedger): Promise<void> {
  let now = START
  const ledger = await open({ now: () => now })
  t.teardown(() => ledger.close())
  const start = token()
  const made = await ledger.recordToken(start, { ...by, address: 'ops-01' })
  t.strictSame(made, {
    ...{ number: 1, name: 'jenkins', scope, createdBy: 'admin', createdAt: iso(START) },
    key: undefined,
    ...{ expiresAt: start.expiresAt, revokedAt: undefined, revokedBy: undefined },
    ...{ lastUsedAt: undefined, state: 'living' },
  })
  t.strictSame(await ledger.findToken(start.hash), made)
  t.equal(await ledger.findToken(token().hash), undefined)
  t.match(await ledger.audits({ limit: 9 }), [
    { number: 1, ...by, verb: 'tokens', decision: 'allowed', address: 'ops-01' },
  ])
  const taken = { code: 'CONFLICT', message: /API token jenkins is there: of admin/ }
  await t.rejects(ledger.recordToken(token(), by), taken)
  t.equal((await ledger.auditHead()).number, 1, 'what was not done is not recorded as done')

  t.match(await ledger.useToken(start.hash), { lastUsedAt: iso(START) })
  now += MINUTE - 1
  t.match(await ledger.useToken(start.hash), { lastUsedAt: iso(START) }, 'within a minute')
  now += 1
  t.match(await ledger.useToken(start.hash), { lastUsedAt: iso(now) })
  now -= 10 * MINUTE
  t.match(await ledger.useToken(start.hash), { lastUsedAt: iso(START + MINUTE) }, 'clock went back')

  now = START + DAY
  const revoker = { subject: 'li', via: 'session', reason: 'it leaked' } as const
  const revoked = await ledger.revokeToken('jenkins', revoker)
  t.match(revoked, { state: 'revoked', revokedAt: iso(now), revokedBy: 'li' })
  t.strictSame(await ledger.revokeToken('jenkins', by), revoked, 'once')
  t.match(await ledger.findToken(start.hash), { state: 'revoked' })
  t.equal(await ledger.useToken(start.hash), undefined)
  await t.rejects(ledger.revokeToken('nobody', by), { code: 'NOT_FOUND' })
  t.match(await ledger.audits({ limit: 9 }), [{ number: 2, ...revoker }, { number: 1 }])

  const next = token({ expiresAt: iso(now + DAY) })
  await ledger.recordToken(next, by)
  now += DAY
  t.match(await ledger.findToken(next.hash), { state: 'expired' })
  t.equal(await ledger.useToken(next.hash), undefined)
  await ledger.recordToken(token({ expiresAt: iso(now + DAY) }), by)
  t.match(await ledger.tokens(), [{ state: 'living' }, { state: 'expired' }, { state: 'revoked' }])
  t.notMatch(JSON.stringify(await ledger.tokens()), next.hash)
  t.match(await ledger.verifyAudit(), { intact: true, count: 4 })
}

export async function refusesApiTokens(t: Test, _ledger: Ledger, open: OpenLedger): Promise<void> {
  const ledger = await open({ now: () => START })
  t.teardown(() => ledger.close())
  const wrong: Partial<ApiTokenStart>[] = [
    { name: '' },
    { name: 'Jenkins' },
    { name: HOSTILE },
    { hash: 'cct_secret' },
    { hash: newApiToken().secret },
    { expiresAt: iso(START) },
    { expiresAt: iso(START + 367 * DAY) },
    { expiresAt: '90d' },
    { scope: { ...scope, verbs: [] } },
    { scope: { ...scope, apps: [] } },
    { scope: { ...scope, envs: [] } },
    { scope: { ...scope, envs: ['*', 'test'] } },
    { scope: { ...scope, envs: ['t*'] } },
    { scope: { ...scope, apps: [HOSTILE] } },
    { scope: { ...scope, verbs: ['deploy', 'deploy'] } },
    { scope: { ...scope, verbs: [''] } },
  ]
  for (const more of wrong) {
    const error = { code: 'INPUT_INVALID' }
    await t.rejects(ledger.recordToken(token(more), by), error, JSON.stringify(more))
  }
  t.same(await ledger.tokens(), [])
  const others = await Promise.all([open(), open(), open()])
  t.teardown(() => Promise.all(others.map((other) => other.close())))
  const far = iso(Date.now() + DAY)
  const made = await Promise.allSettled(
    others.map((other) => other.recordToken(token({ expiresAt: far }), by)),
  )
  const states = made.map(({ status }) => status).sort()
  t.same(states, ['fulfilled', 'rejected', 'rejected'], 'a name is taken once')
}
