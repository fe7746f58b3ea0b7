import { Agent, request } from 'node:http'
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { newApiToken } from '../../../../src/ledger/api-token.ts'
import { openLedger } from '../../../../src/ledger/open.ts'
import { verbs } from '../../../../src/policy/verbs.ts'
import { ended, HOSTILE, outcome, release, start } from '../../../ledger/conformance/samples.ts'
import { makeRepository } from '../../../support/servers/git.ts'
import { freePort } from '../../../support/servers/ports.ts'
import { startQueueRedis, startWebhookServer } from '../../../support/servers/webhooks.ts'
import { temporaryFolder } from '../../../support/temporary.ts'
import type { Answered } from './contract.ts'

const secretOf = (name: string) => `secret-of-the-server-${name}`
const SECRET = 'secret-of-the-server'

const variables = {
  DATABASE_PASSWORD: secretOf('database'),
  CONFIG_PASSWORD: secretOf('config'),
  HOOK: secretOf('gitlab-hook'),
  METRICS: secretOf('metrics-token'),
  CHAT: secretOf('chat'),
  KEY: '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff',
}

const repositorySettings = {
  app: 'webapi',
  container: { env: { PASSWORD: '${DATABASE_PASSWORD}' } },
  environments: {
    test: { image: '127.0.0.1:1/test/webapi', config: 'file:config/test.yaml' },
    staging: { from: 'test', image: '127.0.0.1:1/staging/webapi', config: 'file:config/test.yaml' },
    production: { from: 'staging', image: '127.0.0.1:1/production/webapi' },
  },
}

/** `crosscloud serve` that takes runs and works on none, with tokens of all rights, of few and of none. */
export async function startRealServer(t: Test) {
  const folder = await temporaryFolder(t)
  const repository = await makeRepository(join(folder, 'repository'))
  await repository.commit({
    'crosscloud.yml': stringify(repositorySettings),
    'config/test.yaml': 'webapi: { greeting: hello }\n',
  })
  const file = join(folder, 'ledger.db')
  const tokens = await fillLedger(file)
  const redis = await startQueueRedis(t)
  const url = `http://127.0.0.1:${await freePort()}`
  const token = (name: string, role: string, envs: string[]) => ({
    ...{ who: `token:${name}`, role, apps: ['webapi'], envs },
  })
  const settings = {
    queue: { redis: redis.url },
    gitlab: { secrets: ['${HOOK}'], projects: ['**'] },
    metrics: { token: '${METRICS}' },
    ledger: `sqlite:${file}`,
    sessions: { url, 'failed-logins': 1_000_000 },
    policy: {
      roles: {
        all: verbs.filter((verb) => verb !== 'audit-read'),
        few: ['view'],
        auditor: ['audit-read'],
      },
      grants: [
        token('all', 'all', ['test', 'staging', 'production']),
        { who: 'token:all', role: 'auditor', apps: ['*'], envs: ['*'] },
        token('few', 'few', ['test']),
      ],
    },
    applications: {
      webapi: {
        repository: `file://${repository.folder}`,
        branch: 'main',
        ledger: `sqlite:${file}`,
        variables: { DATABASE_PASSWORD: '${DATABASE_PASSWORD}' },
        'config-key': '${KEY}',
        identity: 'unverified',
        environments: {
          test: { hosts: { 'app-01': 'tcp://127.0.0.1:1' } },
          production: {
            hosts: { 'app-11': 'tcp://127.0.0.1:3' },
            config: 'redis://:${CONFIG_PASSWORD}@127.0.0.1:1/0',
          },
        },
      },
    },
  }
  const env = { HOME: folder, ...variables, CROSSCLOUD_STATE: join(folder, 'state') }
  const server = await startWebhookServer(t, settings, {
    ...{ env, args: ['--role', 'receive', '--log', 'plain'] },
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 8 })
  t.teardown(() => agent.destroy())
  return {
    tokens,
    /** Nothing of these may be in a response, or in the log. */
    secrets: [SECRET, variables.KEY, ...Object.values(tokens)],
    log: () => server.running.output(),
    send: (wanted: Sent) => send(server.port, agent, wanted),
  }
}

export interface Sent {
  method: string
  /** From the root. */
  target: string
  headers?: Record<string, string>
  body?: string | undefined
}

/** A stream is left as soon as it has begun. */
function send(
  port: number,
  agent: Agent,
  { method, target, headers, body }: Sent,
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    // Node frames the body of a GET or a DELETE only where its length is written.
    const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
    const sent = request({
      ...{ host: '127.0.0.1', port, method, path: target, agent },
      headers: { ...headers, ...length },
    })
    sent.setTimeout(60_000, () => sent.destroy(new Error(`${method} ${target}: no answer`)))
    sent.on('error', reject)
    sent.on('response', (response) => {
      const chunks: Buffer[] = []
      const type = response.headers['content-type'] ?? null
      const end = () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, type, text })
      }
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', end)
      if (type === 'text/event-stream') {
        setTimeout(() => {
          end()
          response.destroy()
        }, 30)
      }
    })
    sent.end(body)
  })
}

/** Releases, deployments of every state, and the tokens. */
async function fillLedger(file: string) {
  const ledger = await openLedger(file)
  const more = { repository: '127.0.0.1:1/test/webapi', bakedByMail: `${SECRET}@example.com` }
  const [first, second] = [release('1.0.0', more), release('1.0.1', { ...more, reason: HOSTILE })]
  for (const each of [first, second]) await ledger.recordRelease(each)
  const put = async (of: typeof first, state: 'succeeded' | 'failed', where: string) => {
    const { id } = await start(ledger, of, where, { reason: HOSTILE })
    await ledger.endDeployment(id, ended(state, [outcome('app-01')]))
  }
  await put(first, 'succeeded', 'test')
  await put(second, 'failed', 'test')
  await put(first, 'succeeded', 'production')
  await start(ledger, second, 'production')
  await ledger.mark({
    ...{ app: 'webapi', environment: 'test', version: '1.0.0', bad: true, by: 'li' },
    reason: HOSTILE,
  })
  await ledger.lock('webapi', 'production', 'li', HOSTILE, 3_600_000)
  const expiresAt = new Date(Date.now() + 86_400_000).toISOString()
  const make = async (name: string) => {
    const { secret, hash } = newApiToken()
    const scope = { verbs: [...verbs], apps: ['*'], envs: ['*'] }
    await ledger.recordToken({ name, hash, scope, expiresAt }, { subject: 'ops', via: 'cli' })
    return secret
  }
  const tokens = { all: await make('all'), few: await make('few') }
  await ledger.close()
  return tokens
}
