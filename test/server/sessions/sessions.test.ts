import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import t from 'tap'
import { stringify } from 'yaml'
import { createKey } from '../../../src/client/key.ts'
import { openToken } from '../../../src/server/sessions/kept-token.ts'
import { githubClaims, gitlabClaims } from '../../identity/issuer.ts'
import { runHere } from '../../support/program.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { loginOf, SERVER, sessionWorld, sha256, useOf } from './world.ts'

t.test('a job gets a session for its token, and is known by its claims alone', async (t) => {
  const { sessions, start, issuer } = await sessionWorld(t)
  const key = await createKey()
  const { session, expiresAt, subject } = await start(key)
  t.match(session, /^ccs_[\w-]{43}$/)
  t.ok(Date.parse(expiresAt) <= Date.now() + 3_600_000)
  const found = await sessions.authenticate(await useOf(key, session))
  t.same(found.subject, subject)
  t.match(found, { via: 'session', session })
  t.same(subject, {
    kind: 'job',
    name: 'job 302 of team/webapi (ops-li)',
    by: 'ops-li',
    byId: '1',
    identity: issuer.url,
    names: [],
    claims: {
      subject: 'project_path:team/webapi:ref_type:branch:ref:main',
      project: 'team/webapi',
      'project-id': 20,
      ref: 'main',
      'ref-type': 'branch',
      'ref-protected': true,
      environment: 'production',
      'environment-protected': true,
      'pipeline-source': 'push',
      user: 'ops-li',
      'user-id': 1,
    },
  })
  t.match(found.person, {
    login: 'ops-li',
    groups: ['team/ops', 'team'],
    actsInPerson: true,
    job: { id: '302', attempt: 1, refProtected: true, environment: 'production' },
  })
})

t.test('a person who did not start the pipeline does not act in person', async (t) => {
  const { sessions, start, token } = await sessionWorld(t)
  const key = await createKey()
  const { session } = await start(key, { token: await token({ pipeline_source: 'schedule' }) })
  const { person } = await sessions.authenticate(await useOf(key, session))
  t.match(person, { login: 'ops-li', actsInPerson: false })
})

t.test('a job of GitHub is known by the same names of claims', async (t) => {
  const { start, issuer } = await sessionWorld(t, { issuer: { project: 'octo-org/webapi' } })
  const claims = githubClaims(issuer.url, { aud: SERVER })
  const { subject } = await start(await createKey(), { token: await issuer.sign(claims) })
  t.match(subject, {
    by: 'octocat',
    claims: {
      ...{ project: 'octo-org/webapi', 'project-id': 74, user: 'octocat', 'user-id': 12 },
      ...{ ref: 'refs/heads/main', 'ref-protected': true, 'pipeline-source': 'workflow_dispatch' },
      workflow: 'octo-org/webapi/.github/workflows/deploy.yml@refs/heads/main',
    },
  })
})

t.test('a token that names no project is known by its subject', async (t) => {
  const sub = 'https://jenkins.test/job/webapi/'
  const settings = { project: undefined, subject: [sub], 'protected-ref': false }
  const { start, issuer } = await sessionWorld(t, { issuer: settings })
  const base = gitlabClaims(issuer.url, { aud: SERVER })
  const { iss, aud, exp, iat, jti } = base
  const token = (sub: string) => issuer.sign({ iss, aud, exp, iat, jti, sub })
  const { subject } = await start(await createKey(), { token: await token(sub) })
  t.same(subject, {
    ...{ kind: 'job', name: `a job of ${sub}`, by: sub, identity: issuer.url, names: [] },
    claims: { subject: sub },
  })
  await t.rejects(start(await createKey(), { token: await token(`${sub}evil`) }), {
    message: /not among those that may speak/,
  })
})

t.test('the same key may ask again with its token, as an answer may be lost', async (t) => {
  const { sessions, start, token } = await sessionWorld(t)
  const key = await createKey()
  const same = await token()
  const first = await start(key, { token: same })
  const second = await start(key, { token: same })
  t.not(first.session, second.session)
  await sessions.authenticate(await useOf(key, second.session))
})

t.test('a session ends by itself, lives on by its use, and never beyond its limit', async (t) => {
  const { sessions, start, token } = await sessionWorld(t, { settings: { lifetime: '4s' } })
  const key = await createKey()
  const exp = Math.floor(Date.now() / 1000) + 4
  const { session } = await start(key, { token: await token({ exp }) })
  await sleep(2500)
  await sessions.authenticate(await useOf(key, session))
  await sleep(2500)
  await sessions.authenticate(await useOf(key, session))
  await sleep(3500)
  const late = sessions.authenticate(await useOf(key, session))
  await t.rejects(
    late,
    { code: 'UNAUTHORIZED' },
    'its token ended before, and the lifetime after that',
  )
  const { session: idle } = await start(key)
  await sleep(4500)
  await t.rejects(sessions.authenticate(await useOf(key, idle)), { code: 'UNAUTHORIZED' })
})

t.test('a logout ends one session, a revocation those that fit', async (t) => {
  const { sessions, start, issuer, token, store, revoke } = await sessionWorld(t)
  const key = await createKey()
  const mine = [await start(key), await start(key)]
  const other = await start(key, { token: await token({ user_login: 'dev-wang' }) })
  t.equal(await sessions.end(mine[0]?.session ?? ''), true)
  t.equal(await sessions.end(mine[0]?.session ?? ''), false)
  await sessions.authenticate(await useOf(key, mine[1]?.session ?? ''))
  const listed = await store.list({ identity: issuer.url })
  t.strictSame(listed.map(({ subject: { by } }) => by).sort(), ['dev-wang', 'ops-li'])
  t.strictSame(await store.list({ user: 'ops-li', project: 'team/other' }), [], 'all must fit')
  t.equal(await revoke({ identity: issuer.url, user: 'ops-li' }), 1)
  await t.rejects(sessions.authenticate(await useOf(key, mine[1]?.session ?? '')))
  await sessions.authenticate(await useOf(key, other.session))
  t.equal(await revoke({ id: listed.find(({ subject }) => subject.by === 'dev-wang')?.id }), 1)
  await t.rejects(sessions.authenticate(await useOf(key, other.session)))
  t.strictSame(await store.list({}), [])
})

t.test('the token of a revoked session starts no other one, not even for its key', async (t) => {
  const { start, token, revoke } = await sessionWorld(t)
  const [key, same] = [await createKey(), await token()]
  await start(key, { token: same })
  t.equal(await revoke({}), 1)
  await t.rejects(start(key, { token: same }), {
    code: 'UNAUTHORIZED',
    message: /it has started a session before/,
  })
})

t.test('a job has so many sessions, and no more', async (t) => {
  const settings = { 'job-sessions': 3 }
  const { sessions, start, token, store } = await sessionWorld(t, { settings })
  const started = []
  for (let n = 0; n < 3; n++) started.push(await start(await createKey()))
  const limit = { code: 'UNAVAILABLE', message: /has 3 sessions/, details: { status: 429 } }
  await t.rejects(start(await createKey()), limit)
  await start(await createKey(), { token: await token({ job_id: '303' }) })
  t.equal((await store.list({})).length, 4, 'another job has its own')
  await sessions.end(started[0]?.session ?? '')
  await start(await createKey())
})

t.test('what somebody came with holds until it is ended', async (t) => {
  const { sessions, start, tokens } = await sessionWorld(t)
  const key = await createKey()
  const { session } = await start(key)
  const found = await sessions.authenticate(await useOf(key, session))
  t.equal(await found.standing(), 'alive')
  await sessions.end(session)
  t.equal(await found.standing(), 'revoked')
  const secret = `cct_${'s'.repeat(43)}`
  const known = { name: 'jenkins', scope: { verbs: [], apps: [], envs: [] } }
  tokens.set(sha256(secret), known)
  const headers = { authorization: `Bearer ${secret}` }
  const token = await sessions.authenticate({ method: 'GET', url: '/x', headers, ip: '::1' })
  t.equal(await token.standing(), 'alive')
  const past = new Date(Date.now() - 1000).toISOString()
  tokens.set(sha256(secret), { ...known, expiresAt: past })
  t.equal(await token.standing(), 'expired')
  tokens.set(sha256(secret), { ...known, revokedAt: past })
  t.equal(await token.standing(), 'revoked')
})

t.test('an API token is a subject with limits of its own', async (t) => {
  const { sessions, tokens } = await sessionWorld(t)
  const secret = `cct_${'s'.repeat(43)}`
  const scope = { verbs: ['deploy'] as const, apps: ['webapi'], envs: ['test'] }
  tokens.set(sha256(secret), { name: 'jenkins', scope })
  const headers = { authorization: `bearer ${secret}` }
  const found = await sessions.authenticate({ method: 'GET', url: '/x', headers, ip: '::1' })
  t.same(found.subject, {
    ...{ kind: 'token', name: 'token jenkins', by: 'token:jenkins', identity: 'token' },
    ...{ names: ['token:jenkins'], scope },
  })
  t.equal(found.via, 'token')
})

t.test('an API token that is bound to a key is told apart', async (t) => {
  const { sessions, tokens } = await sessionWorld(t)
  const key = await createKey()
  const secret = `cct_${'s'.repeat(43)}`
  const scope = { verbs: ['agent'] as const, apps: ['webapi'], envs: ['test'] }
  const thumbprint = await calculateJwkThumbprint(key.jwk)
  tokens.set(sha256(secret), { name: 'site-a', scope, key: thumbprint })
  const found = await sessions.authenticate(await useOf(key, secret))
  t.match(found, { via: 'token', bound: true, subject: { by: 'token:site-a' } })
})

t.test(
  'a session keeps its ID token where there are agents, and only it can open it',
  async (t) => {
    const { sessions, start, token, redis } = await sessionWorld(t, { keepTokens: true })
    const key = await createKey()
    const idToken = await token()
    const { session } = await start(key, { token: idToken })
    t.equal((await sessions.authenticate(await useOf(key, session))).jobToken, idToken)
    for (const name of (await redis.cli('keys', '*:session:*')).trim().split('\n')) {
      const kept = await redis.cli('get', name)
      t.match(kept, '"jobToken"')
      t.notMatch(kept, idToken.split('.')[1])
      t.equal(openToken(JSON.parse(kept).jobToken, `ccs_${'x'.repeat(43)}`), undefined)
    }
    const plain = await sessionWorld(t)
    const other = await plain.start(key)
    const found = await plain.sessions.authenticate(await useOf(key, other.session))
    t.equal(found.jobToken, undefined)
  },
)

t.test('an address that guesses waits; who has a session there goes on', async (t) => {
  const { sessions, start } = await sessionWorld(t, { settings: { 'failed-logins': 3 } })
  const key = await createKey()
  const { session } = await start(key)
  const guess = async (ip: string) =>
    sessions.start({ ...(await loginOf(await createKey(), ip)), token: 'x.y.z' })
  // Within one minute of the clock.
  if (new Date().getSeconds() > 56) await sleep(4500)
  for (let n = 0; n < 3; n++) {
    await t.rejects(guess('2001:db8::1'), { code: 'UNAUTHORIZED' })
    await t.rejects(guess('192.0.2.1'), { code: 'UNAUTHORIZED' })
  }
  const limit = { code: 'UNAVAILABLE', retryAfter: 60_000, details: { status: 429 } }
  await t.rejects(guess('192.0.2.1'), limit)
  await t.rejects(start(key), limit, 'a good token has to wait as well')
  await t.rejects(guess('2001:db8::ffff:2'), limit, 'the same network')
  await t.rejects(guess('2001:db8:0:1::1'), { code: 'UNAUTHORIZED' }, 'another one')
  await sessions.authenticate(await useOf(key, session))
})

t.test('Redis keeps neither sessions nor tokens that could be used', async (t) => {
  const { redis, start, token } = await sessionWorld(t)
  const key = await createKey()
  const used = await token()
  const { session } = await start(key, { token: used })
  const keys = (await redis.cli('--scan')).split('\n')
  t.ok(keys.length > 3)
  for (const name of keys) {
    t.match(name, /^\{crosscloud:test\}:/)
    t.ok(Number(await redis.cli('pttl', name)) > 0, `${name} goes by itself`)
    const kind = await redis.cli('type', name)
    const content =
      kind === 'zset' ? await redis.cli('zrange', name, '0', '-1') : await redis.cli('get', name)
    t.notOk(`${name} ${content}`.includes(session.slice(4)))
    t.notOk(content.includes(used.split('.')[2] ?? '?'))
    t.notOk(content.includes(key.jwk.d ?? '?'))
  }
})

t.test('nobody is let in while Redis is away', async (t) => {
  const { redis, start } = await sessionWorld(t)
  await redis.server.stop('SIGKILL')
  await t.rejects(start(await createKey()), { code: 'UNAVAILABLE', retryable: true })
})

t.test('a new key of the issuer is found, and strangers do not make it be asked', async (t) => {
  const { start, token, issuer } = await sessionWorld(t)
  await start(await createKey())
  const asked = () => issuer.asked.filter((path) => path === '/oauth/keys').length
  t.equal(asked(), 1)
  for (let n = 0; n < 5; n++) {
    const stranger = await token({}, { kid: `no-such-${n}` })
    await t.rejects(start(await createKey(), { token: stranger }), { code: 'UNAUTHORIZED' })
  }
  t.equal(asked(), 1, 'the keys are fresh')
  await start(await createKey(), { token: await token({}, { alg: 'ES256' }) })
  t.equal(asked(), 1, 'both keys were read')
})

t.test('the keys of an issuer may be in a file', async (t) => {
  const folder = await temporaryFolder(t)
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'in-file', alg: 'ES256' }
  await writeFile(join(folder, 'keys.json'), JSON.stringify({ keys: [jwk] }))
  const issuer = 'https://gitlab.example.test'
  const { start } = await sessionWorld(t, { folder, issuer: { issuer, 'jwks-file': 'keys.json' } })
  const sign = (kid: string) =>
    new SignJWT(gitlabClaims(issuer, { aud: SERVER }) as never)
      .setProtectedHeader({ alg: 'ES256', kid })
      .sign(privateKey)
  const { subject } = await start(await createKey(), { token: await sign('in-file') })
  t.equal(subject.identity, issuer)
  await t.rejects(start(await createKey(), { token: await sign('another') }))
})

t.test('a file of keys that cannot be used stops the start', async (t) => {
  const folder = await temporaryFolder(t)
  const issuer = { 'jwks-file': 'keys.json' }
  await t.rejects(sessionWorld(t, { folder, issuer }), { code: 'NOT_FOUND' })
  await writeFile(join(folder, 'keys.json'), '{"keys": 7}')
  await t.rejects(sessionWorld(t, { folder, issuer }), {
    message: 'keys.json of sessions.issuers.gitlab is not a JSON Web Key Set',
  })
})

t.test(
  'sessions over plain HTTP are refused, unless a proxy speaks TLS or it is loopback',
  async (t) => {
    const folder = await temporaryFolder(t)
    const issuers = { gitlab: { issuer: 'https://gitlab.test', project: 'team/webapi' } }
    const check = async (listen: object, sessions: object = {}) => {
      const settings = {
        queue: { redis: 'redis://127.0.0.1:1' },
        listen,
        sessions: { url: SERVER, issuers, ...sessions },
        policy: { roles: {}, grants: [] },
        ledger: 'sqlite:ledger.db',
        applications: { webapi: { repository: 'https://gitlab.test/webapi.git', branch: 'main' } },
      }
      await writeFile(join(folder, 'crosscloud.server.yml'), stringify(settings))
      return runHere(['serve', '--check'], { cwd: folder })
    }
    const plain = await check({})
    t.equal(plain.code, 2)
    t.match(plain.stderr, /sessions would go over plain HTTP: set listen\.tls, or name the proxy/)
    t.equal((await check({ proxies: ['10.0.0.0/8'] })).code, 0)
    t.equal((await check({ host: '127.0.0.1' })).code, 0)
    const http = await check({ host: '127.0.0.1' }, { url: 'http://crosscloud.test' })
    t.match(http.stderr, /sessions\.url is not a usable URL/)
    const none = await check(
      { host: '127.0.0.1' },
      { issuers: { a: { issuer: 'https://a.test' } } },
    )
    t.match(none.stderr, /sessions\.issuers\.a\.project is required, or subject/)
  },
)
