import fc from 'fast-check'
import t from 'tap'
import {
  isSealed,
  makeKey,
  openSnapshot,
  parseKeyRing,
  seal,
  sealedWith,
  unseal,
} from '../../../src/config/rules/encryption.ts'
import { createShow, isSecret, keepable } from '../../../src/config/rules/secrecy.ts'

const first = makeKey('first')
const ring = parseKeyRing(first, 'test')

t.test('a sealed value opens under its own key only', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (plain, key) => {
      const sealed = seal(ring, key, plain)
      return (
        isSealed(sealed) && sealed !== seal(ring, key, plain) && unseal(ring, key, sealed) === plain
      )
    }),
  )
  const sealed = seal(ring, '/a', 'hunter2-sentinel')
  t.equal(sealedWith(sealed), 'first')
  t.notMatch(sealed, 'hunter2')
  t.equal(unseal(ring, '/a', 'plain'), 'plain')
  t.throws(() => unseal(ring, '/b', sealed), { code: 'VERIFY_FAILED', message: /^\/b: .*moved/ })
  for (let at = 'enc:v1:first:'.length; at < sealed.length; at++) {
    const other = sealed[at] === 'A' ? 'Q' : 'A'
    const changed = sealed.slice(0, at) + other + sealed.slice(at + 1)
    t.throws(() => unseal(ring, '/a', changed), { code: 'VERIFY_FAILED' }, `character ${at}`)
  }
  for (const end of [0, 1, 20, 40]) {
    t.throws(() => unseal(ring, '/a', `enc:v1:first:${sealed.slice(13, 13 + end)}`), {
      name: 'StepError',
    })
  }
  t.throws(() => unseal(undefined, '/a', sealed), {
    code: 'UNAUTHORIZED',
    message: '/a: it is encrypted with the key "first", which is not given here',
  })
  t.throws(() => unseal(ring, '/a', 'enc:v1:what is this'), { message: /damaged/ })
})

t.test('a key ring is read from lines or commas, and no error shows a key', async (t) => {
  const second = makeKey('second')
  const both = parseKeyRing(`# newest first\n${second} # ours\n\n${first}\n`, 'keys.txt')
  t.equal(both.active.id, 'second')
  t.equal(unseal(both, '/a', seal(ring, '/a', 'x')), 'x', 'an old key still opens')
  t.throws(() => unseal(ring, '/a', seal(both, '/a', 'x')), { code: 'UNAUTHORIZED' })
  t.equal(parseKeyRing(`${second},${first}`, 'X').find('first')?.bytes.length, 32)
  for (const [text, why] of [
    ['', /holds no key/],
    ['# nothing', /holds no key/],
    ['abc', /entry 1 is not a key/],
    [`${first}\nx:c2hvcnQ=`, /entry 2 is not a key/],
    [`${first},${first}`, /entry 2 has the id first again/],
  ] as const) {
    t.throws(() => parseKeyRing(text, 'VAR'), { code: 'INPUT_INVALID', message: why })
  }
  const wrong = first.replace(':', ':!')
  t.throws(() => parseKeyRing(wrong, 'VAR'), { message: /^(?!.*!)/ }, 'not shown')
})

t.test(
  'a snapshot opens all values that the ring can decrypt, and lists the others as locked',
  async (t) => {
    const other = parseKeyRing(makeKey('other'), 'test')
    const stored = new Map([
      ['/plain', 'p'],
      ['/mine', seal(ring, '/mine', 'm')],
      ['/theirs', seal(other, '/theirs', 't')],
    ])
    const opened = openSnapshot(stored, ring)
    t.same(
      [...opened.values],
      [
        ['/plain', 'p'],
        ['/mine', 'm'],
      ],
    )
    t.same([...opened.sealed], ['/mine', '/theirs'])
    t.match(
      [...opened.locked],
      [['/theirs', 'it is encrypted with the key "other", which is not given here']],
    )
  },
)

t.test('a value is secret by its encryption, by the schema, or by its name', async (t) => {
  for (const key of [
    '/a/password',
    '/a/db.passwd',
    '/a/DB_PWD',
    '/client-secret',
    '/x/api-key',
    '/token',
    '/a/apiKey',
    '/oauth/token.url',
  ]) {
    t.ok(isSecret(key, 'x'), key)
  }
  for (const key of [
    '/a/url',
    '/password/policy',
    '/a/passenger',
    '/key',
    '/a/compass',
    '/a/monkey',
  ]) {
    t.notOk(isSecret(key, 'x'), key)
  }
  t.ok(isSecret('/a', seal(ring, '/a', 'x')))
  t.notOk(
    isSecret('/token', 'x', () => false),
    'the schema knows better',
  )
  t.ok(isSecret('/a', 'x', () => true))
  t.ok(
    isSecret('/a', seal(ring, '/a', 'x'), () => false),
    'encrypted stays secret',
  )

  const show = createShow()
  const secret = (clear: string | undefined, stored = clear ?? '') => ({
    secret: true,
    stored,
    clear,
  })
  t.equal(show({ secret: false, stored: ' x\u00a0', clear: undefined }), '" x\u00a0"')
  t.match(show(secret('abc')), /^\(secret [0-9a-f]{8}\)$/)
  t.equal(show(secret('abc')), show(secret('abc')))
  t.not(show(secret('abc')), show(secret('abd')))
  t.not(show(secret('abc')), createShow()(secret('abc')), 'no two outputs compare')
  const sealed = seal(ring, '/a', 'x')
  t.match(show(secret('x', sealed)), /^\(secret [0-9a-f]{8}, encrypted\)$/)
  t.equal(show(secret(undefined, sealed)), '(secret, encrypted, its key is not here)')
  t.equal(keepable('/a', sealed, {}), sealed)
  t.equal(keepable('/a', 'x', {}), 'x')
  t.equal(keepable('/a/token', 'x', {}), null)
  t.equal(unseal(ring, '/a/token', keepable('/a/token', 'x', { ring }) ?? ''), 'x')
})
