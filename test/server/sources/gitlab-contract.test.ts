import t from 'tap'
import { fixture } from '../../support/data/signatures.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../../support/platforms/delivery-gitlab.ts'
import { startPrism } from '../../support/platforms/gitlab.ts'
import { missingProgram } from '../../support/servers/server.ts'
import {
  deliver,
  knownForAnHour,
  startQueueRedis,
  startWebhookServer,
} from '../../support/servers/webhooks.ts'
import { until } from '../../support/until.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')

t.setTimeout(120_000)

t.test('requests to GitLab match its own API description', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  const prism = await startPrism(t, gitlab.url)
  const push = fixture('gitlab/push')
  const [before, after] = [push.after as string, '2'.repeat(40)]
  gitlab.hooks = [{ id: 7, url: 'https://x.example.com/webhooks/gitlab', alert_status: 'disabled' }]
  gitlab.pushes = [{ branch: 'main', before: push.before as string, after: before, age: 9e6 }]
  await knownForAnHour(redis, 'gitlab team/webapi')
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url },
    gitlab: {
      secrets: [SECRET],
      projects: ['team/webapi'],
      url: prism.url,
      token: DELIVERY_TOKEN,
      'catch-up': true,
    },
    routes: [
      { name: 'deliver', source: 'gitlab', status: true, pipeline: {} },
      {
        name: 'trigger',
        source: 'gitlab',
        pipeline: { project: 'ops/delivery', ref: 'main', 'trigger-token': DELIVERY_TOKEN },
      },
    ],
  })
  const asked = (what: RegExp) => gitlab.requests.filter((one) => what.test(one)).length
  t.ok(await until(() => gitlab.hooks[0]?.alert_status === 'executable'), prism.log())

  gitlab.faults.push('lost', 'lost')
  const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': 'k1' }
  await deliver(server.port, '/webhooks/gitlab', headers, JSON.stringify(push))
  t.ok(await until(() => gitlab.statuses.length === 1), prism.log())
  t.ok(asked(/pipelines \d+ variables/) > 0, 'what was begun is looked for')
  t.strictSame(gitlab.pipelines.map(({ project }) => project).sort(), [
    'ops/delivery',
    'team/webapi',
  ])

  gitlab.pushes.push({ branch: 'main', before, after, age: 6e5 })
  await redis.cli('del', '{crosscloud:crosscloud}:catch-up')
  await server.kill('SIGTERM')
  await server.start()
  t.ok(await until(() => gitlab.pipelines.length === 4), prism.log())
  t.ok(await until(() => gitlab.statuses.length === 2), prism.log())
  t.equal(gitlab.statuses[1]?.commit, after)
  t.notMatch(prism.log(), /Violation/, 'every request and answer fits the description')
})
