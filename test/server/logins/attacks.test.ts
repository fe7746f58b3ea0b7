import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import t from 'tap'
import type { Browser } from './browser.ts'
import { startProvider } from './provider.ts'
import { LOGIN, newBrowser, SESSION, startWorld, type World } from './world.ts'

interface Attack {
  /** In log and audit; undefined where nothing is recorded, as of sessions that are over. */
  reason: string | undefined
  status?: number
  /** The last answer that the attacker gets. */
  run(world: World, browser: Browser): Promise<{ status: number; text: string }>
}

/** Comes back from the issuer with something changed. */
const back =
  (change: (url: URL) => void): Attack['run'] =>
  async (world, browser) => {
    const url = await world.until(browser)
    change(url)
    return browser.send(url)
  }

/** Goes to the issuer with something changed. */
const forth =
  (change: (url: URL) => void): Attack['run'] =>
  async (world, browser) =>
    browser.send(await world.until(browser, change))

/** An ID token that the issuer did not make so. */
const withToken =
  (make: (token: string) => Promise<string> | string): Attack['run'] =>
  async (world, browser) => {
    const url = await world.until(browser)
    world.provider.tamper = async (body) => {
      body.id_token = await make(String(body.id_token))
    }
    try {
      return await browser.send(url)
    } finally {
      world.provider.tamper = undefined
    }
  }

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<
    string,
    unknown
  >

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

async function loggedIn(world: World, browser: Browser): Promise<string> {
  await world.login(browser)
  return browser.cookie(world.url, SESSION) ?? ''
}

const logins: Record<string, Attack> = {
  'no state': { reason: 'login-state', run: back((url) => url.searchParams.delete('state')) },
  'another state': {
    reason: 'login-state',
    run: back((url) => url.searchParams.set('state', 'x')),
  },
  'two states': {
    reason: 'login-state',
    run: back((url) => url.searchParams.append('state', url.searchParams.get('state') ?? '')),
  },
  'a state that was used': {
    reason: 'login-state',
    async run(world, browser) {
      const url = await world.until(browser)
      await browser.send(url)
      return browser.send(url)
    },
  },
  'a code that was used, with a new state': {
    reason: 'login-code',
    async run(world, browser) {
      const used = await world.until(browser)
      await browser.send(used)
      const url = await world.until(browser)
      url.searchParams.set('code', used.searchParams.get('code') ?? '')
      return browser.send(url)
    },
  },
  "an attacker's code in the login of somebody else": {
    reason: 'login-code',
    async run(world, browser) {
      const stolen = await world.until(newBrowser())
      const url = await world.until(browser)
      url.searchParams.set('code', stolen.searchParams.get('code') ?? '')
      return browser.send(url)
    },
  },
  "an attacker's whole answer, so that somebody acts in the attacker's name": {
    reason: 'login-state',
    async run(world, browser) {
      await world.until(browser)
      return browser.send(await world.until(newBrowser()))
    },
  },
  'a browser that did not start it': {
    reason: 'login-state',
    run: async (world, browser) => newBrowser().send(await world.until(browser)),
  },
  'a login cookie that was changed': {
    reason: 'login-state',
    async run(world, browser) {
      const url = await world.until(browser)
      browser.setCookie(world.url, LOGIN, 'A'.repeat(43))
      return browser.send(url)
    },
  },
  'no code': { reason: 'login-token', run: back((url) => url.searchParams.delete('code')) },
  'two codes': { reason: 'login-token', run: back((url) => url.searchParams.append('code', 'x')) },
  'another nonce': {
    reason: 'login-nonce',
    run: forth((url) => url.searchParams.set('nonce', 'of-the-attacker')),
  },
  'no nonce': { reason: 'login-token', run: forth((url) => url.searchParams.delete('nonce')) },
  'another code challenge': {
    reason: 'login-code',
    run: forth((url) =>
      url.searchParams.set('code_challenge', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'),
    ),
  },
  'the answer of another issuer (RFC 9207)': {
    reason: 'login-issuer',
    run: back((url) => url.searchParams.set('iss', 'https://evil.example.com')),
  },
  'an answer that does not say whose it is': {
    reason: 'login-issuer',
    run: back((url) => url.searchParams.delete('iss')),
  },
  'the answer of one issuer at the callback of another one': {
    reason: 'login-state',
    run: back((url) => {
      url.pathname = '/login/callback/other'
    }),
  },
  'a login that its person refused': {
    reason: 'login-denied',
    async run(world, browser) {
      world.provider.deny = true
      const url = await world.until(browser)
      world.provider.deny = false
      return browser.send(url)
    },
  },
  'an ID token with a changed signature': {
    reason: 'login-token',
    run: withToken((token) => `${token.slice(0, -6)}AAAAAA`),
  },
  'an ID token without a signature': {
    reason: 'login-token',
    run: withToken((token) => `${part({ alg: 'none' })}.${token.split('.')[1]}.`),
  },
  'an ID token that another key signed': {
    reason: 'login-token',
    run: withToken(async (token) => {
      const { privateKey } = await generateKeyPair('RS256')
      return new SignJWT(claimsOf(token)).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)
    }),
  },
  'an ID token that brings its key along': {
    reason: 'login-token',
    run: withToken(async (token) => {
      const { privateKey, publicKey } = await generateKeyPair('RS256')
      const jwk = await exportJWK(publicKey)
      return new SignJWT(claimsOf(token)).setProtectedHeader({ alg: 'RS256', jwk }).sign(privateKey)
    }),
  },
  'an ID token by the secret of the client': {
    reason: 'login-token',
    run: withToken((token) =>
      new SignJWT(claimsOf(token))
        .setProtectedHeader({ alg: 'HS256' })
        .sign(Buffer.from('a-client-secret-of-the-test-1')),
    ),
  },
  'an ID token for another application': {
    reason: 'login-token',
    run: withToken((token) => {
      const [head, , signature] = token.split('.')
      return `${head}.${part({ ...claimsOf(token), aud: 'other' })}.${signature}`
    }),
  },
  'an ID token of another issuer': {
    reason: 'login-token',
    run: withToken((token) => {
      const [head, , signature] = token.split('.')
      return `${head}.${part({ ...claimsOf(token), iss: 'https://evil.example.com' })}.${signature}`
    }),
  },
  'an ID token that is over': {
    reason: 'login-token',
    run: withToken((token) => {
      const [head, , signature] = token.split('.')
      return `${head}.${part({ ...claimsOf(token), exp: 1 })}.${signature}`
    }),
  },
  'an ID token of somebody else': {
    reason: 'login-token',
    run: withToken((token) => {
      const [head, , signature] = token.split('.')
      return `${head}.${part({ ...claimsOf(token), sub: '1' })}.${signature}`
    }),
  },
  'no ID token': {
    reason: 'login-token',
    async run(world, browser) {
      const url = await world.until(browser)
      world.provider.tamper = (body) => void delete body.id_token
      const answer = await browser.send(url)
      world.provider.tamper = undefined
      return answer
    },
  },
}

/** With a session that is somebody's. */
const uses: Record<string, Attack> = {
  'a page of another site': {
    ...{ reason: 'foreign-origin', status: 403 },
    async run(world, browser) {
      await loggedIn(world, browser)
      return world.act(browser, { origin: 'https://evil.example.com' })
    },
  },
  'a page of another port of this host': {
    ...{ reason: 'foreign-origin', status: 403 },
    async run(world, browser) {
      await loggedIn(world, browser)
      return world.act(browser, { origin: 'http://127.0.0.1:1' })
    },
  },
  'a page without an origin (a sandbox)': {
    ...{ reason: 'foreign-origin', status: 403 },
    async run(world, browser) {
      await loggedIn(world, browser)
      return world.act(browser, { origin: 'null' })
    },
  },
  'neither Origin nor Sec-Fetch-Site': {
    ...{ reason: 'foreign-origin', status: 403 },
    async run(world, browser) {
      await loggedIn(world, browser)
      return world.act(browser, {})
    },
  },
  'a neighbour of the same site': {
    ...{ reason: 'foreign-origin', status: 403 },
    async run(world, browser) {
      await loggedIn(world, browser)
      return world.act(browser, { 'sec-fetch-site': 'same-site' })
    },
  },
  'our Origin, and a browser that says it is another site': {
    ...{ reason: 'foreign-origin', status: 403 },
    async run(world, browser) {
      await loggedIn(world, browser)
      return world.act(browser, { origin: world.url, 'sec-fetch-site': 'cross-site' })
    },
  },
  'a logout by another site': {
    ...{ reason: 'foreign-origin', status: 403 },
    async run(world, browser) {
      await loggedIn(world, browser)
      const headers = { origin: 'https://evil.example.com' }
      const answer = await browser.send(`${world.url}/logout`, { method: 'POST', headers })
      if ((await world.who(browser)).status !== 200) throw new Error('the session is over')
      return answer
    },
  },
  'a session of the attacker in the browser before the login (fixation)': {
    reason: undefined,
    async run(world, browser) {
      const attacker = newBrowser()
      const fixed = await loggedIn(world, attacker)
      browser.setCookie(world.url, SESSION, fixed)
      if ((await loggedIn(world, browser)) === fixed) throw new Error('the session is the same')
      return world.who(attacker)
    },
  },
  'a session that nobody has, in the browser before the login': {
    reason: undefined,
    async run(world, browser) {
      const fixed = `ccl_${'A'.repeat(43)}`
      browser.setCookie(world.url, SESSION, fixed)
      if ((await loggedIn(world, browser)) === fixed) throw new Error('the session is the same')
      const attacker = newBrowser()
      attacker.setCookie(world.url, SESSION, fixed)
      return world.who(attacker)
    },
  },
  'the cookie after its logout': {
    reason: undefined,
    async run(world, browser) {
      const session = await loggedIn(world, browser)
      await browser.send(`${world.url}/logout`, { method: 'POST', headers: { origin: world.url } })
      browser.setCookie(world.url, SESSION, session)
      return world.who(browser)
    },
  },
  'a cookie with one character changed': {
    reason: undefined,
    async run(world, browser) {
      const session = await loggedIn(world, browser)
      const last = session.endsWith('A') ? 'B' : 'A'
      browser.setCookie(world.url, SESSION, `${session.slice(0, -1)}${last}`)
      return world.who(browser)
    },
  },
  'a cookie of another server': {
    reason: undefined,
    async run(world, browser) {
      browser.setCookie(world.url, SESSION, `ccl_${'x'.repeat(43)}`)
      return world.who(browser)
    },
  },
  'the session under a name that a neighbour could set': {
    reason: undefined,
    async run(world, browser) {
      const session = await loggedIn(world, browser)
      const other = newBrowser()
      other.setCookie(world.url, 'crosscloud', session)
      return world.who(other)
    },
  },
  'two cookies of the name': {
    reason: undefined,
    async run(world, browser) {
      const session = await loggedIn(world, browser)
      const cookie = `${SESSION}=ccl_${'x'.repeat(43)}; ${SESSION}=${session}`
      return newBrowser().send(`${world.url}/api/v1/session`, { headers: { cookie } })
    },
  },
  'the session as a bearer token': {
    reason: 'credentials',
    async run(world, browser) {
      const authorization = `Bearer ${await loggedIn(world, browser)}`
      return world.who(newBrowser(), { authorization })
    },
  },
  'the session with a proof of a key': {
    reason: 'credentials',
    async run(world, browser) {
      const authorization = `DPoP ${await loggedIn(world, browser)}`
      return world.who(newBrowser(), { authorization })
    },
  },
  "a session whose record has another session's tokens": {
    reason: 'login-over',
    async run(world, browser) {
      await loggedIn(world, browser)
      const { cli } = world.redis
      for (const key of (await cli('keys', '*}:session:*')).split('\n')) {
        const record = JSON.parse(await cli('get', key))
        record.login = { ...record.login, tokens: 'A'.repeat(200), checkedAt: 0 }
        await cli('set', key, JSON.stringify(record), 'KEEPTTL')
      }
      return world.who(browser)
    },
  },
}

t.test('what is forged, replayed, expired or confused is refused, and recorded', async (t) => {
  const providers = { gitlab: await startProvider(t), other: await startProvider(t) }
  const grants = [{ who: 'group:team/ops@gitlab', role: 'operator', apps: ['*'], envs: ['*'] }]
  const world = await startWorld(t, { providers, grants })
  world.provider.people.set('42', { preferred_username: 'li', groups_direct: ['team/ops'] })
  const choosing = {
    ...world,
    login: (browser: Browser) => world.login(browser, '?with=gitlab'),
    until: (browser: Browser, change?: (to: URL) => void) =>
      world.until(browser, change, '?with=gitlab'),
  }
  let count = 0
  for (const [name, { reason, status = 401, run }] of Object.entries({ ...logins, ...uses })) {
    const browser = newBrowser()
    const refused = async () => world.ledger.audits({ limit: 100, decision: 'refused' })
    const before = (await refused()).length
    const answer = await run(choosing, browser)
    t.equal(answer.status, status, `${name}: ${answer.text}`)
    t.notMatch(answer.text, /OAUTH|nonce|signature|ccl_/, name)
    const recorded = (await refused()).slice(0, (await refused()).length - before)
    t.strictSame(
      recorded.map((record) => record.reason),
      reason === undefined ? [] : [reason],
      name,
    )
    if (Object.hasOwn(logins, name) && name !== 'a state that was used') {
      const own = name.startsWith('a code that was used') ? '' : browser.cookie(world.url, SESSION)
      t.notOk(own, `${name} has a session`)
    }
    count++
  }
  t.ok(count >= 45, `${count} attacks`)
  const kept = JSON.stringify([world.lines, await world.ledger.audits({ limit: 200 })])
  t.notMatch(kept, /ccl_|ey[A-Za-z0-9_-]{20}|code=|a-client-secret/, 'no secret is logged')
})

t.test('no path leads to another host', async (t) => {
  const world = await startWorld(t)
  world.provider.people.set('42', { preferred_username: 'li' })
  const paths = [
    ...[
      '//evil.example.com',
      '/\\evil.example.com',
      '\\\\evil.example.com',
      'https://evil.example.com',
    ],
    ...[
      '/%2fevil.example.com',
      '/%5cevil.example.com',
      '/%252fevil.example.com',
      'javascript:alert(1)',
    ],
    ...[
      '/.//evil.example.com',
      '/..//evil.example.com',
      '/a/..//evil.example.com',
      '/%09/evil.example.com',
    ],
    ...[
      '/\t/evil.example.com',
      '/\n/evil.example.com',
      '/%',
      ' //evil.example.com',
      'evil.example.com',
    ],
    ...[
      '@evil.example.com',
      '/%2e%2f/evil.example.com',
      '/a%0d%0aset-cookie:x=y',
      '?x',
      `/${'a'.repeat(3000)}`,
    ],
    ...['/%2e%2e//evil.example.com', '///evil.example.com', '/\u2028/evil.example.com'],
  ]
  for (const path of paths) {
    const page = await world.login(newBrowser(), `?to=${encodeURIComponent(path)}`)
    t.equal(page.status, 400, encodeURIComponent(path).slice(0, 60))
    t.equal(page.headers.get('location'), null)
  }
  t.equal((await world.login(newBrowser(), '?to=/a&to=//evil')).status, 400, 'two of them')
  const good = [
    '/',
    '/apps/webapi/envs/test?tab=logs#L12',
    '/find?q=//x',
    '/apps/%E4%B8%AD',
    '/login',
  ]
  for (const path of good) {
    const page = await world.login(newBrowser(), `?to=${encodeURIComponent(path)}`)
    const to = path === '/login' ? '/' : path
    t.equal(page.headers.get('location'), `${world.url}${to}`, path)
  }
})

t.test('who guesses is stopped; who only comes late is not', async (t) => {
  const world = await startWorld(t, { sessions: { 'failed-logins': 3 } })
  world.provider.people.set('42', { preferred_username: 'li' })
  const fail = async (change: (url: URL) => void) => {
    const browser = newBrowser()
    const url = await world.until(browser)
    change(url)
    return (await browser.send(url)).status
  }
  for (let n = 0; n < 5; n++) t.equal(await fail((url) => url.searchParams.delete('state')), 401)
  for (let n = 0; n < 3; n++) t.equal(await fail((url) => url.searchParams.set('iss', 'x')), 401)
  t.equal((await world.login(newBrowser())).status, 429)
})
