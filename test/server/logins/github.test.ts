import t from 'tap'
import { startProvider } from './provider.ts'
import { newBrowser, startWorld } from './world.ts'

t.test('GitHub: OAuth 2 and its API, with teams as groups', async (t) => {
  const provider = await startProvider(t, { github: true, claims: { openid: ['sub'] } })
  const world = await startWorld(t, {
    providers: { github: provider },
    issuer: { kind: 'github' },
    logins: { 'groups-age': '1s' },
    sessions: { issuers: {} },
    grants: [{ who: 'group:octo-org/ops', role: 'operator', apps: ['*'], envs: ['*'] }],
  })
  const others = Array.from({ length: 120 }, (_, n) => `octo-org/team-${n}`)
  provider.people.set('12', { preferred_username: 'octocat', groups: [...others, 'octo-org/ops'] })
  provider.at = '12'
  const browser = newBrowser()
  const page = await world.login(browser, '?to=/runs')
  t.equal(page.headers.get('location'), `${world.url}/runs`, page.text)
  t.match((await world.who(browser)).body, {
    subject: { kind: 'person', by: 'octocat', identity: provider.url },
  })
  const may = async () =>
    (await browser.send(`${world.url}/api/v1/policy/decisions?verb=deploy&app=webapi&env=test`))
      .body.allowed
  t.equal(await may(), true, 'a team on the second page')
  provider.people.set('12', { preferred_username: 'octocat', groups: others })
  await new Promise((resolve) => setTimeout(resolve, 600))
  t.not(await may(), true)
  provider.people.delete('12')
  await new Promise((resolve) => setTimeout(resolve, 600))
  t.equal((await world.who(browser)).status, 401)
  t.match(world.provider.asked, ['/login/oauth/authorize'])
})

t.test('at GitHub as well: state, code and browser', async (t) => {
  const provider = await startProvider(t, { github: true, claims: { openid: ['sub'] } })
  const world = await startWorld(t, { providers: { github: provider }, issuer: { kind: 'github' } })
  provider.people.set('42', { preferred_username: 'octocat' })
  const refused = async (change: (url: URL) => void) => {
    const browser = newBrowser()
    const url = await world.until(browser)
    change(url)
    t.equal((await browser.send(url)).status, 401)
    return (await world.ledger.audits({ limit: 1 }))[0]?.reason
  }
  t.equal(await refused((url) => url.searchParams.set('state', 'x')), 'login-state')
  t.equal(await refused((url) => url.searchParams.set('code', 'x')), 'login-code')
  const stolen = await world.until(newBrowser())
  t.equal(
    await refused((url) => url.searchParams.set('code', stolen.searchParams.get('code') ?? '')),
    'login-code',
    'PKCE binds a code to its login',
  )
  t.equal((await newBrowser().send(await world.until(newBrowser()))).status, 401)
})
