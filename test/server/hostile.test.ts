import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { runCli } from '../support/cli.ts'
import { fixture } from '../support/data/signatures.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../support/platforms/delivery-gitlab.ts'
import { fetchText } from '../support/servers/http.ts'
import { missingProgram } from '../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../support/servers/webhooks.ts'
import { until } from '../support/until.ts'

const SECRET = 'a-secret-of-the-test-1'
const GIT_TOKEN = 'ghp-a-token-without-user'
const skip = missingProgram('redis-server', 'redis-cli', 'git')

t.test('strangers and pushers get no secret and no shell', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  const server = await startWebhookServer(
    t,
    {
      queue: { redis: redis.url },
      gitlab: { secrets: [SECRET], projects: ['**'], url: gitlab.url, token: DELIVERY_TOKEN },
      routes: [
        {
          name: 'deliver',
          source: 'gitlab',
          projects: ['team/webapi'],
          pipeline: { variables: { TITLE: '$KEPT {{title}}' } },
        },
        {
          name: 'build',
          source: 'gitlab',
          projects: ['team/other'],
          run: {
            step: 'release',
            env: 'test',
            repository: 'http://${GIT_TOKEN}@127.0.0.1:1/{{project}}.git',
          },
        },
      ],
    },
    { env: { GIT_TOKEN } },
  )
  const push = fixture('gitlab/push')
  let key = 0
  const send = (body: object, token = SECRET) => {
    const headers = { 'x-gitlab-token': token, 'idempotency-key': `k${++key}` }
    return deliver(server.port, '/webhooks/gitlab', headers, JSON.stringify(body))
  }

  await t.test('a branch name reveals no variable of the project', async (t) => {
    const title = 'fix $PROD_PASSWORD and ${OTHER}'
    const commits = (push.commits as object[]).map((one) => ({ ...one, title }))
    const ref = 'refs/heads/x$PROD_PASSWORD'
    t.match(await send({ ...push, ref, commits }), { status: 202 })
    t.ok(await until(() => gitlab.pipelines.length === 1))
    t.match(gitlab.pipelines[0], {
      ref: 'x$PROD_PASSWORD',
      variables: {
        TITLE: '$KEPT fix $$PROD_PASSWORD and $${OTHER}',
        CROSSCLOUD_EVENT_REF: 'x$$PROD_PASSWORD',
      },
    })
  })

  await t.test('a secret in the error of another program is stored nowhere', async (t) => {
    const other = { ...(push.project as object), path_with_namespace: 'team/other' }
    const { body } = await send({ ...push, project: other })
    const [id = ''] = body.events as string[]
    const shown = async () =>
      (await runCli(['events', 'show', id, '--json'], { cwd: server.folder })).stdout
    t.ok(await until(async () => (await shown()).includes('fetching')))
    t.notMatch(await shown(), GIT_TOKEN)
    t.notMatch(server.running.output(), GIT_TOKEN)
  })

  await t.test('a sender without the token is refused before its body is read', async (t) => {
    const socket = connect(server.port, '127.0.0.1').setEncoding('utf8')
    const head = ['POST /webhooks/gitlab HTTP/1.1', 'host: x', 'content-length: 5000000']
    socket.write(`${[...head, 'x-gitlab-token: a-wrong-one'].join('\r\n')}\r\n\r\n[`)
    const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(10_000) })
    socket.destroy()
    t.match(answer, /^HTTP\/1.1 401 /)
  })

  await t.test('refused deliveries do not fill the log', async (t) => {
    for (let n = 0; n < 20; n++) await send(push, 'a-wrong-one')
    for (let n = 0; n < 20; n++) {
      t.match(await fetchText(`http://127.0.0.1:${server.port}/:a(x`), { status: 404 })
    }
    const lines = server.running.output().split('\n')
    t.equal(lines.filter((line) => line.includes('was refused')).length, 1)
    t.notMatch(server.running.output(), 'Invalid regexp')
    const { body } = await fetchText(`http://127.0.0.1:${server.port}/metrics`)
    t.match(body, 'crosscloud_deliveries_total{source="gitlab",outcome="wrong"} 21')
  })
})
