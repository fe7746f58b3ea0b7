import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { hashOfApiToken, newApiToken } from '../../src/ledger/api-token.ts'
import {
  auditFields,
  CHAIN_START,
  follows,
  hashOfAudit,
  numberAsWritten,
} from '../../src/ledger/audit-chain.ts'
import type { AuditRecord } from '../../src/ledger/ledger.ts'

const base: Omit<AuditRecord, 'hash'> = {
  number: 7,
  at: '2026-01-31T12:00:00.000Z',
  subject: 'zhang',
  via: 'session',
  verb: 'deploy',
  object: { app: 'webapi', environment: 'production', text: 'webapi@1.4.2 "é漢😀"\n' },
  decision: 'refused',
  rule: undefined,
  reason: 'no grant',
  plan: undefined,
  run: undefined,
  request: 'r-1',
  address: '192.0.2.7',
  prev: CHAIN_START,
}
const sealed = (more: Partial<AuditRecord> = {}): AuditRecord => {
  const record = { ...base, ...more }
  return { ...record, hash: more.hash ?? hashOfAudit(record) }
}

t.test('the hash is that of canonical JSON, which every language can write', async (t) => {
  const text = `{"address":"192.0.2.7","app":"webapi","at":"2026-01-31T12:00:00.000Z","decision":"refused","environment":"production","number":7,"object":"webapi@1.4.2 \\"é漢😀\\"\\n","prev":"${CHAIN_START}","reason":"no grant","request":"r-1","subject":"zhang","verb":"deploy","via":"session"}`
  t.equal(hashOfAudit(base), createHash('sha256').update(text, 'utf8').digest('hex'))
  const { hash, ...fields } = auditFields(sealed())
  t.equal(JSON.stringify(fields), text, 'what is exported, without its hash')
  t.equal(hash, hashOfAudit(base))
})

t.test('different records have different hashes, however their texts are cut', async (t) => {
  const moved: Partial<AuditRecord>[] = [
    { verb: 'deploywebapi', object: { environment: 'production' } },
    { subject: 'zhang"', reason: 'no grant' },
    { subject: 'zhang","via":"cli', reason: undefined },
    { reason: undefined, rule: 'no grant' },
    { reason: '' },
    { reason: undefined },
    { object: { app: 'production', environment: 'webapi' } },
    { object: { text: 'webapi production' } },
    { number: 8 },
    { prev: '1'.repeat(64) },
  ]
  const hashes = [{}, ...moved].map((more) => sealed(more).hash)
  t.equal(new Set(hashes).size, hashes.length)
  const piece = fc.constantFrom('a', '"', ',', ':', '\\', '{', '}', '\n', '')
  const word = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''))
  const texts = fc.record({ subject: word, verb: word, reason: word, rule: word })
  fc.assert(
    fc.property(texts, texts, (one, other) => {
      const same = JSON.stringify(one) === JSON.stringify(other)
      return same === (sealed(one).hash === sealed(other).hash)
    }),
    { numRuns: 300 },
  )
})

t.test('a record follows only the one it was written after', async (t) => {
  const last = { number: 6, hash: base.prev }
  t.ok(follows(sealed(), last))
  t.notOk(follows(sealed({ number: 8 }), last))
  t.notOk(follows(sealed(), { number: 6, hash: '1'.repeat(64) }))
  t.notOk(follows({ ...sealed(), reason: 'a grant' }, last))
  t.equal(numberAsWritten({ ...sealed(), number: 9 }), 7)
  t.equal(numberAsWritten({ ...sealed(), number: 9, verb: 'view' }), undefined)
})

t.test('a token is random, and what is no token has no hash', async (t) => {
  const { secret, hash } = newApiToken()
  t.match(secret, /^cct_[A-Za-z0-9_-]{43}$/)
  t.not(newApiToken().secret, secret)
  t.equal(hashOfApiToken(secret), hash)
  t.equal(hash, createHash('sha256').update(secret).digest('hex'))
  for (const wrong of [
    '',
    'cct_',
    `${secret}=`,
    secret.slice(0, -1),
    ` ${secret}`,
    `${secret}\n`,
  ]) {
    t.equal(hashOfApiToken(wrong), undefined, JSON.stringify(wrong))
  }
})
