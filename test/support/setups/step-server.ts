import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { openLedger } from '../../../src/ledger/open.ts'
import { accountOf, gitlabClaims, startIssuer } from '../../identity/issuer.ts'
import { runCli, startCli } from '../cli.ts'
import { makeRepository } from '../servers/git.ts'
import { freePort } from '../servers/ports.ts'
import { startQueueRedis } from '../servers/webhooks.ts'
import { temporaryFolder } from '../temporary.ts'
import { createSandbox } from './sandbox.ts'

/** What only the server's side knows. */
export const SECRETS = {
  DATABASE_PASSWORD: 'of-the-database-7f3a',
  KEY: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
}

/** A server as docs/server.md sets it up; jobs get only its address and an ID token. Needs what a sandbox does. */
export async function startStepServer(
  t: Test,
  { listen, grants = [] }: { listen?: object; grants?: readonly object[] } = {},
) {
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
        env: { PASSWORD: '${DATABASE_PASSWORD}' },
      },
      environments: {
        test: { image: sandbox.repository, config: 'file:config/test.yaml' },
        production: { from: 'test', image: sandbox.repository },
      },
    }),
    'config/test.yaml': 'webapi:\n  greeting: hello\n',
  })
  const ledgerFile = join(sandbox.folder, 'ledger.db')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const settings = {
    listen: { host: '127.0.0.1', port, ...listen },
    queue: { redis: redis.url, 'stalled-timeout': '2s', 'shutdown-timeout': '1s' },
    ledger: `sqlite:${ledgerFile}`,
    sessions: {
      url,
      issuers: { gitlab: { issuer: issuer.url, project: 'team/webapi', 'protected-ref': false } },
    },
    policy: {
      roles: { pipeline: ['view', 'logs', 'verify', 'deploy', 'force', 'cancel'] },
      grants: [
        {
          job: { project: 'team/webapi', 'ref-protected': true },
          ...{ role: 'pipeline', apps: ['webapi'], envs: ['test'] },
        },
        { who: 'token:jenkins', role: 'pipeline', apps: ['webapi'], envs: ['test'] },
        ...grants,
      ],
    },
    applications: {
      webapi: {
        repository: `file://${repository.folder}`,
        branch: 'main',
        identity: 'unverified',
        registries: { insecure: [sandbox.repository.split('/')[0]] },
        ledger: `sqlite:${ledgerFile}`,
        variables: { DATABASE_PASSWORD: '${DATABASE_PASSWORD}' },
        'config-key': '${KEY}',
        environments: { test: { hosts: { 'app-01': sandbox.engine.address } } },
      },
    },
  }
  await writeFile(join(folder, 'crosscloud.server.yml'), stringify(settings))
  const env = { ...sandbox.variables, ...SECRETS, CROSSCLOUD_STATE: join(folder, 'state') }
  let server = startCli(['serve', '--log', 'plain'], { cwd: folder, env })
  await server.until('listening on')
  t.teardown(() => void server.child.kill('SIGKILL'))
  const ledger = await openLedger(ledgerFile)
  t.teardown(() => ledger.close())
  let jobs = 300
  return {
    ...{ sandbox, issuer, ledger, redis, url },
    operator: (args: string[]) =>
      runCli(args, { cwd: sandbox.folder, env: { ...sandbox.variables, USER: 'ops' } }),
    log: async () => server.output(),
    pid: () => server.child.pid,
    async restart() {
      server.child.kill('SIGKILL')
      await server.finished
      server = startCli(['serve', '--log', 'plain'], { cwd: folder, env })
      await server.until('listening on')
    },
    async job(
      t: Pick<Test, 'teardown'>,
      claims: object = {},
      variables: Record<string, string> = {},
    ) {
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
  }
}
