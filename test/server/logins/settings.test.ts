import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { runHere } from '../../support/program.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const gitlab = {
  ...{ issuer: 'https://gitlab.example.com', 'client-id': 'abc' },
  'client-secret': '${LOGIN_SECRET}',
}
const logins = { issuers: { gitlab } }
const sessions = { url: 'https://crosscloud.example.com' }
const least = {
  listen: { proxies: ['10.0.0.1'] },
  queue: { redis: 'redis://127.0.0.1:1' },
  ledger: 'sqlite:ledger.db',
  sessions,
  policy: { roles: { viewer: ['view'] } },
  applications: { webapi: { repository: 'https://gitlab.example.com/webapi.git', branch: 'main' } },
}

async function check(t: Parameters<typeof temporaryFolder>[0], settings: object) {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'crosscloud.server.yml'), stringify({ ...least, ...settings }))
  return runHere(['serve', '--check'], {
    cwd,
    variables: { LOGIN_SECRET: 'the-secret-of-the-client' },
  })
}

t.test('serve --check says who may log in, and never the secret', async (t) => {
  const { code, stdout, stderr } = await check(t, { logins })
  t.equal(code, 0, stderr)
  t.match(stdout, 'login gitlab: people of https://gitlab.example.com')
  t.notMatch(stdout, 'the-secret-of-the-client')
})

t.test('what cannot be is refused, with its reason', async (t) => {
  const issuers = (changes: object) => ({
    logins: { issuers: { gitlab: { ...gitlab, ...changes } } },
  })
  const grant = { role: 'viewer', apps: ['*'], envs: ['*'] }
  const policy = (...who: string[]) => ({
    policy: { ...least.policy, grants: who.map((name) => ({ who: name, ...grant })) },
  })
  const two = {
    logins: { issuers: { gitlab, other: { ...gitlab, issuer: 'https://b.example.com' } } },
  }
  const cases: [object, RegExp][] = [
    [{ logins, sessions: undefined }, /logins needs sessions, too/],
    [{ logins, listen: { proxies: [] } }, /would go over plain HTTP: set listen\.tls/],
    [{ logins, sessions: { url: 'https://a.example.com/crosscloud' } }, /sessions\.url has a path/],
    [{ logins, sessions: { url: 'http://a.example.com' } }, /write https:\/\/host/],
    [{ logins: { issuers: {} } }, /logins\.issuers names none/],
    [{ logins: { ...logins, lifetime: '2d' } }, /is longer than 24h/],
    [issuers({ issuer: 'http://gitlab.example.com' }), /write https:\/\/host/],
    [issuers({ 'client-secret': '$LOGIN_SECRET' }), /is the name of a variable/],
    [issuers({ scopes: [] }), /scopes names none/],
    [issuers({ scopes: ['a b'] }), /is not a scope/],
    [issuers({ groups: [] }), /groups names none/],
    [issuers({ groups: ['team/*'] }), /is not the name of a group/],
    [issuers({ secret: 'x' }), /is not a known setting/],
    [issuers({ ca: 'no.pem' }), /reading no\.pem of logins\.issuers\.gitlab/],
    [{ ...two, ...policy('user:li') }, /has user:li, of several logins: write user:li@gitlab/],
    [{ ...two, ...policy('user:li#4') }, /write user:li@gitlab#4/],
    [{ ...two, ...policy('group:team@no') }, /has group:team@no, of several logins/],
  ]
  for (const [settings, problem] of cases) {
    const { code, stderr } = await check(t, settings)
    t.not(code, 0, String(problem))
    t.match(stderr, problem)
    t.notMatch(stderr, 'the-secret-of-the-client')
  }
  const marked = policy(
    'user:li@gitlab',
    'user:wu@other#4',
    'group:team/ops@other',
    'token:jenkins',
  )
  const { code, stderr } = await check(t, { ...two, ...marked })
  t.equal(code, 0, stderr)
})
