import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import t from 'tap'
import { createHttpClient } from '../../src/core/http/client.ts'
import { SCAN, SCANNER } from '../../src/core/scanner.ts'
import { hashOfToken } from '../../src/core/token-hash.ts'
import {
  doubtStoredApproval,
  type StoredApproval,
  type StoredApprovalRules,
} from '../../src/identity/stored-approval.ts'
import { type Claims, gitlabClaims, startIssuer, variantsOf } from './issuer.ts'
import { verifyIdToken } from './verify-id-token.ts'

const { signal } = new AbortController()
const issuer = await startIssuer()
const rules: StoredApprovalRules = {
  issuer: issuer.url,
  audience: 'crosscloud',
  project: ['team/webapi'],
  'protected-ref': true,
  pipelines: [],
  environment: 'production',
  keys: async () => ({ keys: issuer.keys }),
  apart: false,
}
const HOUR = 3600
const given = new Date('2026-11-23T08:00:00.000Z')
const seconds = given.getTime() / 1000
const claimsOf = (changes: Claims = {}) =>
  gitlabClaims(issuer.url, {
    iat: seconds - 60,
    nbf: seconds - 65,
    exp: seconds + HOUR,
    ...changes,
  })

const wordOf = (
  token: string,
  publicKey: string,
  more: Partial<StoredApproval> = {},
): StoredApproval => ({
  by: 'ops-li',
  byId: '1',
  byMail: 'li@example.com',
  groups: ['team/ops', 'team'],
  identity: issuer.url,
  at: given.toISOString(),
  proof: { token, publicKey },
  tokenHash: hashOfToken(token),
  ...more,
})

/** What is kept of somebody who spoke at that time. */
async function spoken(changes: Claims = {}): Promise<{ token: string; publicKey: string }> {
  const token = await issuer.sign(claimsOf(changes))
  const { keys: _keys, apart: _apart, environment: _environment, ...then } = rules
  const { publicKey } = await verifyIdToken(token, then, {
    http: createHttpClient(),
    signal,
    now: given,
  })
  return { token, publicKey }
}

const { token, publicKey } = await spoken()

t.test('a token that has expired since proves an approval given while it was valid', async (t) => {
  t.equal(await doubtStoredApproval(wordOf(token, publicKey), rules), undefined)
  const later = new Date((seconds + HOUR + 600) * 1000).toISOString()
  t.match(
    await doubtStoredApproval(wordOf(token, publicKey, { at: later }), rules),
    /it has expired/,
  )
  const before = new Date((seconds - 600) * 1000).toISOString()
  t.match(
    await doubtStoredApproval(wordOf(token, publicKey, { at: before }), rules),
    /not valid yet/,
  )
})

t.test('a signature that is written in another way is of the same token', async (t) => {
  for (const variant of variantsOf(token)) {
    t.not(variant, token)
    t.equal(await doubtStoredApproval(wordOf(token, publicKey), rules), undefined)
    const other = { proof: { token: variant, publicKey } }
    t.equal(
      await doubtStoredApproval(wordOf(token, publicKey, other), rules),
      undefined,
      variant.slice(-3),
    )
  }
})

t.test(
  'an approval without its token does not count, and the reason says to approve anew',
  async (t) => {
    const bare = wordOf(token, publicKey, { proof: undefined })
    for (const apart of [false, true]) {
      t.equal(
        await doubtStoredApproval(bare, { ...rules, apart }),
        'no signed token was kept with it: approve anew',
      )
    }
  },
)

t.test('an approval must be equal to its token', async (t) => {
  for (const [changes, what] of [
    [{ by: 'boss' }, 'person'],
    [{ byId: '2' }, 'id'],
    [{ byId: undefined }, 'id'],
    [{ byMail: 'boss@example.com' }, 'mail'],
    [{ groups: ['team/ops', 'team', 'team/boss'] }, 'groups'],
    [{ identity: 'https://other.example.com' }, 'issuer'],
    [{ tokenHash: 'f'.repeat(64) }, 'hash'],
    [{ tokenHash: undefined }, 'hash'],
  ] as const) {
    const doubt = await doubtStoredApproval(wordOf(token, publicKey, changes), rules)
    t.equal(doubt, `its signed token tells another ${what}: approve anew`)
  }
})

t.test('a token of another job, project or audience proves nothing', async (t) => {
  for (const [changes, why] of [
    [{ environment: 'test' }, /environment test, not for production/],
    [{ pipeline_source: 'schedule' }, /no person started its pipeline/],
  ] as const) {
    const other = await spoken(changes)
    t.match(await doubtStoredApproval(wordOf(other.token, other.publicKey), rules), why)
  }
  const now = { ...rules, project: ['team/other'], audience: 'crosscloud' }
  t.match(await doubtStoredApproval(wordOf(token, publicKey), now), /it is of team\/webapi/)
  const audience = { ...rules, audience: 'somebody' }
  t.match(await doubtStoredApproval(wordOf(token, publicKey), audience), /it is for crosscloud/)
  const elsewhere = { ...rules, issuer: 'https://other.example.com' }
  t.match(
    await doubtStoredApproval(wordOf(token, publicKey), elsewhere),
    /not from https:\/\/other/,
  )
})

t.test('a key that somebody made up proves nothing', async (t) => {
  const own = await generateKeyPair('RS256')
  for (const kid of ['key-RS256', 'mine']) {
    const forged = await new SignJWT(claimsOf() as JWTPayload)
      .setProtectedHeader({ alg: 'RS256', kid })
      .sign(own.privateKey)
    const key = JSON.stringify({ ...(await exportJWK(own.publicKey)), alg: 'RS256', kid })
    const why = kid === 'mine' ? /has the key no more/ : /is not the one that .* has by that name/
    t.match(await doubtStoredApproval(wordOf(forged, key), rules), why)
    t.match(
      await doubtStoredApproval(wordOf(forged, publicKey), rules),
      /not accepted/,
      'by a true key',
    )
  }
  const unreadable = ['', 'null', '{}', '{"kty":"oct","k":"YQ"}', '{"kty":"RSA"}']
  for (const key of unreadable) {
    const doubt = await doubtStoredApproval(wordOf(token, key), { ...rules, apart: true })
    t.equal(doubt, 'the key it was checked by cannot be read: approve anew', key)
  }
})

t.test(
  'a key that the issuer no longer has counts when the account for approvals wrote it',
  async (t) => {
    const rotated = { ...rules, keys: async () => ({ keys: issuer.keys.slice(1) }) }
    t.match(await doubtStoredApproval(wordOf(token, publicKey), rotated), /has the key no more/)
    t.equal(
      await doubtStoredApproval(wordOf(token, publicKey), { ...rotated, apart: true }),
      undefined,
    )
    const changed = wordOf(token.replace(/.{9}$/, 'AAAAAAAAA'), publicKey)
    t.match(await doubtStoredApproval(changed, { ...rotated, apart: true }), /its signature is not/)
  },
)

t.test('scans and platform approvals have no token, and are treated by their kind', async (t) => {
  const bare = { proof: undefined, tokenHash: undefined, byId: undefined }
  const scan = wordOf(token, publicKey, { ...bare, by: SCANNER, identity: SCAN })
  t.match(await doubtStoredApproval(scan, rules), /no signed token/)
  t.equal(await doubtStoredApproval(scan, { ...rules, apart: true }), undefined)
  for (const identity of [`${issuer.url}, approved there`, 'https://x.example.com']) {
    const there = wordOf(token, publicKey, { ...bare, identity })
    t.match(await doubtStoredApproval(there, { ...rules, apart: true }), /approve/, identity)
  }
  for (const made of [
    { by: 'ops-wang', identity: SCAN },
    { by: SCANNER, identity: 'webhook of harbor' },
    { by: SCANNER, identity: 'scanner' },
    { by: 'ops-wang', identity: '' },
  ]) {
    const doubt = await doubtStoredApproval(wordOf(token, publicKey, { ...bare, ...made }), {
      ...rules,
      apart: true,
    })
    t.equal(doubt, 'no signed token was kept with it: approve anew', JSON.stringify(made))
  }
})
