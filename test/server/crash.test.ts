import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  DELIVERY_TOKEN,
  type DeliveryGitlab,
  startDeliveryGitlab,
} from '../support/platforms/delivery-gitlab.ts'
import { missingProgram } from '../support/servers/server.ts'
import {
  deliver,
  type QueueRedis,
  startQueueRedis,
  startWebhookServer,
  type WebhookServer,
} from '../support/servers/webhooks.ts'
import { until } from '../support/until.ts'

const SECRET = 'a-secret-of-the-test-1'
const BRANCHES = 50
/** Between two kills all branches are at work; CRASH_PUSHES=100 sends 5,000 events. */
const PUSHES = Number(process.env.CRASH_PUSHES ?? 20)
const KILLS = 10
/** A machine may be slow; a server that stands still for as long as STALLED_TIMEOUT counts as dead. */
const TIMEOUT = 240_000
const STALLED_TIMEOUT = 5000

const skip = missingProgram('redis-server', 'redis-cli')

const settingsOf = (redis: QueueRedis, gitlab: DeliveryGitlab) => ({
  queue: { redis: redis.url, 'stalled-timeout': `${STALLED_TIMEOUT / 1000}s` },
  gitlab: { secrets: [SECRET], projects: ['team/*'], url: gitlab.url, token: DELIVERY_TOKEN },
  routes: [{ name: 'webapi', source: 'gitlab', pipeline: { variables: { TITLE: '{{title}}' } } }],
})

/** The push number `n` of a branch: its title tells which. */
function push(branch: string, n: number): string {
  const sha = n.toString(16).padStart(40, '0')
  return JSON.stringify({
    object_kind: 'push',
    ref: `refs/heads/${branch}`,
    user_username: 'li',
    before: 'a'.repeat(40),
    after: sha,
    total_commits_count: 1,
    project: {
      path_with_namespace: 'team/webapi',
      web_url: 'https://gitlab.example.com/team/webapi',
    },
    commits: [{ id: sha, title: String(n) }],
  })
}

/** Sends until it is taken, to one server after the other, as a careful sender would. */
async function sendAll(servers: readonly WebhookServer[], branch: string, done: () => void) {
  for (let n = 1; n <= PUSHES; n++) {
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': `${branch}-${n}` }
    for (let tries = 0; ; tries++) {
      const { port } = servers[tries % servers.length] as WebhookServer
      const answer = await deliver(port, '/webhooks/gitlab', headers, push(branch, n)).catch(
        () => ({ status: 0 }),
      )
      if (answer.status === 202 || answer.status === 200) break
      if (answer.status !== 0 && answer.status !== 503) throw new Error(`${answer.status}`)
      await sleep(50)
    }
    done()
  }
}

/** What was started on each branch, in order. */
function startedOn({ pipelines }: DeliveryGitlab, branch: string): string[] {
  return pipelines.filter(({ ref }) => ref === branch).map(({ variables }) => variables.TITLE ?? '')
}

t.test(
  'when servers are killed and Redis restarts, each event happens once, in order',
  { skip },
  async (t) => {
    const redis = await startQueueRedis(t)
    const gitlab = await startDeliveryGitlab(t)
    gitlab.delay = () => Math.random() * 5
    const settings = settingsOf(redis, gitlab)
    const servers = [await startWebhookServer(t, settings), await startWebhookServer(t, settings)]
    let accepted = 0
    const total = BRANCHES * PUSHES
    const branches = Array.from({ length: BRANCHES }, (_, index) => `branch-${index}`)
    const sending = Promise.all(
      branches.map((branch) => sendAll(servers, branch, () => void accepted++)),
    )
    const chaos = (async () => {
      for (let kill = 1; kill <= KILLS; kill++) {
        await until(() => accepted >= (total * kill) / (KILLS + 1), TIMEOUT)
        const server = servers[kill % 2] as WebhookServer
        await server.kill('SIGKILL')
        if (kill % 5 === 0) {
          await redis.stop('SIGTERM')
          await redis.start()
        }
        // Answers get lost, and GitLab has bad moments, too.
        gitlab.faults.push('lost', 502, 'lost', 500)
        await server.start()
      }
    })()
    await Promise.all([sending, chaos])
    t.equal(accepted, total, 'all were taken')
    t.ok(await until(() => gitlab.pipelines.length >= total, TIMEOUT), 'all led to a pipeline')
    // Time for a server that would start an event twice.
    await sleep(STALLED_TIMEOUT + 1000)
    t.equal(gitlab.pipelines.length, total, 'and none to two')
    const inOrder = Array.from({ length: PUSHES }, (_, index) => String(index + 1))
    for (const branch of branches) t.strictSame(startedOn(gitlab, branch), inOrder, branch)
  },
)
