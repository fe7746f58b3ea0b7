import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { type DeliveryLog, missed } from '../../src/server/catch-up.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../support/delivery-gitlab.ts'
import { missingProgram } from '../support/server.ts'
import { fixture } from '../support/signatures.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../support/webhook-server.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')

const logOf = (id: number, response_status: string, branch: string, trigger = 'push_hooks') => {
  return { id, trigger, response_status, request_data: { ref: `refs/heads/${branch}` } }
}

t.test('what was missed', async (t) => {
  const cases: [string, DeliveryLog[], number[]][] = [
    [
      'oldest first',
      [logOf(3, '503', 'b'), logOf(2, 'internal error', 'a'), logOf(1, '500', 'a')],
      [1, 2, 3],
    ],
    ['not what came through', [logOf(2, '202', 'a'), logOf(1, '200', 'b')], []],
    [
      'nothing older than what came through',
      [logOf(3, '503', 'a'), logOf(2, '202', 'a'), logOf(1, '503', 'a')],
      [3],
    ],
    ['branches by themselves', [logOf(2, '202', 'a'), logOf(1, '503', 'b')], [1]],
    ['not what we refused', [logOf(1, '401', 'a')], []],
    [
      'only pushes',
      [logOf(1, '503', 'a', 'note_hooks'), logOf(2, '503', 'a', 'tag_push_hooks')],
      [2],
    ],
    ['no payload', [{ id: 1, trigger: 'push_hooks', response_status: '503' }], []],
  ]
  for (const [name, logs, ids] of cases) t.strictSame(missed(logs), ids, name)
})

t.test(
  'pushes that came while no server was there are delivered after its start',
  { skip },
  async (t) => {
    const redis = await startQueueRedis(t)
    const gitlab = await startDeliveryGitlab(t)
    const settings = {
      queue: { redis: redis.url },
      gitlab: {
        ...{ secrets: [SECRET], projects: ['team/webapi'], 'catch-up': true },
        ...{ url: gitlab.url, token: DELIVERY_TOKEN },
      },
      routes: [{ name: 'a', source: 'gitlab', pipeline: { variables: { N: '{{title}}' } } }],
    }
    const bodyOf = (id: number) => {
      const branch = id % 2 === 0 ? 'even' : 'odd'
      const commits = [{ id: 'x', title: `${id}` }]
      return { ...fixture('gitlab/push'), ref: `refs/heads/${branch}`, commits }
    }
    const ids = [24, 23, 22, 21, ...Array.from({ length: 19 }, (_, index) => 20 - index)]
    gitlab.hooks = [
      { id: 1, url: 'https://other.example.com/hook' },
      { id: 2, url: 'https://hooks.example.com/webhooks/gitlab' },
    ]
    // Of both branches the last two got nothing; before them all was well.
    gitlab.deliveries = ids.map((id) => {
      const response_status = id > 20 ? 'internal error' : '202'
      return { id, trigger: 'push_hooks', response_status, request_data: bodyOf(id) }
    })
    const asked: number[] = []
    let port = 0
    gitlab.resend = async (id) => {
      asked.push(id)
      const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': `delivery-${id}` }
      await deliver(port, '/webhooks/gitlab', headers, JSON.stringify(bodyOf(id)))
    }
    const server = await startWebhookServer(t, settings, {
      beforeStart: (ours) => {
        port = ours
      },
    })
    for (let tries = 0; gitlab.pipelines.length < 4 && tries < 200; tries++) await sleep(50)
    t.strictSame(asked, [21, 22, 23, 24])
    const of = (branch: string) =>
      gitlab.pipelines.filter(({ ref }) => ref === branch).map(({ variables }) => variables.N)
    t.strictSame(
      [of('odd'), of('even')],
      [
        ['21', '23'],
        ['22', '24'],
      ],
      'in order',
    )
    await server.kill('SIGTERM')
    await redis.cli('del', '{crosscloud:crosscloud}:catch-up')
    await server.start()
    await sleep(1000)
    t.equal(asked.length, 4, 'GitLab is not asked twice')
  },
)
