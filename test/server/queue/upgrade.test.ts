import { readFile } from 'node:fs/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { runCli } from '../../support/cli.ts'
import { fixture } from '../../support/data/signatures.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../../support/platforms/delivery-gitlab.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../../support/servers/webhooks.ts'
import { until } from '../../support/until.ts'

const SECRET = 'a-secret-of-the-test-1'
const BASE = '{crosscloud:crosscloud}:'
const skip = missingProgram('redis-server', 'redis-cli')

/** A value of Redis, as it was recorded. */
interface Recorded {
  type: 'string' | 'hash' | 'list' | 'set' | 'zset'
  value: string | string[] | Record<string, string>
  ttl?: number
}

/** Puts back what a killed server of version 0.1.0 left: its events, jobs and records. */
async function restore(client: Redis): Promise<void> {
  const file = new URL('../fixtures/queue-0.1.0.json', import.meta.url)
  const recorded = JSON.parse(await readFile(file, 'utf8')) as Record<string, Recorded>
  for (const [name, { type, value, ttl }] of Object.entries(recorded)) {
    const key = `${BASE}${name}`
    if (type === 'string') await client.set(key, value as string)
    if (type === 'hash') await client.hset(key, value as Record<string, string>)
    if (type === 'list') await client.rpush(key, ...(value as string[]))
    if (type === 'set') await client.sadd(key, ...(value as string[]))
    const members = value as string[]
    for (let at = 0; type === 'zset' && at < members.length; at += 2) {
      await client.zadd(key, members[at + 1] ?? '', members[at] ?? '')
    }
    if (ttl !== undefined) await client.pexpire(key, ttl)
  }
}

t.test(
  'events, jobs and records that version 0.1.0 left in Redis are worked on',
  { skip },
  async (t) => {
    const redis = await startQueueRedis(t)
    const client = new Redis(redis.url)
    t.teardown(() => client.disconnect())
    await restore(client)
    const gitlab = await startDeliveryGitlab(t)
    const server = await startWebhookServer(t, {
      queue: { redis: redis.url, 'stalled-timeout': '2s' },
      gitlab: {
        secrets: [SECRET],
        projects: ['**'],
        url: gitlab.url,
        token: DELIVERY_TOKEN,
        'catch-up': true,
      },
      routes: [
        {
          name: 'each',
          source: 'gitlab',
          pipeline: { variables: { TITLE: '{{title}}' } },
          status: true,
        },
      ],
    })
    const titlesOn = (branch: string) =>
      gitlab.pipelines.filter(({ ref }) => ref === branch).map(({ variables }) => variables.TITLE)

    t.ok(await until(() => gitlab.pipelines.length >= 7))
    t.strictSame(titlesOn('fresh'), ['8', '9'], 'those that waited for a worker')
    t.strictSame(titlesOn('retried'), ['3', '4'], 'those that waited for the next attempt')
    t.strictSame(titlesOn('hang-1'), ['5', '7'], 'one that its worker had begun, and the next')
    t.strictSame(titlesOn('hang-2'), ['6'])
    t.equal(gitlab.pipelines.length, 7)

    const commit = (n: number) => n.toString(16).padStart(40, '0')
    t.ok(await until(() => gitlab.statuses.some((status) => status.commit === commit(1))))
    t.match(
      gitlab.statuses.find((status) => status.commit === commit(1)),
      { state: 'running', name: 'crosscloud/each', url: /pipelines\/77$/ },
      'a status that waited to be sent',
    )

    const push = (n: number) =>
      JSON.stringify({
        ...fixture('gitlab/push'),
        ref: 'refs/heads/fresh',
        after: commit(n),
        checkout_sha: commit(n),
        commits: [{ id: commit(n), title: `${n}` }],
        total_commits_count: 1,
      })
    const send = (n: number) =>
      deliver(
        server.port,
        '/webhooks/gitlab',
        { 'x-gitlab-token': SECRET, 'idempotency-key': `delivery-${n}` },
        push(n),
      )
    t.match(await send(8), { status: 200, body: { duplicate: true } }, 'a delivery it had taken')
    t.match(await send(10), { status: 202 })

    const cwd = server.folder
    const dead = JSON.parse((await runCli(['events', 'list', '--json'], { cwd })).stdout)
    t.match(dead.events, [{ state: 'dead', facts: { ref: 'refused', title: '2' } }])
    t.match(await runCli(['events', 'retry', '--dead'], { cwd }), { code: 0 })
    t.ok(await until(() => titlesOn('refused').length === 1 && titlesOn('fresh').length === 3))
    await until(async () => (await client.exists(`${BASE}lanes`, `${BASE}owners`)) === 0)
    t.equal(await client.exists(`${BASE}lanes`, `${BASE}owners`), 0, 'nothing is left')
  },
)
