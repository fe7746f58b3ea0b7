import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { StepError } from '../../../src/core/errors.ts'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import type { Question } from '../../../src/policy/decide.ts'
import { verbs } from '../../../src/policy/verbs.ts'
import type { Decide } from '../../../src/server/api/access.ts'
import { addApi } from '../../../src/server/api/api.ts'
import type { ApiDependencies } from '../../../src/server/api/dependencies.ts'
import { openApplications } from '../../../src/server/applications/applications.ts'
import type { AuditEntry } from '../../../src/server/audit.ts'
import { workerEnvironmentOf } from '../../../src/server/effects/worker-environment.ts'
import { createMetrics } from '../../../src/server/monitoring/metrics.ts'
import { accessQueue, keyPrefix, queueOptions } from '../../../src/server/queue/access.ts'
import { openQueueRedis } from '../../../src/server/queue/connection.ts'
import { openIntake } from '../../../src/server/queue/intake.ts'
import { openRecords } from '../../../src/server/queue/records.ts'
import { openWakeUps } from '../../../src/server/queue/wake-ups.ts'
import { createApp } from '../../../src/server/routes/app.ts'
import { runUrls } from '../../../src/server/runs/route.ts'
import type { RunSubject } from '../../../src/server/runs/run.ts'
import { openRuns } from '../../../src/server/runs/runs.ts'
import { idOfSession } from '../../../src/server/sessions/keys.ts'
import type { Standing } from '../../../src/server/sessions/standing.ts'
import { openSessionStore } from '../../../src/server/sessions/store.ts'
import { readServerSettings } from '../../../src/server/settings/settings.ts'
import { release } from '../../ledger/conformance/samples.ts'
import { makeRepository } from '../../support/servers/git.ts'
import { startQueueRedis, startWebhookServer } from '../../support/servers/webhooks.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { operationOf, readContract } from './contract/contract.ts'

const PROGRAM = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

/** Who may what here: names, verbs and environments of webapi. */
const grants: Readonly<Record<string, { verbs: readonly string[]; envs: readonly string[] }>> = {
  li: {
    verbs: [
      ...['view', 'logs', 'verify', 'deploy', 'promote', 'rollback', 'cancel', 'audit-read'],
      ...['config-read', 'config-write', 'secret-write', 'events'],
    ],
    envs: ['test', 'staging', 'production', '*'],
  },
  zhang: { verbs: ['view', 'logs', 'deploy', 'verify', 'promote'], envs: ['test'] },
  wu: { verbs: [], envs: [] },
  sun: { verbs: ['view'], envs: ['test'] },
  chen: { verbs: ['view', 'config-read', 'config-write'], envs: ['test'] },
  zhao: { verbs: ['view', 'secret-write'], envs: ['test'] },
  job: { verbs: ['view', 'logs', 'deploy', 'force'], envs: ['test'] },
}

/** The same for a server that runs what is queued. */
export const policySettings = {
  roles: Object.fromEntries(
    Object.entries(grants).flatMap(([by, { verbs }]) => (verbs.length > 0 ? [[by, verbs]] : [])),
  ),
  grants: Object.entries(grants).flatMap(([by, { envs }]) => {
    const holder = by === 'job' ? { job: { project: 'team/webapi' } } : { who: `user:${by}` }
    const named = envs.filter((name) => name !== '*')
    return named.length === 0 ? [] : [{ ...holder, role: by, apps: ['webapi'], envs: named }]
  }),
}

const decide: Decide = ({ by }, { verb, environment, source }) => {
  const grant = grants[by]
  const may = (wanted: string, where: string) =>
    grant?.verbs.includes(wanted) === true && grant.envs.includes(where)
  const allowed = may(verb, environment) && (source === undefined || may('view', source))
  const visible = may('view', environment)
  return {
    ...{ allowed, visible, rule: allowed ? 'grants[0]' : undefined },
    reasons: allowed ? [] : [`grants[0] does not allow ${verb} there`],
    help: allowed ? [] : ['team/ops'],
  }
}

const subject = (by: string): RunSubject => ({
  kind: by === 'job' ? 'job' : 'person',
  ...{ name: by === 'job' ? 'job 4711 of team/webapi' : `${by} (team/dev)`, by, byId: '42' },
  ...{ identity: 'https://gitlab.example.com', names: [`user:${by}`, 'group:team/dev'] },
  ...(by === 'job' && {
    claims: { project: 'team/webapi', 'ref-protected': true, environment: 'test' },
    presented: {
      ...{ kind: 'job' as const, login: by, id: '42', groups: ['team/dev'] },
      ...{ identity: 'https://gitlab.example.com', project: 'team/webapi' },
      job: { id: '4711', refProtected: true, environment: 'test', attempt: 1 },
    },
  }),
})

export interface Answer {
  status: number
  type: string | null
  headers: Headers
  body: Record<string, unknown>
}

/** crosscloud.yml of the repository; hosts answer nobody. */
export const repositorySettings = {
  app: 'webapi',
  ledger: 'sqlite:of-the-repository.db',
  environments: {
    test: { image: '127.0.0.1:1/test/webapi', config: 'file:config/test.yaml' },
    staging: { from: 'test', image: '127.0.0.1:1/staging/webapi', config: 'file:config/test.yaml' },
    production: {
      from: 'staging',
      image: '127.0.0.1:1/weak/webapi',
      hosts: { a: 'tcp://127.0.0.1:2' },
    },
  },
}

interface WorldOptions {
  /** More of the application in crosscloud.server.yml. */
  application?: object
  /** More applications; nothing of them is read. */
  more?: readonly string[]
  /** crosscloud.yml of the repository. */
  settings?: object
  variables?: Readonly<Record<string, string>>
  /** The file of a ledger that has releases. */
  ledger?: string
  /** Other applications. */
  others?: Readonly<Record<string, object>>
  /** Of the streams and lists. */
  api?: Partial<Pick<ApiDependencies, 'heartbeat' | 'followers' | 'patience' | 'rate'>>
}

/** A registered application, a ledger with two releases, Redis, and the API on a port of its own. */
export async function startWorld(t: Test, more: WorldOptions = {}) {
  const folder = await temporaryFolder(t)
  const repository = await makeRepository(join(folder, 'repository'))
  const write = (settings: object, files: Record<string, string> = {}) =>
    repository.commit({
      'crosscloud.yml': stringify(settings),
      'config/test.yaml': 'webapi: { greeting: hello }\n',
      ...files,
    })
  await write(more.settings ?? repositorySettings)
  const file = more.ledger ?? join(folder, 'ledger.db')
  const ledger = await openLedger(file)
  t.teardown(() => ledger.close())
  for (const version of more.ledger === undefined ? ['1.0.0', '1.0.1'] : []) {
    await ledger.recordRelease(release(version, { repository: '127.0.0.1:1/test/webapi' }))
  }
  const redis = await startQueueRedis(t)
  const state = join(folder, 'state')
  const application = {
    repository: `file://${repository.folder}`,
    branch: 'main',
    identity: 'unverified',
    ledger: `sqlite:${file}`,
    environments: {
      test: { hosts: { 'app-01': 'tcp://127.0.0.1:1' } },
      production: {
        image: '127.0.0.1:1/production/webapi',
        hosts: { 'app-11': 'tcp://127.0.0.1:3' },
      },
    },
    ...more.application,
  }
  const settings = {
    queue: { redis: redis.url, 'stalled-timeout': '2s', 'shutdown-timeout': '1s' },
    applications: {
      webapi: application,
      ...Object.fromEntries((more.more ?? []).map((app) => [app, application])),
      ...more.others,
    },
    ledger: `sqlite:${file}`,
  }
  const env = { HOME: folder, ...more.variables, CROSSCLOUD_STATE: state }
  /** `crosscloud serve`, which runs what the API queues. */
  const startServer = (policy: object = policySettings) =>
    startWebhookServer(t, { ...settings, policy, sessions: { url: 'http://127.0.0.1:1' } }, { env })
  const api = await startApi(
    t,
    folder,
    { listen: { host: '127.0.0.1', port: 0 }, ...settings },
    env,
    more.api,
  )
  return { folder, repository, write, ledger, redis, startServer, ...api }
}

export type World = Awaited<ReturnType<typeof startWorld>>

async function startApi(
  t: Test,
  folder: string,
  written: object,
  env: Readonly<Record<string, string>>,
  api: WorldOptions['api'],
) {
  const path = join(folder, 'crosscloud.server.yml')
  await writeFile(path, stringify(written))
  const secrets = createSecrets()
  const settings = await readServerSettings(path, env, secrets)
  const redis = await openQueueRedis(settings.queue.redis, folder, silentLog)
  t.teardown(() => redis.close())
  const options = queueOptions(redis.name, settings.queue)
  const access = accessQueue(redis.failFast, options)
  const wakeUps = await openWakeUps(redis.failFast, options.name)
  t.teardown(() => wakeUps.close())
  const records = openRecords(access)
  const variables = { ...env, PATH: process.env.PATH }
  const worker = workerEnvironmentOf({
    ...{ program: PROGRAM, log: silentLog, secrets, settings, variables },
  })
  const applications = openApplications({ settings, worker, variables })
  const intake = openIntake(access)
  const runs = openRuns({
    ...{ access, intake, records, wakeUps, applications, worker, log: silentLog },
    urlOf: runUrls(settings),
  })
  const base = `${keyPrefix(options.name)}:`
  const store = openSessionStore({ client: redis.failFast, server: redis.name, base })
  const end = Date.now() + 3_600_000
  for (const by of Object.keys(grants)) {
    const record = { thumbprint: '', startedAt: 0, end, token: by, project: 'team/webapi' }
    const limits = { expiresAt: end, most: 100 }
    await store.create(by, { ...record, subject: subject(by) }, limits)
  }
  const audited: AuditEntry[] = []
  const held: { standing: Standing; verbs: readonly string[] } = { standing: 'alive', verbs }
  const asked: Question[] = []
  const counts = { authenticated: 0, logins: 0 }
  const app = await createApp({
    ...{ settings, endpoints: [], log: silentLog, metrics: await createMetrics(records) },
    receiver: { deliver: async () => ({ status: 200, body: {} }), refuse: () => undefined },
    problems: async () => [],
  })
  const contract = await readContract()
  app.addHook('onSend', async ({ routeOptions, method }, reply, payload) => {
    const operation = operationOf(contract, method, routeOptions.url ?? '')
    if (operation === undefined) return payload
    const type = String(reply.getHeader('content-type') ?? '')
    const answered = { status: reply.statusCode, type, text: String(payload ?? '') }
    for (const problem of contract.problems(operation, answered)) t.fail(problem)
    return payload
  })
  await addApi(app, {
    sessions: {
      async authenticate({ headers }) {
        counts.authenticated++
        const [, by = ''] = /^Bearer (\w+)$/.exec(String(headers.authorization)) ?? []
        if (Object.hasOwn(grants, by)) {
          const standing = async () => held.standing
          const credential = { kind: 'session', id: idOfSession(by) } as const
          return { subject: subject(by), via: 'session', credential, standing }
        }
        throw new StepError('UNAUTHORIZED', 'the session is unknown, or over')
      },
      start: async () => {
        counts.logins++
        throw new StepError('UNAUTHORIZED', 'test/server/sessions has logins')
      },
      end: async () => {},
    },
    decide: (who, question) => {
      asked.push(question)
      const decision = decide(who, question)
      return held.verbs.includes(question.verb) ? decision : { ...decision, allowed: false }
    },
    sees: ({ by }) => grants[by]?.verbs.includes('view') === true,
    audit: { record: async (entry) => void audited.push(entry) },
    ...{ runs, access, applications, worker, secrets, log: silentLog, rate: 1000 },
    ...api,
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const ask = async (
    method: string,
    place: string,
    {
      by = 'li',
      body,
      headers = {},
    }: { by?: string; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Answer> => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const response = await fetch(`${url}/api/v1${place}`, {
      method,
      headers: {
        authorization: `Bearer ${by}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: text }),
      signal: AbortSignal.timeout(60_000),
    })
    const said = await response.text()
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      headers: response.headers,
      body: said === '' ? {} : JSON.parse(said),
    }
  }
  return {
    url,
    ask,
    audited,
    asked,
    held,
    counts,
    app,
    runs,
    access,
    applications,
    worker,
    sessions: store,
  }
}
