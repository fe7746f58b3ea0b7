import t from 'tap'
import { z } from 'zod'
import { createHttpClient } from '../../src/core/http/client.ts'
import { issueLines } from '../../src/core/settings/schema.ts'
import { requestGithubToken } from '../../src/identity/github.ts'
import { identitySettings } from '../../src/identity/settings.ts'
import { startIssuer } from './issuer.ts'

const least = {
  issuer: 'https://gitlab.example.com',
  audience: 'crosscloud',
  project: 'team/webapi',
}

await t.test('identity settings are checked, with a message for each mistake', async (t) => {
  t.equal(identitySettings.parse('unverified'), 'unverified')
  t.strictSame(identitySettings.parse({ ...least, issuer: 'https://gitlab.example.com/' }), {
    ...least,
    project: ['team/webapi'],
    'protected-ref': true,
    pipelines: [],
  })
  const full = {
    issuer: 'http://127.0.0.1:8080/gitlab',
    audience: 'a',
    project: ['team/sub/webapi', 'octo-org/webapi'],
    'protected-ref': false,
    pipelines: ['schedule'],
    jwks: 'https://gitlab.example.com/oauth/discovery/keys',
    ca: 'ca.pem',
  }
  t.strictSame(identitySettings.parse(full), full)

  const wrong: [unknown, RegExp][] = [
    ['verified', /^identity is neither "unverified" nor an issuer/],
    [null, /neither "unverified"/],
    [{ issuer: least.issuer }, /audience is required; project is/],
    [{ ...least, issuer: 'http://gitlab.example.com' }, /issuer is not a usable URL/],
    [{ ...least, issuer: 'https://me:secret@gitlab.example.com' }, /issuer is not a usable URL/],
    [{ ...least, issuer: 'gitlab.example.com' }, /issuer is not a usable URL/],
    [{ ...least, jwks: 'http://localhost.evil/keys' }, /jwks is not a usable URL/],
    [{ ...least, pipelines: ['a b'] }, /pipelines.* is not what starts a pipeline/],
    [{ ...least, audience: '' }, /audience must not be empty/],
    [{ ...least, project: 'webapi' }, /project is not a project/],
    [{ ...least, project: [] }, /identity.project names none/],
    [{ ...least, protected: true }, /protected is not a known setting/],
  ]
  const whole = z.strictObject({ identity: identitySettings })
  for (const [identity, message] of wrong) {
    const { error } = whole.safeParse({ identity }, { reportInput: true })
    const lines = issueLines(error?.issues ?? []).map(
      ({ path, text }) => `${path.join('.')} ${text}`,
    )
    t.match(lines.join('\n'), message)
    t.notMatch(lines.join('\n'), 'secret')
  }
  const schema = JSON.stringify(z.toJSONSchema(identitySettings, { io: 'input' }))
  for (const name of ['issuer', 'audience', 'project', 'protected-ref', 'jwks', 'ca']) {
    t.match(schema, new RegExp(`"${name}":\\{[^{}]*("anyOf":[^\\]]*\\][^{}]*)?"description"`), name)
  }
})

await t.test("a token is asked of GitHub with the job's own, which no error shows", async (t) => {
  const { signal } = new AbortController()
  const github = await startIssuer()
  const access = { http: createHttpClient(), retry: { attempts: 2, firstPause: 5 } }
  const variables = {
    ACTIONS_ID_TOKEN_REQUEST_URL: `${github.url}/id?api-version=2.0&job=7`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-secret',
  }
  github.answers.set('/id', ({ headers, url = '' }, response) => {
    const query = new URL(url, github.url).searchParams
    const allowed = headers.authorization === 'Bearer request-secret' && query.get('job') === '7'
    if (!allowed) response.writeHead(401).end('{}')
    else response.end(JSON.stringify({ count: 1, value: `token for ${query.get('audience')}` }))
  })
  t.equal(await requestGithubToken(variables, 'a&b', signal, access), 'token for a&b')

  const wrong: [Record<string, string>, RegExp][] = [
    [{}, /the job may not have one/],
    [{ ...variables, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'other-secret' }, /answered 401/],
    [{ ...variables, ACTIONS_ID_TOKEN_REQUEST_URL: 'http://evil/id' }, /is not an https URL/],
    [{ ...variables, ACTIONS_ID_TOKEN_REQUEST_URL: 'id' }, /is not an https URL/],
  ]
  for (const [variables, message] of wrong) {
    const asking = requestGithubToken(variables, 'a', signal, access)
    await t.rejects(asking, { code: 'UNAUTHORIZED', message })
    await asking.catch((error) => t.notMatch(`${error.message} ${error.hint}`, /secret|job=7/))
  }
  github.answers.set('/id', (_request, response) => response.end('{"count":0}'))
  await t.rejects(requestGithubToken(variables, 'a', signal, access), { message: /holds none/ })
  await github.close()
  await t.rejects(requestGithubToken(variables, 'a', signal, access), {
    code: 'UNAVAILABLE',
    retryable: true,
  })
})
