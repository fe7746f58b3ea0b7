import { createSecretKey } from 'node:crypto'
import { exportSPKI, generateKeyPair, importJWK, SignJWT, UnsecuredJWT } from 'jose'
import t, { type Test } from 'tap'
import { StepError } from '../../src/core/errors.ts'
import { createHttpClient } from '../../src/core/http/client.ts'
import type { IssuerAccess } from '../../src/identity/http.ts'
import type { TokenRules } from '../../src/identity/verify.ts'
import { type Claims, githubClaims, gitlabClaims, startIssuer } from './issuer.ts'
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
const github = (changes?: Claims) => issuer.sign(githubClaims(issuer.url, changes))
const seconds = () => Math.floor(Date.now() / 1000)

await t.test("a good token of GitLab's", async (t) => {
  const exp = seconds() + 300
  for (const alg of ['RS256', 'ES256']) {
    const token = await issuer.sign(gitlabClaims(issuer.url, { exp }), { alg })
    const { publicKey, ...identity } = await verifyIdToken(token, rules, access)
    const known = issuer.keys.find((key) => key.alg === alg)
    t.strictSame({ ...JSON.parse(publicKey), use: 'sig' }, known, 'and the key it was checked by')
    t.strictSame(identity, {
      service: 'gitlab',
      login: 'ops-li',
      personId: '1',
      startedBy: 'push',
      email: 'li@example.com',
      groups: ['team/ops', 'team'],
      project: 'team/webapi',
      jobId: '302',
      jobUrl: `${issuer.url}/team/webapi/-/jobs/302`,
      attempt: 1,
      issuer: issuer.url,
      subject: 'project_path:team/webapi:ref_type:branch:ref:main',
      verified: true,
      environment: 'production',
      environmentProtected: true,
      ref: 'main',
      refProtected: true,
      sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
      expiresAt: new Date(exp * 1000).toISOString(),
    })
  }
  const many = await gitlab({ groups_direct: undefined, environment: undefined })
  t.match(await verifyIdToken(many, rules, access), { groups: [], environment: undefined })
  const audiences = await gitlab({ aud: ['vault', 'crosscloud'] })
  t.match(await verifyIdToken(audiences, rules, access), { login: 'ops-li' })
})

await t.test("a good token of GitHub's", async (t) => {
  t.match(await verifyIdToken(await github(), rules, access), {
    service: 'github',
    login: 'octocat',
    groups: [],
    project: 'octo-org/webapi',
    jobId: '1234',
    attempt: 1,
    environment: 'production',
    environmentProtected: undefined,
    ref: 'refs/heads/main',
    refProtected: true,
  })
  const server = await startIssuer({ path: '/_services/token' })
  const token = await server.sign(githubClaims(server.url))
  const identity = await verifyIdToken(token, { ...rules, issuer: server.url }, access)
  const root = new URL(server.url).origin
  t.equal(identity.jobUrl, `${root}/octo-org/webapi/actions/runs/1234`)
})

await t.test('a token that is not genuine is refused', async (t) => {
  const good = await gitlab()
  const [head = '', body = '', signature = ''] = good.split('.')
  const claims = gitlabClaims(issuer.url)
  const other = await generateKeyPair('RS256')
  const signAs = (alg: string, kid: string, key: Parameters<SignJWT['sign']>[0]) =>
    new SignJWT(claims).setProtectedHeader({ alg, kid }).sign(key)
  const publicKey = await importJWK(issuer.keys[0] ?? {}, 'RS256', { extractable: true })
  if (publicKey instanceof Uint8Array) throw new Error('not a public key')
  const pem = await exportSPKI(publicKey)
  const changed = Buffer.from(JSON.stringify({ ...claims, user_login: 'root', sub: 'x' })).toString(
    'base64url',
  )

  const cases: [string, string, RegExp][] = [
    ['another key', await signAs('RS256', 'key-RS256', other.privateKey), /its signature is not/],
    ['changed claims', `${head}.${changed}.${signature}`, /its signature is not/],
    ['no signature', `${head}.${body}.`, /its signature is not|cannot be read/],
    [
      'unknown kid',
      await signAs('RS256', 'other', other.privateKey),
      /a key that .* does not have/,
    ],
    ['none', new UnsecuredJWT(claims).encode(), /its algorithm is none/],
    [
      'HS256 with the public key',
      await signAs('HS256', 'key-RS256', createSecretKey(Buffer.from(pem))),
      /its algorithm is HS256/,
    ],
    ['nothing', '', /there is none/],
    ['not a token', '$CROSSCLOUD_ID_TOKEN', /not a JSON Web Token/],
    ['too long', `${good}${'A'.repeat(200_000)}`, /longer than any token/],
    ['a line end', `${good}\u001b[31m\n.x`, /not a JSON Web Token/],
  ]
  for (const [name, token, message] of cases) {
    await t.test(name, async (t) => {
      const error = await refusal(t, token)
      t.match(error, { code: 'UNAUTHORIZED', retryable: false, message })
      t.match(error.hint, /id_tokens: \{ CROSSCLOUD_ID_TOKEN: \{ aud: "crosscloud" \} \}/)
    })
  }

  const asked = issuer.asked.length
  await refusal(t, new UnsecuredJWT(claims).encode())
  t.equal(issuer.asked.length, asked, 'what is refused at once asks nobody')
  // A symmetric key among the issuer's changes nothing.
  const secret = Buffer.from('0123456789abcdef0123456789abcdef')
  issuer.keys.push({ kty: 'oct', kid: 'oct', alg: 'HS256', k: secret.toString('base64url') })
  t.teardown(() => issuer.keys.pop())
  const oct = await refusal(t, await signAs('HS256', 'oct', createSecretKey(secret)))
  t.match(oct.message, /HS256/)
  t.match(await verifyIdToken(good, rules, access), { login: 'ops-li' })
})

await t.test('a genuine token with other claims is refused, with the claim named', async (t) => {
  const time = seconds()
  const cases: [string, string, RegExp, Partial<TokenRules>?][] = [
    ['expired', await gitlab({ exp: time - 90 }), /it has expired at 20\d\d-.*Z/],
    ['no expiry', await gitlab({ exp: undefined }), /its claim exp is missing/],
    ['not yet valid', await gitlab({ nbf: time + 90 }), /not valid yet before 20/],
    ['audience', await gitlab({ aud: 'https://vault' }), /for https:\/\/vault, not for crosscloud/],
    ['no audience', await gitlab({ aud: undefined }), /for nobody, not for crosscloud/],
    ['issuer', await gitlab({ iss: 'https://evil' }), /from https:\/\/evil, not from http:\/\/127/],
    ['no issuer', await gitlab({ iss: undefined }), /it is from nothing/],
    [
      'project',
      await gitlab({ project_path: 'evil/webapi' }),
      /of evil\/webapi, not of team\/webapi/,
    ],
    ['no project', await gitlab({ project_path: undefined }), /it names no project/],
    ['GitHub project', await github({ repository: 'evil/fork' }), /of evil\/fork, not of/],
    ['branch', await gitlab({ ref: 'wip', ref_protected: 'false' }), /wip is not protected/],
    ['unsaid', await gitlab({ ref_protected: undefined }), /main is not protected/],
    ['GitHub branch', await github({ ref_protected: 'false' }), /refs\/heads\/main is not prot/],
    ['no login', await gitlab({ user_login: undefined }), /names no person: user_login is missing/],
    ['no login', await github({ actor: '' }), /names no person: actor is missing/],
    ['no subject', await gitlab({ sub: undefined }), /its claim sub is missing/],
    [
      'environment',
      await gitlab({ environment: 'staging' }),
      /its job is for environment staging, not for production/,
      { environment: 'production' },
    ],
    [
      'GitHub environment',
      await github({ environment: 'test' }),
      /for environment test, not for production/,
      { environment: 'production' },
    ],
    [
      'unprotected environment',
      await gitlab({ environment_protected: 'false' }),
      /environment production is not protected in team\/webapi/,
      { environment: 'production', 'protected-environment': true },
    ],
    [
      'no environment',
      await gitlab({ environment: undefined, environment_protected: undefined }),
      /its job names no environment/,
      { environment: 'production', 'protected-environment': true },
    ],
    [
      'no environment, where a person speaks for one',
      await github({ environment: undefined }),
      /its job names no environment/,
      { environment: 'production', 'named-environment': true },
    ],
    ...(await Promise.all(
      [
        ['a schedule', gitlab({ pipeline_source: 'schedule' })],
        ['a trigger', gitlab({ pipeline_source: 'trigger' })],
        ["another project's pipeline", gitlab({ pipeline_source: 'pipeline' })],
        ['a schedule of GitHub', github({ event_name: 'schedule' })],
        ['a dispatch by a program', github({ event_name: 'repository_dispatch' })],
        ['nobody knows what', gitlab({ pipeline_source: undefined })],
      ].map(
        async ([name, token]) =>
          [
            `started by ${name}`,
            (await token) as string,
            /no person started its pipeline/,
            { 'by-person': true },
          ] as [string, string, RegExp, Partial<TokenRules>],
      ),
    )),
    [
      'run again',
      await github({ run_attempt: '2' }),
      /its run was started again/,
      { 'first-attempt': true },
    ],
  ]
  for (const [name, token, message, changes] of cases) {
    await t.test(name, async (t) => {
      const error = await refusal(t, token, changes)
      t.match(error, { code: 'UNAUTHORIZED', retryable: false, message })
      t.ok(error.hint)
    })
  }
  const shown = await refusal(t, await gitlab({ project_path: `a/b\u001b[2J\n${'x'.repeat(999)}` }))
  t.notMatch(shown.message, /[\p{Cc}]/u)
  t.ok(shown.message.length < 400)
})

await t.test('tokens within the rules are accepted', async (t) => {
  const time = seconds()
  const all: Partial<TokenRules> = {
    environment: 'production',
    'protected-environment': true,
    'first-attempt': true,
  }
  t.match(await verifyIdToken(await gitlab(), { ...rules, ...all }, access), { verified: true })
  const cases: [string, Partial<TokenRules>?][] = [
    [await gitlab({ exp: time - 30 })],
    [await gitlab({ nbf: time + 30 })],
    [await gitlab({ ref_protected: 'false' }), { 'protected-ref': false }],
    [await gitlab({ environment: undefined }), { environment: 'production' }],
    [await github({ run_attempt: '2' })],
    [await gitlab(), { 'by-person': true }],
    [await gitlab({ pipeline_source: 'schedule' }), { 'by-person': true, pipelines: ['schedule'] }],
  ]
  for (const [token, changes] of cases) {
    t.match(await verifyIdToken(token, { ...rules, ...changes }, access), { verified: true })
  }
  const late = { ...access, now: new Date(Date.now() + 3_600_000) }
  await t.rejects(verifyIdToken(await gitlab(), rules, late), { message: /has expired/ })
})
