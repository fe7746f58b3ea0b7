import { readFile } from 'node:fs/promises'
import autocannon from 'autocannon'
import { table } from '../src/cli/output.ts'
import { StepError } from '../src/core/errors.ts'
import { missingProgram } from '../test/support/servers/server.ts'
import {
  type QueueRedis,
  startQueueRedis,
  startWebhookServer,
  type WebhookServer,
} from '../test/support/servers/webhooks.ts'
import { median } from './measure.ts'

const ROUNDS = 5
/** Seconds a round. */
const DURATION = 8
const CONNECTIONS = 50
/** What one process must take in: events a second, and milliseconds at the 99th percentile. */
const GOAL = { rate: 2000, p99: 50 }
const DUPLICATES = 10_000
const MANY = 1_000_000
const SAMPLES = 20

const SECRET = 'a-secret-of-the-bench'
const headers = { 'content-type': 'application/json', 'x-gitlab-token': SECRET }

const BRANCHES = 100

/** A push as GitLab sends it, about 1.3 KiB. */
const pushTo = (branch: number) =>
  JSON.stringify({
    object_kind: 'push',
    event_name: 'push',
    ref: `refs/heads/${branch}`,
    user_username: 'li',
    before: 'a'.repeat(40),
    after: 'b'.repeat(40),
    checkout_sha: 'b'.repeat(40),
    project: {
      id: 15,
      name: 'webapi',
      path_with_namespace: 'team/webapi',
      default_branch: 'main',
      web_url: 'https://gitlab.example.com/team/webapi',
    },
    commits: [1, 2, 3].map((n) => ({
      id: String(n).repeat(40),
      message: 'Prices are rounded\n\nas the law wants it',
      timestamp: '2026-11-23T10:00:00Z',
      author: { name: 'Li', email: 'li@example.com' },
      url: `https://gitlab.example.com/team/webapi/-/commit/${n}`,
      added: ['src/a.java'],
      modified: ['pom.xml'],
      removed: [],
    })),
    total_commits_count: 3,
  })
const bodies = Array.from({ length: BRANCHES }, (_, branch) => pushTo(branch))

/** A route that only notifies people, of what never happens: the queue is worked off, no call is made. */
const settingsOf = (redis: QueueRedis) => ({
  queue: { redis: redis.url },
  gitlab: { secrets: [SECRET], projects: ['team/*'] },
  notify: {
    nobody: { kind: 'webhook', url: 'http://127.0.0.1:9', secret: SECRET, on: ['drift'] },
  },
  routes: [{ name: 'webapi', source: 'gitlab', notify: ['nobody'] }],
})

interface Load {
  rate: number
  p99: number
}

export async function benchWebhooks() {
  const missing = missingProgram('redis-server', 'redis-cli')
  if (missing) throw new StepError('COMMAND_FAILED', `this bench ${missing}`)
  const teardowns: (() => unknown)[] = []
  const t = { teardown: (work: () => unknown) => void teardowns.push(work) }
  try {
    const redis = await startQueueRedis(t as never)
    const start = (role: string) =>
      startWebhookServer(t as never, settingsOf(redis), { args: ['--role', role, '--log', 'json'] })
    const receiving = await measureLoad(await start('receive'), redis)
    const duplicates = await measureDuplicates(await start('receive'), redis)
    const both = await start('all')
    const working = await measureLoad(both, redis)
    const memory = await measureMemory(both, redis)
    const json = { goal: GOAL, receiving, working, duplicates, memory }
    return { json, text: textOf(json) }
  } finally {
    for (const teardown of teardowns.reverse()) await teardown()
  }
}

const at = ({ port }: WebhookServer) => `http://127.0.0.1:${port}/webhooks/gitlab`

let sent = 0
/** Each delivery is different. */
const newKey = () => `delivery-${++sent}`

interface Shots {
  duration?: number
  amount?: number
  key?: () => string
}

async function fire(server: WebhookServer, { key = newKey, ...more }: Shots) {
  const setupRequest = <Request extends object>(request: Request) => ({
    ...request,
    headers: { ...headers, 'idempotency-key': key() },
    body: bodies[sent % BRANCHES],
  })
  const requests = [{ method: 'POST' as const, headers, body: pushTo(0), setupRequest }]
  const url = at(server)
  const result = await autocannon({ url, requests, connections: CONNECTIONS, ...more })
  if (result.errors === 0 && result.non2xx === 0) return result
  throw new StepError('VERIFY_FAILED', `${result.errors} errors, ${result.non2xx} refused`)
}

async function measureLoad(server: WebhookServer, redis: QueueRedis): Promise<Load> {
  const rounds: Load[] = []
  await fire(server, { duration: 2 })
  for (let round = 0; round < ROUNDS; round++) {
    await redis.cli('flushall')
    const result = await fire(server, { duration: DURATION })
    rounds.push({ rate: result['2xx'] / result.duration, p99: result.latency.p99 })
  }
  return {
    rate: Math.round(median(rounds.map(({ rate }) => rate))),
    p99: median(rounds.map(({ p99 }) => p99)),
  }
}

async function measureDuplicates(server: WebhookServer, redis: QueueRedis) {
  await redis.cli('flushall')
  const { '2xx': taken } = await fire(server, { amount: DUPLICATES, key: () => 'always-the-same' })
  const [events, jobs] = await Promise.all([
    redis.cli('zcard', '{crosscloud:crosscloud}:state:waiting'),
    redis.cli('llen', '{crosscloud:crosscloud}:calls:wait'),
  ])
  return { sent: taken, events: Number(events), jobs: Number(jobs) }
}

interface Memory {
  events: number
  /** Of the server, in MiB, after each twentieth of the events. */
  resident: number[]
  /** The highest of the second half over the highest of the first. */
  growth: number
}

async function measureMemory(server: WebhookServer, redis: QueueRedis): Promise<Memory> {
  await redis.cli('flushall')
  const resident: number[] = []
  let events = 0
  while (events < MANY) {
    const result = await fire(server, { amount: MANY / SAMPLES })
    events += result['2xx']
    resident.push(await residentOf(server.running.child.pid))
  }
  const half = SAMPLES / 2
  const growth = Math.max(...resident.slice(half)) / Math.max(...resident.slice(0, half))
  return { events, resident, growth: Math.round(growth * 100) / 100 }
}

async function residentOf(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
}

function textOf({
  receiving,
  working,
  duplicates,
  memory,
}: {
  receiving: Load
  working: Load
  duplicates: { sent: number; events: number; jobs: number }
  memory: Memory
}): string {
  const row = (name: string, { rate, p99 }: Load) => [name, `${rate}`, `${p99} ms`]
  const [first, last] = [memory.resident[0], memory.resident.at(-1)]
  return [
    table(
      ['one process', 'events/s', 'p99'],
      [
        row('taking events in', receiving),
        row('taking in and working off', working),
        ['goal', `${GOAL.rate}`, `${GOAL.p99} ms`],
      ],
    ),
    '',
    `${duplicates.sent} duplicates: ${duplicates.events} event, ${duplicates.jobs} job`,
    `${memory.events} events: ${first} MiB after a twentieth, ${last} MiB at the end; the second half's peak is ${memory.growth} of the first's`,
  ].join('\n')
}
