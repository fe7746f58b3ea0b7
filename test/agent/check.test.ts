import t from 'tap'
import { readLease, requireGrants, verifyAsker } from '../../src/agent/check.ts'
import type { Lease } from '../../src/api/agents.ts'
import { createHttpClient } from '../../src/core/http/client.ts'
import { compilePolicy } from '../../src/policy/compile.ts'
import { policySettings } from '../../src/policy/settings.ts'
import type { OpenedApplication } from '../../src/server/applications/applications.ts'
import { openIssuers } from '../../src/server/sessions/issuers.ts'
import { sessionIssuers } from '../../src/server/sessions/settings.ts'
import { accountOf, type Claims, gitlabClaims, startIssuer } from '../identity/issuer.ts'

const SERVER = 'https://crosscloud.test'
const own = { 'ref-protected': true, environment: 'production', project: 'team/webapi' }

const policy = compilePolicy(
  policySettings.parse({
    roles: { pipeline: ['view', 'deploy', 'promote', 'verify'], viewer: ['view'] },
    grants: [
      { job: own, role: 'pipeline', apps: ['webapi'], envs: ['production'] },
      { job: { ...own, user: 'dev-li' }, role: 'viewer', apps: ['webapi'], envs: ['staging'] },
    ],
  }),
)

const application = {
  settings: { environments: { staging: {}, production: { from: 'staging' } } },
} as unknown as Pick<OpenedApplication, 'settings'>

const lease = (more: Partial<Lease> = {}): Lease => ({
  ...{ run: '0run', kind: 'run', app: 'webapi', step: 'deploy', environment: 'production' },
  inputs: { release: 'webapi@1.0.0', env: 'production' },
  ...{ planHash: null, fence: 1, again: false, token: null, by: 'whoever', term: 30_000 },
  ...more,
})

const seconds = () => Math.floor(Date.now() / 1000)

/** What a server may hand over that is not the truth, and what the agent says to it. */
const refused: Record<string, { claims?: Claims; lease?: Partial<Lease>; says: RegExp }> = {
  'a token for another server': {
    claims: { aud: 'https://other.test' },
    says: /for https:\/\/other/,
  },
  'the token of another project': { claims: { project_path: 'team/shop' }, says: /team\/shop/ },
  'a token that has expired': {
    claims: { iat: seconds() - 7200, nbf: seconds() - 7200, exp: seconds() - 3600 },
    says: /expired/,
  },
  'a token of the future': { claims: { iat: seconds() + 3600 }, says: /of the future/ },
  'a token for a year': { claims: { exp: seconds() + 366 * 86_400 }, says: /longer than a month/ },
  'the token of an issuer that nobody named': {
    claims: { iss: 'https://evil.test' },
    says: /not accepted/,
  },
  'no token': { lease: { token: null }, says: /has no ID token that this agent could check/ },
  'no token, but a text': { lease: { token: 'x.y.z' }, says: /not accepted/ },
  'a token without a signature': {
    lease: { token: `${encode({ alg: 'none' })}.${encode({ iss: 'x' })}.` },
    says: /not accepted/,
  },
  'a branch that is not protected': {
    claims: { ref_protected: 'false' },
    says: /the agent refuses: .*needs ref-protected true, the token says false/,
  },
  'a job of another environment': {
    claims: { environment: 'staging' },
    says: /needs environment production, the token says staging/,
  },
  'an environment without a grant': {
    lease: { environment: 'staging', inputs: { release: 'webapi@1.0.0', env: 'staging' } },
    says: /may not deploy webapi to staging/,
  },
  'another application': {
    lease: { app: 'shop', inputs: { release: 'shop@1.0.0', env: 'production' } },
    says: /may not deploy shop to production/,
  },
  'an environment that its inputs do not name': {
    lease: { inputs: { release: 'webapi@1.0.0', env: 'staging' } },
    says: /are not for production/,
  },
  'the release of another application': {
    lease: { inputs: { release: 'shop@1.0.0', env: 'production' } },
    says: /the release is of shop/,
  },
  'a step that is not for servers': {
    lease: { step: 'build-war', inputs: { env: 'production' } },
    says: /there is no step "build-war"/,
  },
  'an input that is not for servers': {
    lease: { inputs: { release: 'webapi@1.0.0', env: 'production', adopt: true } },
    says: /inputs.adopt is not known here/,
  },
  'a rule to be passed without a grant for that': {
    lease: { inputs: { release: 'webapi@1.0.0', env: 'production', force: true } },
    says: /may not force webapi/,
  },
  'a rollback without a grant': {
    lease: { step: 'rollback', inputs: { env: 'production', reason: 'why not' } },
    says: /may not rollback webapi/,
  },
  'a promotion from where the asker may not look': {
    lease: { step: 'promote', inputs: { release: 'webapi@1.0.0', to: 'production' } },
    claims: accountOf('dev-wang'),
    says: /promote takes view on staging/,
  },
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

t.test('an agent believes nothing that a server says', async (t) => {
  const issuer = await startIssuer()
  const stranger = await startIssuer()
  const http = createHttpClient()
  t.teardown(http.close)
  const issuers = await openIssuers({
    settings: {
      url: SERVER,
      issuers: sessionIssuers.parse({
        gitlab: { issuer: issuer.url, project: 'team/webapi', 'protected-ref': false },
      }),
    },
    ...{ folder: '.', http, variables: {}, signal: new AbortController().signal },
  })
  const claimsOf = (claims: Claims = {}) =>
    gitlabClaims(issuer.url, {
      ...{ aud: SERVER, ...accountOf('dev-li'), environment: 'production' },
      ...claims,
    })
  const check = async (asked: Lease) => {
    const request = readLease(asked)
    const subject = await verifyAsker(asked, issuers)
    return { subject, rules: requireGrants(request, subject, policy, application) }
  }

  t.test('the job itself may, by its own token', async (t) => {
    const token = await issuer.sign(claimsOf())
    const { subject, rules } = await check(lease({ token }))
    t.same(rules, ['grants[0]'])
    t.match(subject, { by: 'dev-li', names: [], presented: { login: 'dev-li' } })
    const promote = { step: 'promote', inputs: { release: 'webapi@1.0.0', to: 'production' } }
    t.same((await check(lease({ token, ...promote }))).rules, ['grants[0]'])
  })

  for (const [what, { claims, lease: more, says }] of Object.entries(refused)) {
    t.test(`${what} is refused`, async (t) => {
      const token = await issuer.sign(claimsOf(claims))
      await t.rejects(check(lease({ token, ...more })), { message: says })
    })
  }

  t.test("a token with the issuer's name and another key is refused", async (t) => {
    const token = await stranger.sign(claimsOf())
    await t.rejects(check(lease({ token })), { code: 'UNAUTHORIZED' })
  })
})
