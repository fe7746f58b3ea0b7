import type { Test } from 'tap'
import { CHAIN_START } from '../../../src/ledger/audit-chain.ts'
import type { AuditStart, Ledger } from '../../../src/ledger/ledger.ts'
import { HOSTILE, MINUTE, type OpenLedger } from './samples.ts'

const place = { app: 'webapi', environment: 'production' }

export function act(more: Partial<AuditStart> = {}): AuditStart {
  return {
    subject: 'zhang',
    via: 'session',
    verb: 'deploy',
    object: { ...place, text: 'webapi@1.4.2' },
    decision: 'allowed',
    ...more,
  }
}

export async function chainsAudit(t: Test, ledger: Ledger): Promise<void> {
  t.strictSame(await ledger.auditHead(), { number: 0, hash: CHAIN_START })
  t.strictSame(await ledger.verifyAudit(), { intact: true, count: 0, head: CHAIN_START })
  const whole = act({
    rule: 'grants[2]',
    reason: 'fixes the search',
    plan: 'p-1',
    run: 'run-7',
    request: 'r-1',
    address: '2001:db8::7',
  })
  const first = await ledger.recordAudit(whole)
  t.match(first, { ...whole, number: 1, prev: CHAIN_START, hash: /^[0-9a-f]{64}$/ })
  const bare = act({ object: {}, verb: 'tokens', via: 'cli', decision: 'refused' })
  const second = await ledger.recordAudit(bare)
  t.match(second, { number: 2, prev: first.hash, object: {}, rule: undefined })
  t.strictSame(await ledger.audits({ limit: 10 }), [second, first])
  t.strictSame(await ledger.auditHead(), { number: 2, hash: second.hash })
  const head = second.hash
  t.strictSame(await ledger.verifyAudit(), { intact: true, count: 2, head })
  t.match(await ledger.verifyAudit({ head: first.hash }), { intact: true })
  t.match(await ledger.verifyAudit({ head: head.toUpperCase() }), { intact: true })
  t.match(await ledger.verifyAudit({ head: CHAIN_START }), { intact: true })
  const lost = { intact: false, problem: 'head', number: undefined, count: 2, head }
  t.strictSame(await ledger.verifyAudit({ head: '1'.repeat(64) }), lost)
  await t.rejects(ledger.verifyAudit({ head: 'HEAD' }), { code: 'INPUT_INVALID' })
}

export async function keepsHostileAudit(t: Test, ledger: Ledger): Promise<void> {
  const long = 'é漢😀"\\\'\n'.repeat(8000)
  const texts = [HOSTILE, long, ' ', '%_', "' or 1=1 --", '\\', '{"a":"b"}', '\ud83d\ude00 ']
  for (const text of texts) {
    const short = Buffer.from(text.slice(0, 64)).toString()
    const fields = { subject: short, verb: short, rule: short, plan: short, run: short }
    const entry = act({
      ...{ ...fields, request: short, address: short },
      ...{ reason: text, object: { ...place, text } },
    })
    t.match(await ledger.recordAudit(entry), entry)
    t.match(await ledger.audits({ by: short, verb: short, limit: 1 }), [entry])
  }
  const odd = '\u001b[31mred\u0000\r\u0085\ud800lone'
  const plain = 'red\ufffdlone'
  const kept = await ledger.recordAudit(
    act({ subject: odd, reason: odd, object: { ...place, text: odd } }),
  )
  t.match(kept, { subject: plain, reason: plain, object: { text: plain } })
  t.match(await ledger.verifyAudit(), { intact: true, count: texts.length + 1 })
  const sixtyFour = 'x'.repeat(64 * 1024)
  const wide = act({ reason: sixtyFour, object: { text: sixtyFour } })
  t.match(await ledger.recordAudit(wide), { reason: sixtyFour })
  const wrong: Partial<AuditStart>[] = [
    { reason: `${sixtyFour}x` },
    { object: { text: `${sixtyFour}x` } },
    { object: { app: 'Web API' } },
    { object: { environment: '../production' } },
    { subject: '' },
    { subject: '\u0007' },
    { subject: 'x'.repeat(256) },
    { verb: 'x'.repeat(65) },
    { address: 'x'.repeat(256) },
    { via: 'telepathy' as 'cli' },
    { decision: 'perhaps' as 'allowed' },
    { plan: 7 as unknown as string },
  ]
  for (const more of wrong) {
    const error = { code: 'INPUT_INVALID' }
    await t.rejects(ledger.recordAudit(act(more)), error, Object.keys(more).join())
  }
  t.match(await ledger.verifyAudit(), { intact: true, count: texts.length + 2 })
}

export async function filtersAudit(t: Test, _ledger: Ledger, open: OpenLedger): Promise<void> {
  // The clock goes back by a minute with each record.
  let at = Date.parse('2026-01-31T12:00:00.000Z')
  const ledger = await open({ now: () => at })
  t.teardown(() => ledger.close())
  for (let i = 1; i <= 30; i++) {
    const environment = i % 2 ? 'test' : 'production'
    const decision = i % 3 ? 'allowed' : 'refused'
    const subject = i % 5 ? 'zhang' : 'token:jenkins'
    await ledger.recordAudit(act({ subject, decision, object: { ...place, environment } }))
    at -= MINUTE
  }
  t.match(await ledger.verifyAudit(), { intact: true, count: 30 })
  const numbers = async (query: Omit<Parameters<Ledger['audits']>[0], 'limit'>, limit = 99) =>
    (await ledger.audits({ ...query, limit })).map(({ number }) => number)
  t.same(await numbers({ environment: 'test', decision: 'refused' }), [27, 21, 15, 9, 3])
  t.same(await numbers({ by: 'token:jenkins', before: 20 }), [15, 10, 5])
  t.same(await numbers({ verb: 'promote' }), [])
  t.same(await numbers({ app: 'shop' }), [])
  t.same(await numbers({ since: '2026-01-31T11:58:00.000Z' }), [3, 2, 1])
  t.same(await numbers({}, 3), [30, 29, 28])
  t.same(await numbers({ before: 28 }, 2), [27, 26])
  t.same(await numbers({ after: 0 }, 3), [1, 2, 3])
  t.same(await numbers({ after: 28 }), [29, 30])
  const injected = "production' or '1'='1"
  await t.rejects(numbers({ environment: injected }), { code: 'INPUT_INVALID' })
  t.same(await numbers({ by: injected, verb: injected }), [])
  await t.rejects(numbers({ before: 1.5 }), { code: 'INPUT_INVALID' })
  await t.rejects(numbers({ before: 1, after: 2 }), { code: 'INPUT_INVALID' })
  await t.rejects(numbers({}, 0), { code: 'INPUT_INVALID' })
}

export async function appendsAtOnce(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  const others = await Promise.all([open(), open(), open()])
  t.teardown(() => Promise.all(others.map((other) => other.close())))
  const all = [ledger, ...others]
  const records = await Promise.all(
    Array.from({ length: 60 }, (_, i) => all[i % 4]?.recordAudit(act({ run: `run-${i}` }))),
  )
  const numbers = records.map((record) => record?.number ?? 0).sort((a, b) => a - b)
  t.same(
    numbers,
    Array.from({ length: 60 }, (_, i) => i + 1),
  )
  t.match(await ledger.verifyAudit(), { intact: true, count: 60 })
}
