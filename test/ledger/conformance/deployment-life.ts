import type { Test } from 'tap'
import { hashOfToken } from '../../../src/core/token-hash.ts'
import type { ApprovalStart, Ledger } from '../../../src/ledger/ledger.ts'
import { kept, setOf } from './config-changes.ts'
import {
  digestOf,
  ended,
  HOSTILE,
  MINUTE,
  type OpenLedger,
  outcome,
  release,
  start,
} from './samples.ts'

const one = release('1.0.0')
const two = release('1.0.1')

/** A deployer that is gone shows by its lock; what it reports late still counts, once. */
export async function detectsLostDeployers(t: Test, _: Ledger, open: OpenLedger): Promise<void> {
  let time = Date.parse('2026-05-01T12:00:00.000Z')
  const ledger = await open({ now: () => time })
  t.teardown(() => ledger.close())
  await ledger.recordRelease(one)
  const lock = await ledger.lock('webapi', 'test', 'li', 'deploy', MINUTE)
  const begun = await start(ledger, one, 'test', { lockToken: lock.token })
  t.match(begun, { state: 'running', lockToken: lock.token })
  t.strictSame(await ledger.findDeployment(begun.id), begun)
  const ids = async (state: 'running' | 'abandoned') =>
    (await ledger.deployments({ state, limit: 10 })).map(({ id }) => id)
  t.same([await ids('running'), await ids('abandoned')], [[begun.id], []])

  time += 2 * MINUTE
  t.same([await ids('running'), await ids('abandoned')], [[], [begun.id]], 'nobody is left')
  t.match(await ledger.findDeployment(begun.id), {
    state: 'abandoned',
    error: /not been heard of/,
    finishedAt: undefined,
  })

  const next = await ledger.lock('webapi', 'test', 'wang', 'deploy', MINUTE)
  const second = await start(ledger, one, 'test', { lockToken: next.token })
  t.match(await ledger.findDeployment(begun.id), {
    state: 'abandoned',
    error: `never reported its end; deployment ${second.id} came after it`,
  })
  t.same([await ids('running'), await ids('abandoned')], [[second.id], [begun.id]])
  await ledger.endDeployment(second.id, ended('succeeded'))

  const late = {
    ...ended('succeeded', [outcome('app-01')]),
    finishedAt: '2026-05-01T12:00:30.000Z',
  }
  await ledger.endDeployment(begun.id, late)
  await ledger.endDeployment(begun.id, late)
  t.match(await ledger.findDeployment(begun.id), {
    state: 'succeeded',
    finishedAt: late.finishedAt,
    hosts: [{ host: 'app-01' }],
  })
  t.match(await ledger.current('webapi'), [{ id: second.id }], 'the newer one runs')
  await t.rejects(ledger.endDeployment(begun.id, ended('failed')), { code: 'CONFLICT' })
}

/** A connection may break after the database has done what was asked; then it is asked again. */
export async function recordsTheSameOnce(t: Test, ledger: Ledger): Promise<void> {
  await ledger.recordRelease(one)
  await ledger.recordRelease(two)
  const { token } = await ledger.lock('webapi', 'test', 'li', 'deploy', MINUTE)
  const hosts = [
    { name: 'app-01', address: 'unix:///var/run/docker.sock' },
    { name: 'app-02', address: 'ssh://ops@app-02' },
  ]
  const first = await start(ledger, one, 'test', { lockToken: token, hosts })
  t.strictSame(await start(ledger, one, 'test', { lockToken: token, hosts }), first)
  await t.rejects(start(ledger, two, 'test', { lockToken: token }), { code: 'CONFLICT' })
  t.equal((await ledger.deployments({ limit: 10 })).length, 1)
  const end = ended('succeeded', [outcome('app-01'), outcome('app-02')])
  await ledger.endDeployment(first.id, end)
  const done = await ledger.findDeployment(first.id)
  await ledger.endDeployment(first.id, end)
  t.strictSame(await ledger.findDeployment(first.id), done)
  await t.rejects(ledger.endDeployment(first.id, { ...end, verified: false }), { code: 'CONFLICT' })

  const change = { key: '/a', before: { state: 'absent' } as const, after: kept('1') }
  const set = { ...setOf([change]), request: 'r-1', at: '2026-05-01T12:00:00.000Z' }
  const recorded = await ledger.recordConfigChange(set)
  t.equal(recorded.at, set.at)
  t.strictSame(await ledger.recordConfigChange(set), recorded)
  t.equal((await ledger.configChanges({ limit: 10 })).length, 1)
}

export async function recordsHowItWentThrough(t: Test, ledger: Ledger): Promise<void> {
  for (const made of [one, two]) await ledger.recordRelease(made)
  const first = await start(ledger, one, 'test')
  t.match(first, { kind: 'deploy', replaced: undefined, forced: false, approvals: [] })
  await ledger.endDeployment(first.id, ended('succeeded'))
  const failed = await start(ledger, two, 'test', { reason: 'try' })
  await ledger.endDeployment(failed.id, ended('failed'))
  const facts = {
    kind: 'rollback',
    identity: 'https://gitlab.example.com',
    jobUrl: 'https://gitlab.example.com/-/jobs/9',
    forced: true,
  } as const
  const back = await start(ledger, two, 'test', facts)
  t.match(back, { ...facts, replaced: first.id })
  t.strictSame(await ledger.findDeployment(back.id), back)
  t.equal(await ledger.findDeployment('d99'), undefined)
  t.equal(await ledger.findDeployment('nothing'), undefined)
  await t.rejects(start(ledger, two, 'test', { kind: 'other' as 'deploy' }), {
    code: 'INPUT_INVALID',
  })
}

/** Each token is used once; a decision whose response was lost is recorded again. */
async function recordsOneDecision(t: Test, ledger: Ledger, decided: ApprovalStart): Promise<void> {
  const kept = { token: `${HOSTILE}.token`, publicKey: '{"kty":"EC"}' }
  const tokenHash = hashOfToken(kept.token)
  const proof = { byId: '42', byMail: 'li@example.com', tokenHash }
  const approval = await ledger.recordApproval({ ...decided, ...proof }, kept)
  t.match(approval, proof)
  const proven = await ledger.provenApprovals('webapi', 'production', '1.0.0')
  t.strictSame(proven.at(-1), { approval: approval, proof: kept })
  t.equal(proven[0]?.proof, undefined)
  t.notOk(JSON.stringify(await ledger.approvals('webapi', undefined, '1.0.0')).includes('.token'))
  let text = ''
  await ledger.exportRecords((line) => {
    text += line
  })
  t.match(text, tokenHash)
  t.notMatch(text, /approval_tokens|\.token/, 'no token is exported')
  await t.rejects(ledger.recordApproval({ ...decided, tokenHash: 'f'.repeat(64) }, kept), {
    code: 'INPUT_INVALID',
  })
  t.strictSame(await ledger.recordApproval({ ...decided, ...proof }), approval, 'recorded again')
  const others = [
    { environment: 'staging' },
    { decision: 'rejected' } as const,
    { configRevision: 'sha256:another' },
  ]
  for (const other of others) {
    await t.rejects(ledger.recordApproval({ ...decided, ...proof, ...other }), {
      code: 'CONFLICT',
      message: /the token of this job has been used: ops-li approved webapi@1\.0\.0 for production/,
    })
  }
}

export async function keepsApprovalsAndMarks(t: Test, ledger: Ledger): Promise<void> {
  await ledger.recordRelease(one)
  const place = { app: 'webapi', environment: 'production', version: '1.0.0' }
  const decided = {
    ...place,
    digest: one.digest,
    decision: 'approved',
    by: 'ops-li',
    groups: ['team/ops', HOSTILE],
    identity: 'https://gitlab.example.com',
    reason: HOSTILE,
  } as const
  const approval = await ledger.recordApproval(decided)
  const other = await ledger.recordApproval({ ...decided, decision: 'rejected', reason: undefined })
  t.match(approval, { ...decided, id: 'a1', at: /Z$/ })
  t.strictSame(await ledger.approvals('webapi', 'production', '1.0.0'), [approval, other])
  t.same(await ledger.approvals('webapi', 'test', '1.0.0'), [])
  for (const wrong of [{ decision: 'maybe' as 'approved' }, { by: '' }, { identity: '' }]) {
    await t.rejects(ledger.recordApproval({ ...decided, ...wrong }), { code: 'INPUT_INVALID' })
  }
  await recordsOneDecision(t, ledger, decided)
  const strange = { ...decided, digest: digestOf('another') }
  await t.rejects(ledger.recordApproval(strange), { code: 'CONFLICT' })
  await t.rejects(ledger.recordApproval({ ...decided, version: '9.9.9' }), { code: 'NOT_FOUND' })
  const deployment = await start(ledger, one, 'production', { approvals: [approval.id] })
  t.same((await ledger.findDeployment(deployment.id))?.approvals, ['a1'])

  t.equal(await ledger.findMark('webapi', 'production', '1.0.0'), undefined)
  const identity = 'https://gitlab.example.com'
  const bad = { ...place, bad: true, by: 'ops-li', identity, reason: HOSTILE }
  t.match(await ledger.mark(bad), bad)
  t.match(await ledger.findMark('webapi', 'production', '1.0.0'), bad)
  t.equal(await ledger.findMark('webapi', 'test', '1.0.0'), undefined, 'there it is not bad')
  await ledger.mark({ ...bad, bad: false, reason: 'it was the network' })
  t.match(await ledger.findMark('webapi', 'production', '1.0.0'), { bad: false })
  await t.rejects(ledger.mark({ ...bad, reason: '' }), { code: 'INPUT_INVALID' })
}

/** A rollback says that what it left is bad with its own success, once, and not without it. */
export async function marksWithTheEnd(t: Test, ledger: Ledger): Promise<void> {
  for (const made of [one, two]) await ledger.recordRelease(made)
  const bad = { version: '1.0.1', by: 'ops-li', reason: 'orders fail' }
  const back = await start(ledger, one, 'test', { kind: 'rollback' })
  await t.rejects(ledger.endDeployment(back.id, { ...ended('failed'), bad }), {
    code: 'INPUT_INVALID',
  })
  const unknown = { ...ended('succeeded'), bad: { ...bad, version: '9.9.9' } }
  await t.rejects(ledger.endDeployment(back.id, unknown), 'no such release')
  t.match(await ledger.findDeployment(back.id), { state: 'running' }, 'both or neither')
  const end = { ...ended('succeeded'), bad }
  await ledger.endDeployment(back.id, end)
  await ledger.endDeployment(back.id, end)
  t.match(await ledger.marks('webapi', '1.0.1'), [{ ...bad, environment: 'test', bad: true }])
  t.equal((await ledger.marks('webapi', '1.0.1')).length, 1)
  t.match(await ledger.current('webapi'), [{ id: back.id }])
}

export async function pagesHistory(t: Test, _: Ledger, open: OpenLedger): Promise<void> {
  let time = Date.parse('2026-05-01T12:00:00.000Z')
  const ledger = await open({ now: () => time })
  t.teardown(() => ledger.close())
  await ledger.recordRelease(one)
  for (let i = 1; i <= 7; i++) {
    const { id } = await start(ledger, one, 'test', { by: i % 2 ? 'li' : 'wang' })
    await ledger.endDeployment(id, ended('succeeded'))
    time += MINUTE
  }
  const ids = async (query: object) =>
    (await ledger.deployments({ limit: 3, ...query })).map(({ id }) => id)
  t.same(await ids({}), ['d7', 'd6', 'd5'])
  t.same(await ids({ before: 'd5' }), ['d4', 'd3', 'd2'])
  t.same(await ids({ before: 'd2' }), ['d1'])
  t.same(await ids({ by: 'wang' }), ['d6', 'd4', 'd2'])
  t.same(await ids({ by: 'wang', before: 'd6', limit: 1 }), ['d4'])
  t.same(await ids({ since: '2026-05-01T12:05:00.000Z' }), ['d7', 'd6'])
  t.same(await ids({ since: '2027-01-01T00:00:00.000Z' }), [])
  t.same(await ids({ since: '2020-01-01T00:00:00.000Z', before: 'd3' }), ['d2', 'd1'])
  for (const wrong of [{ since: 'yesterday' }, { before: '5' }, { before: 'd0' }, { by: 'a\0' }]) {
    await t.rejects(ids(wrong), { code: 'INPUT_INVALID' }, JSON.stringify(wrong))
  }
}

export async function keepsAuditEvents(t: Test, ledger: Ledger): Promise<void> {
  const place = { app: 'webapi', environment: 'production' }
  const who = { by: 'ops-li', byId: '42', identity: 'https://gitlab.example.com' }
  const locked = { ...place, ...who, action: 'lock' as const, reason: HOSTILE }
  const first = await ledger.recordEvent(locked)
  t.match(first, { ...locked, id: 'e1', subject: undefined, jobUrl: undefined })
  const bare = { ...place, action: 'unlock' as const, by: 'wang', identity: 'unverified' }
  const second = await ledger.recordEvent({ ...bare, subject: 'ops-li (by hand)' })
  t.strictSame(await ledger.events({ limit: 9 }), [second, first], 'newest first')
  const ids = async (query: object) =>
    (await ledger.events({ limit: 9, ...query })).map(({ id }) => id)
  await ledger.recordEvent({ ...bare, environment: 'test', action: 'hosts stop' })
  t.same(await ids({ environment: 'production' }), ['e2', 'e1'])
  t.same(await ids({ action: 'hosts stop' }), ['e3'])
  t.same(await ids({ app: 'shop' }), [])
  t.same(await ids({ limit: 1 }), ['e3'])
  t.same(await ids({ since: '2000-01-01T00:00:00.000Z' }), ['e3', 'e2', 'e1'])
  t.same(await ids({ since: '2999-01-01T00:00:00.000Z' }), [])
  for (const wrong of [{ by: '' }, { identity: '' }, { action: 'sing' }, { reason: 'a\0' }]) {
    const event = { ...bare, ...wrong } as typeof bare
    await t.rejects(ledger.recordEvent(event), { code: 'INPUT_INVALID' }, JSON.stringify(wrong))
  }
}
