import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import t from 'tap'
import { runCli } from '../support/cli.ts'
import { fixture, githubHeaders } from '../support/data/signatures.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../support/platforms/delivery-gitlab.ts'
import { GITHUB_TOKEN, startGithub } from '../support/platforms/github.ts'
import { fetchText } from '../support/servers/http.ts'
import { missingProgram } from '../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../support/servers/webhooks.ts'
import { until } from '../support/until.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')

t.test(
  'maintenance pages, a port in use and a Redis that is away are handled',
  { skip },
  async (t) => {
    const redis = await startQueueRedis(t)
    const gitlab = await startDeliveryGitlab(t)
    const workflows = { 'deliver.yml': { inputs: ['crosscloud_event_id'] } }
    const github = await startGithub(t, { repository: 'team/webapi', workflows })
    const source = { secrets: [SECRET], projects: ['**'] }
    const env = { GITLAB_TOKEN: DELIVERY_TOKEN }
    const server = await startWebhookServer(
      t,
      {
        queue: { redis: redis.url },
        gitlab: { ...source, url: gitlab.url, token: '${GITLAB_TOKEN}' },
        github: { ...source, url: github.url, token: GITHUB_TOKEN },
        routes: [
          { name: 'lab', source: 'gitlab', pipeline: {} },
          { name: 'hub', source: 'github', workflow: { workflow: 'deliver.yml' } },
        ],
      },
      { env },
    )
    const push = JSON.stringify(fixture('gitlab/push'))
    const send = (key: string, secret = SECRET) =>
      deliver(
        server.port,
        '/webhooks/gitlab',
        { 'x-gitlab-token': secret, 'idempotency-key': key },
        push,
      )
    const events = (...args: string[]) => runCli(['events', ...args], { cwd: server.folder })

    await t.test('a maintenance page of GitLab starts nothing, and the event waits', async (t) => {
      gitlab.mended = true
      t.equal((await send('k1')).status, 202)
      await server.running.until('the answer is not one of GitLab')
      // The second try looks for what the first one started, and gets a page as well.
      await server.running.until('looking for the pipeline of event')
      t.equal(gitlab.pipelines.length, 0)
      gitlab.mended = false
      t.ok(await until(() => gitlab.pipelines.length === 1), 'nothing is lost by it')
    })

    await t.test('a maintenance page of GitHub starts nothing, and the event waits', async (t) => {
      const body = JSON.stringify(fixture('github/push'))
      github.next.push('page')
      t.equal(
        (await deliver(server.port, '/webhooks/github', githubHeaders('push', SECRET, body), body))
          .status,
        202,
      )
      await server.running.until('is not one of GitHub')
      t.ok(await until(() => github.runs.length === 1))
    })

    await t.test('a refused sender is named in the log', async (t) => {
      t.equal((await send('k2', 'another-secret-of-16')).status, 401)
      await server.running.until('gitlab: a delivery from 127.0.0.1 was refused: the signature')
    })

    await t.test('a long delivery gets 413, an unknown address 404', async (t) => {
      for (const chunked of [false, true]) {
        const { answer, next } = await sendTooLong(server.port, chunked)
        t.match(answer, /^HTTP\/1.1 413 .*the delivery is longer than listen.body: 5242880 bytes/s)
        t.match(next, /^HTTP\/1.1 200 /, 'the rest is read away: the sender sees the answer')
      }
      await server.running.until('gitlab: a delivery from 127.0.0.1 is longer than listen.body')
      const wrong = ['/webhooks/gitlab/', '/webhooks/gtilab', '/webhooks/generic/x%0a']
      for (const path of wrong) t.match(await deliver(server.port, path, {}, '{}'), { status: 404 })
      const { status, body } = await fetchText(`http://127.0.0.1:${server.port}/webhooks/gitlab`)
      t.match({ status, body }, { status: 405, body: /a delivery is a POST/ })
      await server.running.until('POST "/webhooks/gitlab/" from 127.0.0.1: nothing is there')
      t.notMatch(server.running.output(), 'gtilab', 'once a minute')
      const { body: metrics } = await fetchText(`http://127.0.0.1:${server.port}/metrics`)
      t.match(metrics, 'crosscloud_deliveries_total{source="gitlab",outcome="too-long"} 2')
    })

    await t.test('the command events needs no secret of the server', async (t) => {
      t.match(await events('list'), { code: 0, stdout: 'There are none.' })
      const done = JSON.parse((await events('list', '--state', 'done', '--json')).stdout).events
      const dropped = await events('drop', done[0].id, '0123456789abcdefghijk', '--reason', 'x')
      t.match(dropped, { code: 1, stderr: /there is no event 0123456789abcdefghijk/ })
    })

    await t.test('metrics are served while Redis is away', async (t) => {
      const metrics = () => fetchText(`http://127.0.0.1:${server.port}/metrics`)
      t.match(await metrics(), { status: 200, body: /^crosscloud_redis_up 1$/m })
      await redis.stop('SIGKILL')
      t.match(await send('k4'), { status: 503 })
      const away = await metrics()
      t.match(away, { status: 200, body: /^crosscloud_redis_up 0$/m })
      t.match(away.body, 'outcome="unavailable"} 1')
      t.notMatch(away.body, /crosscloud_events\{/)
      t.notMatch(server.running.output(), /enableOfflineQueue/)
      await redis.start()
      t.ok(await until(async () => (await metrics()).body.includes('crosscloud_redis_up 1')))
    })
  },
)

t.test('a server that cannot listen begins no event', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  const settings = {
    queue: { redis: redis.url },
    gitlab: { secrets: [SECRET], projects: ['**'], url: gitlab.url, token: DELIVERY_TOKEN },
    routes: [{ name: 'lab', source: 'gitlab', pipeline: {} }],
  }
  const { port, folder, kill } = await startWebhookServer(t, settings, {
    args: ['--role', 'receive'],
  })
  const headers = { 'x-gitlab-token': SECRET }
  const push = JSON.stringify(fixture('gitlab/push'))
  t.equal((await deliver(port, '/webhooks/gitlab', headers, push)).status, 202)
  await kill('SIGTERM')
  const other = createServer().listen(port, '127.0.0.1')
  await once(other, 'listening')
  const refused = await runCli(['serve'], { cwd: folder })
  t.match(refused, { code: 2, stderr: /listening on .*EADDRINUSE[\s\S]*listen\.port/ })
  other.close()
  const { stdout } = await runCli(['events', 'list', '--json'], { cwd: folder })
  const [event] = JSON.parse(stdout).events
  t.equal(event.state, 'waiting')
  t.equal(event.begun, undefined)
  t.equal(gitlab.pipelines.length, 0)
})

/** A sender that writes all of its body, whatever comes back meanwhile, and then asks again. */
async function sendTooLong(port: number, chunked: boolean) {
  const half = 'x'.repeat(5 * 1024 * 1024 + 1)
  const socket = connect(port, '127.0.0.1').setEncoding('utf8')
  const framing = chunked
    ? 'transfer-encoding: chunked'
    : `content-length: ${String(2 * half.length)}`
  const part = chunked ? `${half.length.toString(16)}\r\n${half}\r\n` : half
  socket.write(
    `POST /webhooks/gitlab HTTP/1.1\r\nhost: x\r\nx-gitlab-token: ${SECRET}\r\n${framing}\r\n\r\n${part}`,
  )
  const soon = { signal: AbortSignal.timeout(10_000) }
  const [answer] = await once(socket, 'data', soon)
  socket.write(`${part}${chunked ? '0\r\n\r\n' : ''}GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n`)
  const [next] = await once(socket, 'data', soon)
  socket.destroy()
  return { answer, next }
}
