import { type Attack, loggedIn } from './attack.ts'
import { newBrowser, SESSION } from './world.ts'

/** With a session that is somebody's. */
export const uses: Record<string, Attack> = {
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
