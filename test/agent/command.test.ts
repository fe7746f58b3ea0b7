import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { runHere } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

const TOKEN = `cct_${'a'.repeat(43)}`
const settings = {
  server: 'https://crosscloud.example.com',
  token: '${AGENT_TOKEN}',
  issuers: { gitlab: { issuer: 'https://gitlab.example.com', project: 'team/webapi' } },
  policy: { roles: {}, grants: [] },
  applications: { webapi: { repository: 'https://gitlab.example.com/a.git', branch: 'main' } },
}

async function machine(t: Test, changes: object = {}) {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'crosscloud.agent.yml'), stringify({ ...settings, ...changes }))
  const variables = { HOME: cwd, CROSSCLOUD_STATE: join(cwd, 'state'), AGENT_TOKEN: TOKEN }
  return { cwd, agent: (...args: string[]) => runHere(['agent', ...args], { cwd, variables }) }
}

t.test('the key of an agent is made once, and read by its user alone', async (t) => {
  const { cwd, agent } = await machine(t)
  const { code, stdout } = await agent('--key')
  t.equal(code, 0)
  t.match(stdout, /^[\w-]{43}\n$/)
  t.equal((await agent('--key')).stdout, stdout)
  const file = join(cwd, 'state/agent/key.json')
  t.equal((await stat(file)).mode & 0o777, 0o600)
  await writeFile(file, 'no key')
  t.match((await agent('--key')).stderr, /key\.json is not the key of an agent/)
})

t.test('--check reads the settings, and prints no secret', async (t) => {
  const { agent } = await machine(t)
  const { code, all } = await agent('--check', '--server', 'https://other.example.com')
  t.equal(code, 0)
  t.match(all, 'server: https://other.example.com')
  t.notMatch(all, TOKEN)
  t.match((await agent('--server', 'http://other')).stderr, /is not the address of a server/)
  const wrong = await machine(t, { token: 'x', applications: {}, hosts: {} })
  const { stderr } = await wrong.agent('--check')
  t.match(stderr, /token is not an API token/)
  t.match(stderr, /applications names none/)
  t.match(stderr, /hosts/)
})

t.test('a token for an agent is bound to a key', async (t) => {
  const cwd = await temporaryFolder(t)
  await writeFile(join(cwd, 'crosscloud.yml'), 'app: webapi\nledger: sqlite:ledger.db\n')
  const tokens = (...args: string[]) =>
    runHere(['tokens', ...args], { cwd, variables: { HOME: cwd, USER: 'ops' } })
  const create = ['create', 'site-a', '--verb', 'agent', '--app', 'webapi', '--env', 'test']
  const bare = await tokens(...create, '--expires', '1d')
  t.equal(bare.code, 2)
  t.match(bare.stderr, /a token with the verb agent is bound to a key/)
  const odd = await tokens(...create, '--expires', '1d', '--key', 'short')
  t.match(odd.stderr, /a key is named by its thumbprint/)
  const made = await tokens(...create, '--expires', '1d', '--key', 'k'.repeat(43), '--json')
  t.match(JSON.parse(made.stdout), { name: 'site-a', key: 'k'.repeat(43) })
})
