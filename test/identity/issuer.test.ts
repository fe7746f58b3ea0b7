import { readFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { StepError } from '../../src/core/errors.ts'
import { createHttpClient } from '../../src/core/http/client.ts'
import type { IssuerAccess } from '../../src/identity/http.ts'
import type { TokenRules } from '../../src/identity/verify.ts'
import { makeCertificates } from '../support/data/certificates.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { type Claims, gitlabClaims, startIssuer } from './issuer.ts'
import { verifyIdToken } from './verify-id-token.ts'

const { signal } = new AbortController()
const access: IssuerAccess = {
  http: createHttpClient(),
  signal,
  retry: { attempts: 2, firstPause: 5 },
  timeout: 2000,
}
const issuer = await startIssuer()
const rules: TokenRules = {
  issuer: issuer.url,
  audience: 'crosscloud',
  project: ['team/webapi', 'octo-org/webapi'],
  'protected-ref': true,
  pipelines: [],
}

/** The error of a token; nothing of it, message, hint or causes, may hold a part of the token. */
async function refusal(
  t: Pick<Test, 'ok' | 'notOk'>,
  token: string,
  changes: Partial<TokenRules> = {},
  more: Partial<IssuerAccess> = {},
): Promise<StepError> {
  const error = await verifyIdToken(token, { ...rules, ...changes }, { ...access, ...more }).then(
    () => undefined,
    (error: unknown) => error,
  )
  t.ok(error instanceof StepError, 'it is refused')
  if (!(error instanceof StepError)) throw new Error('the token was accepted')
  let said = ''
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    said += `${at.stack} ${at.message}`
  said += `${error.hint} ${JSON.stringify(error)}`
  for (const part of token.split('.').filter((part) => part.length > 20)) {
    t.notOk(said.includes(part), 'no part of the token is told')
  }
  return error
}

const gitlab = (changes?: Claims) => issuer.sign(gitlabClaims(issuer.url, changes))

await t.test('an issuer that fails is UNAVAILABLE, and which failures pass is known', async (t) => {
  const keys = '/oauth/keys'
  const configuration = '/.well-known/openid-configuration'
  const answerWith = (path: string, answer: (response: ServerResponse) => void) =>
    issuer.answers.set(path, (_request, response) => answer(response))
  t.afterEach(() => issuer.answers.clear())
  const good = await gitlab()

  await t.test('an issuer that is down is named, and worth another try', async (t) => {
    const gone = await startIssuer()
    await gone.close()
    const error = await refusal(t, await gone.sign(gitlabClaims(gone.url)), { issuer: gone.url })
    t.match(error, { code: 'UNAVAILABLE', retryable: true, exitCode: 75, message: /ECONNREFUSED/ })
    t.match(error.message, gone.url)
    t.match(error.hint, /Check that the issuer runs/)
  })
  await t.test('an issuer without keys for now is asked again', async (t) => {
    const before = issuer.asked.length
    answerWith(keys, (response) => response.writeHead(503).end())
    t.match(await refusal(t, good), { code: 'UNAVAILABLE', retryable: true, message: /503/ })
    t.strictSame(issuer.asked.slice(before), [configuration, keys, keys], 'it is asked again')
    let asked = 0
    answerWith(keys, (response) => {
      if (asked++ === 0) response.writeHead(502).end()
      else response.end(JSON.stringify({ keys: issuer.keys }))
    })
    t.match(await verifyIdToken(good, rules, access), { login: 'ops-li' })
  })
  await t.test(
    'an issuer that says nothing is waited for in vain, or until a cancel',
    async (t) => {
      answerWith(keys, () => {})
      const error = await refusal(t, good, {}, { timeout: 100 })
      t.match(error, { code: 'UNAVAILABLE', retryable: true, message: /no answer within 0.1 s/ })
      const stopper = new AbortController()
      const stopped = refusal(t, good, {}, { signal: stopper.signal })
      setTimeout(() => stopper.abort(), 50)
      t.match(await stopped, { code: 'CANCELLED' })
    },
  )
  const odd: [string, string, (response: ServerResponse) => void, RegExp][] = [
    ['keys that never end', keys, flood, /longer than 512 KiB/],
    ['a page in place of keys', keys, (r) => r.end('<html>sign in</html>'), /is not a JSON object/],
    ['a list in place of keys', keys, (r) => r.end('[]'), /is not a JSON object/],
    ['keys without a list', keys, (r) => r.end('{}'), /holds no keys/],
    [
      'keys that moved',
      keys,
      (r) => r.writeHead(302, { location: 'http://evil' }).end(),
      /answered 302/,
    ],
    [
      'a configuration that is not there',
      configuration,
      (r) => r.writeHead(404).end(),
      /answered 404/,
    ],
  ]
  for (const [name, path, answer, message] of odd) {
    await t.test(`${name}: an error that another try does not mend`, async (t) => {
      answerWith(path, answer)
      t.match(await refusal(t, good), { code: 'UNAVAILABLE', retryable: false, message })
    })
  }
  const wrong: [string, object, RegExp][] = [
    [
      'of another issuer',
      { issuer: 'https://evil', jwks_uri: `${issuer.url}${keys}` },
      /itself https:\/\/evil/,
    ],
    [
      'with plain http',
      { issuer: issuer.url, jwks_uri: 'http://evil/keys' },
      /http:\/\/evil\/keys for/,
    ],
    ['without keys', { issuer: issuer.url }, /it names nothing for them/],
  ]
  for (const [name, answer, message] of wrong) {
    await t.test(`a configuration ${name} is refused`, async (t) => {
      answerWith(configuration, (response) => response.end(JSON.stringify(answer)))
      t.match(await refusal(t, good), { code: 'UNAUTHORIZED', retryable: false, message })
    })
  }
  await t.test('keys nobody can use spoil nothing', async (t) => {
    const answer = { keys: [null, 7, {}, { kty: 'XYZ', kid: 'new' }, ...issuer.keys] }
    answerWith(keys, (response) => response.end(JSON.stringify(answer)))
    t.match(await verifyIdToken(good, rules, access), { login: 'ops-li' })
    answerWith(keys, (response) =>
      response.end(JSON.stringify({ keys: [{ kty: 'RSA', kid: 'key-RS256', n: '!', e: '!' }] })),
    )
    t.match(await refusal(t, good), { code: 'UNAUTHORIZED', message: /cannot be used/ })
  })
  await t.test('has several keys and the token names none', async (t) => {
    const [rsa, ecdsa] = issuer.keys
    const anonymous = { ...rsa, kid: undefined }
    const token = await issuer.sign(gitlabClaims(issuer.url), { alg: 'RS256', kid: undefined })
    t.match(await verifyIdToken(token, rules, access), { login: 'ops-li' }, 'one key fits')
    const answer = { keys: [rsa, anonymous, ecdsa] }
    answerWith(keys, (response) => response.end(JSON.stringify(answer)))
    t.match(await refusal(t, token), { code: 'UNAUTHORIZED', message: /with which key/ })
  })
  await t.test('has its keys where the settings say', async (t) => {
    const before = issuer.asked.length
    const named = { ...rules, jwks: `${issuer.url}${keys}` }
    t.match(await verifyIdToken(good, named, access), { login: 'ops-li' })
    t.strictSame(issuer.asked.slice(before), [keys], 'no other address is asked')
  })
})

await t.test(
  'an issuer with a private certificate authority is reached where the authority is named',
  async (t) => {
    const folder = await makeCertificates(join(await temporaryFolder(t), 'tls'))
    const read = (name: string) => readFile(join(folder, name), 'utf8')
    const tls = { key: await read('server-key.pem'), cert: await read('server.pem') }
    const secure = await startIssuer({ tls })
    const token = await secure.sign(gitlabClaims(secure.url))
    const error = await refusal(t, token, { issuer: secure.url })
    t.match(error, { code: 'UNAVAILABLE', retryable: false, hint: /certificate authority/ })
    const ca = await read('ca.pem')
    const trusting = { ...access, http: createHttpClient({ ca: () => ca }) }
    const identity = await verifyIdToken(token, { ...rules, issuer: secure.url }, trusting)
    t.equal(identity.issuer, secure.url)
  },
)

/** More than anybody wants, for as long as it is read. */
function flood(response: ServerResponse): void {
  response.write('{"keys":["')
  const more = () => {
    while (!response.destroyed && response.write('x'.repeat(65_536)));
  }
  response.on('drain', more)
  more()
}
