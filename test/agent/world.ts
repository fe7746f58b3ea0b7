import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { openLedger } from '../../src/ledger/open.ts'
import { accountOf, gitlabClaims, startIssuer } from '../identity/issuer.ts'
import { type Running, runCli, startCli } from '../support/cli.ts'
import { makeRepository } from '../support/servers/git.ts'
import { freePort } from '../support/servers/ports.ts'
import { startQueueRedis } from '../support/servers/webhooks.ts'
import { createSandbox } from '../support/setups/sandbox.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** What only the agent knows. */
export const SECRETS = {
  DATABASE_PASSWORD: 'of-the-database-7f3a',
  KEY: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
}

const job = { project: 'team/webapi', 'ref-protected': true }
const grant = { role: 'pipeline', apps: ['webapi'], envs: ['test'] }
const roles = { pipeline: ['view', 'logs', 'verify', 'deploy', 'force', 'cancel', 'rollback'] }

/** A server without a key of the environment, and what an agent of it needs. */
export async function startWorld(t: Test) {
  const sandbox = await createSandbox(t)
  await sandbox.configure('sqlite:ledger.db')
  for (const version of ['1.0.0', '1.0.1']) await sandbox.release(version)
  const issuer = await startIssuer()
  t.teardown(() => issuer.close())
  const redis = await startQueueRedis(t)
  const folder = await temporaryFolder(t)
  const repository = await makeRepository(join(folder, 'repository'))
  await repository.commit({
    'crosscloud.yml': stringify({
      app: 'webapi',
      container: {
        ports: ['127.0.0.1::8080'],
        'stop-timeout': '1s',
        health: { http: ':8080/', timeout: '20s' },
      },
      environments: { test: { image: sandbox.repository, config: 'file:config/test.yaml' } },
    }),
    'config/test.yaml': 'webapi:\n  greeting: hello\n',
  })
  const ledgerFile = join(sandbox.folder, 'ledger.db')
  const ledger = await openLedger(ledgerFile)
  t.teardown(() => ledger.close())
  const port = await freePort()
  const network = await startNetwork(t, port)
  const { url } = network
  const issuers = {
    gitlab: { issuer: issuer.url, project: 'team/webapi', 'protected-ref': false },
  }
  const application = {
    repository: `file://${repository.folder}`,
    branch: 'main',
    ledger: `sqlite:${ledgerFile}`,
    identity: 'unverified',
    registries: { insecure: [sandbox.repository.split('/')[0]] },
  }
  const settings = {
    listen: { host: '127.0.0.1', port, rate: 1000 },
    queue: { redis: redis.url, 'stalled-timeout': '3s', 'shutdown-timeout': '1s' },
    ledger: `sqlite:${ledgerFile}`,
    sessions: { url, issuers },
    policy: {
      roles: { ...roles, agent: ['agent'] },
      grants: [
        { job: { project: 'team/webapi' }, ...grant },
        { who: 'token:jenkins', ...grant },
        { who: 'token:site-a', ...grant, role: 'agent' },
        { who: 'token:site-b', ...grant, role: 'agent' },
      ],
    },
    applications: {
      webapi: { ...application, environments: { test: { agent: ['site-a', 'site-b'] } } },
    },
  }
  await writeFile(join(folder, 'crosscloud.server.yml'), stringify(settings))
  const serverState = join(folder, 'state')
  const serverEnv = { ...sandbox.variables, CROSSCLOUD_STATE: serverState }
  const start = async () => {
    const server = startCli(['serve', '--log', 'plain'], { cwd: folder, env: serverEnv })
    await server.until('listening on')
    return server
  }
  let server = await start()
  t.teardown(() => void server.child.kill('SIGKILL'))
  const operator = (args: string[]) =>
    runCli(args, { cwd: sandbox.folder, env: { ...sandbox.variables, USER: 'ops' } })
  let jobs = 300
  return {
    ...{ sandbox, issuer, ledger, redis, network, operator, folder, url, issuers },
    log: () => server.output(),
    page: () => sandbox.read('webapi-test', '/srv/web/index.html'),
    async stopServer() {
      server.child.kill('SIGKILL')
      await server.finished
    },
    async restartServer() {
      server = await start()
    },
    /** What the agent trusts, and holds. */
    async agent(t: Test, name: string, changes: object = {}) {
      const home = await temporaryFolder(t)
      const state = { ...sandbox.variables, HOME: home, CROSSCLOUD_STATE: join(home, 'state') }
      const printed = await runCli(['agent', '--key'], { cwd: home, env: state })
      const create = [
        'tokens',
        'create',
        name,
        '--verb',
        'agent',
        '--app',
        'webapi',
        '--env',
        'test',
      ]
      const key = ['--expires', '1d', '--key', printed.stdout.trim()]
      const made = await operator([...create, ...key])
      if (made.code !== 0) throw new Error(made.stderr)
      const own = {
        server: url,
        token: '${AGENT_TOKEN}',
        issuers,
        policy: { roles, grants: [{ job, ...grant }] },
        applications: {
          webapi: {
            ...application,
            'config-key': '${KEY}',
            environments: {
              test: {
                hosts: { 'app-01': sandbox.engine.address },
                container: { env: { PASSWORD: '${DATABASE_PASSWORD}' } },
              },
            },
          },
        },
        'shutdown-timeout': '2s',
        ...changes,
      }
      await writeFile(join(home, 'crosscloud.agent.yml'), stringify(own))
      const token = made.stdout.trim()
      const env = { ...state, ...SECRETS, AGENT_TOKEN: token }
      const run = (args: string[] = []): Running =>
        startCli(['agent', '--log', 'plain', ...args], { cwd: home, env })
      return {
        token,
        home,
        run,
        async start(): Promise<Running> {
          const running = run()
          t.teardown(() => void running.child.kill('SIGKILL'))
          await running.until('gives this agent its work')
          return running
        },
      }
    },
    async job(t: Test, claims: object = {}, variables: Record<string, string> = {}) {
      const cwd = await temporaryFolder(t)
      await writeFile(join(cwd, 'crosscloud.yml'), 'app: webapi\n')
      const id = String(++jobs)
      const all = gitlabClaims(issuer.url, {
        ...{ aud: url, ...accountOf('dev-wang'), job_id: id, environment: undefined },
        ...claims,
      })
      const environment = {
        ...{ HOME: cwd, CROSSCLOUD_STATE: join(cwd, 'state'), CROSSCLOUD_SERVER: url },
        ...{ GITLAB_CI: 'true', CI_JOB_ID: id, CI_SERVER_URL: issuer.url },
        CROSSCLOUD_ID_TOKEN: await issuer.sign(all),
        ...variables,
      }
      return {
        cwd,
        run: (args: string[]) => runCli(args, { cwd, env: environment }),
        start: (args: string[]) => startCli(args, { cwd, env: environment }),
      }
    },
    async succeeded(version: string) {
      const done = await ledger.deployments({ app: 'webapi', limit: 50, version })
      return done.filter(({ state }) => state === 'succeeded').length
    },
  }
}

export type World = Awaited<ReturnType<typeof startWorld>>

export const deploy = (version: string, ...more: string[]) => [
  ...['deploy', `webapi@${version}`, '--env', 'test', '--older', ...more],
]

/** A way to the server that can be cut. */
async function startNetwork(t: Test, to: number) {
  const sockets = new Set<Socket>()
  let isCut = false
  const relay = createServer((client) => {
    if (isCut) return void client.destroy()
    const server = connect(to, '127.0.0.1')
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket)).on('error', () => {})
    }
    client.pipe(server).pipe(client)
    client.on('close', () => server.destroy())
    server.on('close', () => client.destroy())
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    relay.close()
  })
  const { port } = relay.address() as { port: number }
  return {
    url: `http://127.0.0.1:${port}`,
    cut() {
      isCut = true
      for (const socket of sockets) socket.destroy()
    },
    mend() {
      isCut = false
    },
  }
}
