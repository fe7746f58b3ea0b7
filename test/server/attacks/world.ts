import { writeFile } from 'node:fs/promises'
import { request as sendRequest } from 'node:http'
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { type ClientKey, createKey } from '../../../src/client/key.ts'
import { newApiToken } from '../../../src/ledger/api-token.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { type Claims, gitlabClaims, startIssuer } from '../../identity/issuer.ts'
import { release } from '../../ledger/conformance/samples.ts'
import { runCli, startCli } from '../../support/cli.ts'
import { makeRepository } from '../../support/servers/git.ts'
import { freePort } from '../../support/servers/ports.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { temporaryFolder } from '../../support/temporary.ts'

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Record<string, unknown>
}

export interface Sent {
  method?: string
  path: string
  body?: unknown
  /** Names and values, so that one may come twice. */
  headers?: [string, string][]
  /** Another one for each attack: the server's log tells them apart. */
  from?: string
}

const claimsOfMain = { project: 'team/webapi', ref: 'main', 'ref-protected': true }

const policyOf = (issuer: string) => ({
  roles: {
    pipeline: ['view', 'logs', 'verify', 'deploy', 'promote', 'cancel'],
    viewer: ['view'],
  },
  grants: [
    { job: { ...claimsOfMain, issuer }, role: 'pipeline', apps: ['webapi'], envs: ['test'] },
    {
      job: { ...claimsOfMain, issuer, environment: 'production' },
      ...{ role: 'pipeline', apps: ['webapi'], envs: ['production'] },
    },
    { job: { project: 'team/shop' }, role: 'pipeline', apps: ['shop'], envs: ['test'] },
    { who: 'token:jenkins', role: 'pipeline', apps: ['webapi'], envs: ['test'] },
    { who: 'token:viewer', role: 'viewer', apps: ['webapi'], envs: ['test'] },
  ],
})

const applicationOf = (app: string) => ({
  app,
  environments: {
    test: { image: `127.0.0.1:1/test/${app}`, config: 'file:config.yaml' },
    staging: { from: 'test', image: `127.0.0.1:1/staging/${app}`, config: 'file:config.yaml' },
    production: { from: 'staging', image: `127.0.0.1:1/production/${app}` },
  },
})

/** `crosscloud serve` with two applications and two issuers; its hosts answer nobody. */
export async function startAttacked(t: Test) {
  const folder = await temporaryFolder(t)
  const redis = await startQueueRedis(t)
  const [issuer, other] = [await startIssuer(), await startIssuer()]
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const file = join(folder, 'ledger.db')
  const ledger = await openLedger(file)
  t.teardown(() => ledger.close())
  await ledger.recordRelease(release('1.0.0', { repository: '127.0.0.1:1/test/webapi' }))
  const applications: Record<string, object> = {}
  for (const app of ['webapi', 'shop']) {
    const repository = await makeRepository(join(folder, app))
    await repository.commit({
      'crosscloud.yml': stringify(applicationOf(app)),
      'config.yaml': '{}\n',
    })
    applications[app] = {
      ...{ repository: `file://${repository.folder}`, branch: 'main', ledger: `sqlite:${file}` },
      identity: 'unverified',
      environments: { test: { hosts: { 'app-01': 'tcp://127.0.0.1:1' } } },
    }
  }
  const project = ['team/webapi', 'team/shop']
  const settings = {
    listen: { host: '127.0.0.1', port },
    queue: { redis: redis.url, 'shutdown-timeout': '1s' },
    ledger: `sqlite:${file}`,
    sessions: {
      url,
      issuers: { gitlab: { issuer: issuer.url, project }, other: { issuer: other.url, project } },
    },
    policy: policyOf(issuer.url),
    applications,
  }
  await writeFile(join(folder, 'crosscloud.server.yml'), stringify(settings))
  const env = { HOME: folder, CROSSCLOUD_STATE: join(folder, 'state') }
  const server = startCli(['serve', '--log', 'plain'], { cwd: folder, env })
  t.teardown(async () => {
    server.child.kill('SIGKILL')
    await server.finished
  })
  await server.until('listening on')
  const send = sender(port)
  const token = (claims: Claims = {}, from = issuer) =>
    from.sign(gitlabClaims(from.url, { aud: url, environment: undefined, ...claims }))
  const start = async (key: ClientKey, given?: string) => {
    const body = { token: given ?? (await token()) }
    const dpop = await key.prove({ ...proofOfLogin(), session: undefined, now: Date.now() })
    return send({ method: 'POST', path: '/session', body, headers: [['dpop', dpop]] })
  }
  const proofOfLogin = () => ({ method: 'POST', url: `${url}/api/v1/session` })
  const job = async (claims: Claims = {}, from = issuer) => {
    const key = await createKey()
    const { status, body } = await start(key, await token(claims, from))
    if (status !== 201) throw new Error(JSON.stringify(body))
    return jobOf(key, String(body.session), { url, send })
  }
  const apiToken = async (
    name: string,
    verbs: string[] = ['view', 'deploy', 'verify'],
    life = 60_000,
  ) => {
    const { secret, hash } = newApiToken()
    const expiresAt = new Date(Date.now() + life).toISOString()
    const scope = { verbs, apps: ['webapi'], envs: ['test'] }
    await ledger.recordToken({ name, hash, scope, expiresAt }, { subject: 'ops', via: 'cli' })
    return secret
  }
  /** As who administers the server does it: the session of a job, by its name. */
  const revoke = async (name: string) => {
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await runCli(['sessions', ...args, '--json'], {
        cwd: folder,
        env,
      })
      if (code !== 0) throw new Error(stderr)
      return JSON.parse(stdout) as { sessions: { id: string; name: string }[] }
    }
    const { sessions } = await run('list')
    const found = sessions.find((session) => session.name.startsWith(`${name} `))
    await run('revoke', found?.id ?? name)
  }
  const log = () => server.output()
  return { url, issuer, other, ledger, send, token, start, job, apiToken, revoke, log }
}

export type Attacked = Awaited<ReturnType<typeof startAttacked>>
export type Job = ReturnType<typeof jobOf>

interface Reached {
  url: string
  send(sent: Sent): Promise<Answer>
}

function jobOf(key: ClientKey, session: string, { url, send }: Reached) {
  const headersFor = async (method: string, path: string): Promise<[string, string][]> => {
    const target = `${url}/api/v1${path}`
    const dpop = await key.prove({ method, url: target, session, now: Date.now() })
    return [
      ['authorization', `DPoP ${session}`],
      ['dpop', dpop],
    ]
  }
  return {
    key,
    session,
    headersFor,
    /** As the client sends it. */
    async send({ method = 'GET', headers = [], ...sent }: Sent): Promise<Answer> {
      const own = await headersFor(method, sent.path)
      return send({ ...sent, method, headers: [...own, ...headers] })
    },
  }
}

const sender =
  (port: number) =>
  ({ method = 'GET', path, body, headers = [], from = '127.0.0.1' }: Sent): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      const own: [string, string][] = [['host', `127.0.0.1:${port}`]]
      if (text !== undefined) {
        own.push(['content-type', 'application/json'])
        own.push(['content-length', String(Buffer.byteLength(text))])
      }
      const request = sendRequest({
        ...{ host: '127.0.0.1', port, method, path: `/api/v1${path}`, localAddress: from },
        headers: [...own, ...headers].flat() as never,
      })
      request.on('error', reject)
      request.on('response', async (response) => {
        const parts = await response.toArray()
        const said = Buffer.concat(parts).toString()
        const { statusCode: status = 0, headers } = response
        resolve({ status, headers, body: said === '' ? {} : JSON.parse(said) })
      })
      request.end(text)
    })

export const post = (body: unknown, path = '/runs'): Sent => ({ method: 'POST', path, body })

export const deploy = (inputs: object = {}, app = 'webapi') => ({
  ...{ app, step: 'deploy' },
  inputs: { release: `${app}@1.0.0`, env: 'test', reason: 'an attack', ...inputs },
})
