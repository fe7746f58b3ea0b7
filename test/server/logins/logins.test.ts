import t from 'tap'
import { StepError } from '../../../src/core/errors.ts'
import { startProvider } from './provider.ts'
import { LOGIN, newBrowser, SESSION, startWorld } from './world.ts'

t.test('somebody logs in, acts by cookie, and logs out', async (t) => {
  const world = await startWorld(t)
  const { provider, url, ledger, redis } = world
  provider.people.set('42', {
    preferred_username: 'li',
    groups_direct: ['team/ops'],
    groups: ['team/ops', 'team'],
  })
  const browser = newBrowser()
  t.equal((await world.who(browser)).status, 401)
  const page = await world.login(browser, '?to=/runs?state=failed')
  t.equal(page.status, 303)
  t.equal(page.headers.get('location'), `${url}/runs?state=failed`)
  const [line = ''] = page.headers.getSetCookie()
  t.match(line, /^__Host-crosscloud=ccl_[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Lax$/)
  t.match((await world.who(browser)).body, {
    via: 'session',
    subject: { kind: 'person', name: 'li', by: 'li', identity: provider.url },
  })
  const allowed = await browser.send(
    `${url}/api/v1/policy/decisions?verb=deploy&app=webapi&env=test`,
  )
  t.match(allowed.body, { allowed: true })
  const own = browser.cookie(url, SESSION) ?? ''
  const keys = await redis.cli('keys', '*session:*')
  t.match(keys, /session:/)
  t.notMatch(keys, own)
  const record = await redis.cli('get', keys.split('\n')[0] ?? '')
  t.match(record, '"by":"li"')
  t.notMatch(record, own)
  t.notMatch(record, /ey[\w-]{20}\./, 'the tokens of the issuer are sealed')
  const out = await browser.send(`${url}/logout`, { method: 'POST', headers: { origin: url } })
  t.equal(out.status, 303)
  const there = new URL(out.headers.get('location') ?? '')
  t.equal(there.origin, provider.url, 'the issuer has a page for logouts')
  t.equal(there.searchParams.get('post_logout_redirect_uri'), `${url}/`)
  t.ok(there.searchParams.get('id_token_hint'))
  t.equal(browser.cookie(url, SESSION), undefined)
  t.match(await ledger.audits({ limit: 9 }), [
    { subject: 'li', via: 'session', verb: 'logout', request: 'POST /logout' },
    {
      subject: 'li',
      verb: 'login',
      decision: 'allowed',
      request: /^GET \/login\/callback\/gitlab$/,
    },
  ])
  const records = JSON.stringify([await ledger.audits({ limit: 9 }), world.lines])
  t.notMatch(records, /ccl_|code=|state=|a-client-secret/, 'no secret is recorded or logged')
})

t.test('DELETE session ends it, too, and is recorded', async (t) => {
  const world = await startWorld(t)
  const { provider, url, ledger } = world
  provider.people.set('42', { preferred_username: 'li', groups_direct: [] })
  const browser = newBrowser()
  await world.login(browser)
  const end = (headers: Record<string, string>) =>
    browser.send(`${url}/api/v1/session`, { method: 'DELETE', headers })
  t.equal((await end({})).status, 403)
  t.equal((await end({ origin: url })).status, 204)
  t.equal((await world.who(browser)).status, 401)
  t.match(await ledger.audits({ limit: 1 }), [{ subject: 'li', verb: 'logout' }])
})

t.test('who loses a group loses its rights, as soon as groups may be old', async (t) => {
  const world = await startWorld(t, { logins: { 'groups-age': '1s' } })
  const { provider, url } = world
  provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/ops'] })
  const browser = newBrowser()
  await world.login(browser)
  const may = async () =>
    (await browser.send(`${url}/api/v1/policy/decisions?verb=deploy&app=webapi&env=test`)).body
      .allowed
  t.equal(await may(), true)
  provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/qa'] })
  await pause(600)
  t.not(await may(), true, 'the issuer was asked again after half of it')
  provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/ops'] })
  await pause(600)
  t.equal(await may(), true, 'and again')
  provider.isUp = false
  await pause(600)
  provider.asked.length = 0
  t.equal(await may(), true, 'an issuer that is away: what is known counts, for a while')
  t.equal(await may(), true)
  t.strictSame(provider.asked, ['/me'], 'and it is let alone for a moment')
  await pause(600)
  const late = await world.who(browser)
  t.equal(late.status, 503, 'and no longer')
  t.match(late.body, { code: 'UNAVAILABLE', retryable: true })
  provider.isUp = true
  t.equal((await world.who(browser)).status, 200)
  provider.people.delete('42')
  await pause(600)
  t.equal((await world.who(browser)).status, 401, 'the issuer knows nobody of that name any more')
  provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/ops'] })
  t.equal((await world.who(browser)).status, 401, 'the session is over for good')
  t.match(await world.ledger.audits({ limit: 1 }), [
    { subject: 'li', decision: 'refused', reason: 'login-over' },
  ])
})

t.test('an access token that is over is renewed, by one of many requests', async (t) => {
  const provider = await startProvider(t, { accessLasts: 11 })
  const world = await startWorld(t, {
    providers: { gitlab: provider },
    logins: { 'groups-age': '3s' },
  })
  provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/ops'] })
  const browser = newBrowser()
  await world.login(browser)
  await pause(1600)
  provider.asked.length = 0
  const answers = await Promise.all(Array.from({ length: 20 }, () => world.who(browser)))
  t.ok(answers.every(({ status }) => status === 200))
  t.strictSame(provider.asked, ['/token', '/me'], 'refresh tokens count once')
})

t.test('two servers renew one session once, and both know its groups then', async (t) => {
  const provider = await startProvider(t, { accessLasts: 11 })
  const world = await startWorld(t, {
    providers: { gitlab: provider },
    logins: { 'groups-age': '3s' },
  })
  provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/ops'] })
  const browser = newBrowser()
  await world.login(browser)
  const session = browser.cookie(world.url, SESSION) ?? ''
  const [one, two] = [await world.second(), await world.second()]
  await pause(1600)
  provider.asked.length = 0
  // One has read the session before the other renews it.
  const late = one.holdNextCheck()
  const asked = one.authenticate(session)
  await late.reached
  t.match(await two.authenticate(session), { subject: { by: 'li' } })
  late.goOn()
  t.match(await asked, { subject: { by: 'li' } })
  t.equal(provider.asked.filter((path) => path === '/token').length, 1, 'it counts once')
  t.equal((await world.who(browser)).status, 200)
})

t.test('what somebody follows ends with a group, a logout, a revocation', async (t) => {
  const world = await startWorld(t, { logins: { 'groups-age': '200ms' } })
  const { provider, url } = world
  const { authenticate, store } = await world.second()
  const come = async () => {
    provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/ops'] })
    const browser = newBrowser()
    await world.login(browser)
    return { browser, held: await authenticate(browser.cookie(url, SESSION) ?? '') }
  }
  const group = await come()
  t.equal(await group.held.standing(), 'alive')
  provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/ops', 'team/new'] })
  await pause(150)
  t.equal(await group.held.standing(), 'alive', 'one group more')
  provider.people.set('42', { preferred_username: 'li', groups_direct: [] })
  await pause(150)
  t.equal(await group.held.standing(), 'revoked')
  const logout = await come()
  await logout.browser.send(`${url}/logout`, { method: 'POST', headers: { origin: url } })
  t.equal(await logout.held.standing(), 'revoked')
  const [first, second] = [await come(), await come()]
  const kept = await store.list({ user: 'li' })
  t.equal(kept.length, 3, 'with that of the first')
  for (const session of kept) await store.revoke(session)
  for (const { held, browser } of [first, second]) {
    t.equal(await held.standing(), 'revoked')
    t.equal((await world.who(browser)).status, 401)
  }
})

t.test('a logout that cannot be recorded is one all the same', async (t) => {
  const world = await startWorld(t)
  world.provider.people.set('42', { preferred_username: 'li' })
  const browser = newBrowser()
  await world.login(browser)
  const second = await world.second(async () => {
    throw new StepError('UNAVAILABLE', 'the ledger is away')
  })
  const session = browser.cookie(world.url, SESSION) ?? ''
  const request = { method: 'POST', url: '/logout', ip: '192.0.2.1' }
  const headers = { cookie: `${SESSION}=${session}`, origin: world.url }
  t.match(await second.logins.logout({ ...request, headers }), /session\/end/)
  t.equal((await world.who(browser)).status, 401)
})

t.test('only the groups that may log in do, and only as long as they are it', async (t) => {
  const world = await startWorld(t, {
    issuer: { groups: ['team/ops'] },
    logins: { 'groups-age': '200ms' },
  })
  const { provider } = world
  provider.people.set('42', { preferred_username: 'wu', groups_direct: ['team/ops/interns'] })
  const browser = newBrowser()
  const page = await world.login(browser)
  t.equal(page.status, 401)
  t.match(page.text, 'you are in none of the groups that may log in here')
  provider.people.set('42', { preferred_username: 'wu', groups_direct: ['team/ops'] })
  await world.login(browser)
  t.equal((await world.who(browser)).status, 200)
  provider.people.set('42', { preferred_username: 'wu', groups_direct: [] })
  await pause(300)
  t.equal((await world.who(browser)).status, 401)
})

t.test('a login ends when nobody uses it, and at its end all the same', async (t) => {
  const world = await startWorld(t, { logins: { idle: '700ms', lifetime: '2s' } })
  world.provider.people.set('42', { preferred_username: 'li', groups_direct: [] })
  const [idle, busy] = [newBrowser(), newBrowser()]
  await world.login(idle)
  await world.login(busy)
  const start = Date.now()
  while (Date.now() - start < 1400) {
    await pause(300)
    if (Date.now() - start < 1400) t.equal((await world.who(busy)).status, 200)
  }
  t.equal((await world.who(idle)).status, 401)
  await pause(1000)
  t.equal((await world.who(busy)).status, 401)
})

t.test('an issuer whose groups are in ID tokens alone is asked for a new one', async (t) => {
  const provider = await startProvider(t, {
    claims: { openid: ['sub', 'roles'], profile: ['nickname'] },
    settings: {
      conformIdTokenClaims: false,
      features: { devInteractions: { enabled: false }, userinfo: { enabled: false } },
    },
  })
  const world = await startWorld(t, {
    providers: { gitlab: provider },
    issuer: { 'groups-claim': 'roles' },
    logins: { 'groups-age': '1s' },
  })
  provider.people.set('42', { preferred_username: 'x', nickname: 'li', roles: ['team/ops'] })
  const browser = newBrowser()
  await world.login(browser)
  const place = `${world.url}/api/v1/policy/decisions?verb=deploy&app=webapi&env=test`
  t.equal((await browser.send(place)).body.allowed, true)
  provider.people.set('42', { preferred_username: 'x', nickname: 'li', roles: [] })
  await pause(600)
  t.not((await browser.send(place)).body.allowed, true)
  t.match((await world.who(browser)).body, { subject: { by: 'li' } })
})

t.test('the same login in two tabs, and a new one in place of the old', async (t) => {
  const world = await startWorld(t)
  const { url, provider } = world
  provider.people.set('42', { preferred_username: 'li', groups_direct: [] })
  const browser = newBrowser()
  const first = await world.until(browser)
  const second = await world.until(browser)
  t.equal((await browser.send(first)).status, 303)
  const one = browser.cookie(url, SESSION) ?? ''
  t.equal((await browser.send(second)).status, 303)
  t.not(browser.cookie(url, SESSION), one)
  const other = newBrowser()
  other.setCookie(url, SESSION, one)
  t.equal((await world.who(other)).status, 401, 'the session before is over')
  t.ok(browser.cookie(url, LOGIN))
})

t.test('an issuer that is away, or does not know this server, says so', async (t) => {
  const world = await startWorld(t)
  world.provider.isUp = false
  const browser = newBrowser()
  const page = await world.login(browser)
  t.equal(page.status, 503)
  t.match(page.text, 'logins.issuers.gitlab cannot be asked who somebody is')
  world.provider.isUp = true
  world.provider.people.set('42', { preferred_username: 'li' })
  t.equal((await world.login(browser)).status, 303, 'it is asked anew')
  const wrong = await startWorld(t, { issuer: { 'client-secret': 'another-secret' } })
  wrong.provider.people.set('42', { preferred_username: 'li' })
  const refused = await wrong.login(newBrowser())
  t.match(refused.text, 'it does not know this server')
})

const pause = (time: number) => new Promise((resolve) => setTimeout(resolve, time))
