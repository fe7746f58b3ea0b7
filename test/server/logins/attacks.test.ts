import t from 'tap'
import type { Browser } from './browser.ts'
import { logins } from './login-attacks.ts'
import { startProvider } from './provider.ts'
import { uses } from './session-attacks.ts'
import { newBrowser, SESSION, startWorld } from './world.ts'

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
