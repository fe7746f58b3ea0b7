import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openLedger } from '../../../src/ledger/open.ts'
import { release, start } from '../../ledger/conformance/samples.ts'
import { fixture, githubHeaders } from '../../support/data/signatures.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../../support/platforms/delivery-gitlab.ts'
import { GITHUB_TOKEN, startGithub } from '../../support/platforms/github.ts'
import { JENKINS_TOKEN, JENKINS_USER, startJenkins } from '../../support/platforms/jenkins.ts'
import { fetchText } from '../../support/servers/http.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../../support/servers/webhooks.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { until } from '../../support/until.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')

interface Message {
  id: string
  what: string
  route: string
  text: string
  url: string
  message: string
}

/** A chat that is away at first. */
async function startChat(t: Test) {
  const messages: Message[] = []
  const chat = { messages, url: '', away: 2 }
  const server = createServer(async (request, response) => {
    const body = JSON.parse(await text(request))
    if (chat.away-- > 0) return void response.writeHead(503).end()
    messages.push(body)
    response.end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  chat.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return chat
}

/** An application with a deployment that went past its gate. */
async function pastTheGate(t: Test) {
  const folder = await temporaryFolder(t)
  const file =
    'app: webapi\nledger: "sqlite:ledger.db"\nenvironments:\n  production: { image: registry.example.com/a }\n'
  await writeFile(join(folder, 'crosscloud.yml'), file)
  const { signal } = new AbortController()
  const ledger = await openLedger('sqlite:ledger.db', { folder, signal })
  t.teardown(() => ledger.close())
  await ledger.recordRelease(release('1.0.0'))
  const more = { by: 'ops-wang', reason: 'the shop is down', breakGlass: {} }
  const { id } = await start(ledger, release('1.0.0'), 'production', more)
  const place = { app: 'webapi', environment: 'production', subject: id } as const
  const signOff = () =>
    ledger.recordEvent({ ...place, action: 'sign-off', by: 'ops-li', identity: 'ci' })
  const line = `BREAK-GLASS: ops-wang went past the gate of production with ${id} of webapi (the shop is down); a second person must sign it off until `
  return { folder, line, signOff }
}

t.test('people get statuses, comments and notifications', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  const chat = await startChat(t)
  const on = ['started', 'succeeded', 'failed']
  const { folder, line, signOff } = await pastTheGate(t)
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url },
    gitlab: { secrets: [SECRET], projects: ['**'], url: gitlab.url, token: DELIVERY_TOKEN },
    notify: {
      ops: { kind: 'webhook', url: chat.url, secret: SECRET, on },
      gone: { kind: 'slack', url: `${chat.url}/x`, on: ['drift'] },
    },
    schedules: [{ name: 'new-year', run: 'drift', cron: '0 0 1 1 *', folder }],
    routes: [
      {
        name: 'deliver',
        source: 'gitlab',
        status: true,
        notify: ['ops', 'gone'],
        pipeline: { project: 'ops/delivery', ref: 'main' },
      },
      {
        name: 'watch',
        source: 'gitlab',
        on: ['pipeline'],
        notify: ['ops'],
        projects: ['team/tools'],
      },
    ],
  })
  let key = 0
  const send = (payload: object) => {
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': `k${++key}` }
    return deliver(server.port, '/webhooks/gitlab', headers, JSON.stringify(payload))
  }
  const push = fixture('gitlab/push')
  const { body } = await send(push)
  const [id = ''] = body.events as string[]
  t.ok(await until(() => chat.messages.length === 1), 'notified although the chat was away')
  t.match(chat.messages[0], {
    id: `${id}-started`,
    what: 'started',
    route: 'deliver',
    text: 'pipeline 1 was started',
    message: /^BREAK-GLASS: .*\ndeliver started: team\/webapi main by li\npipeline 1 was started$/,
  })
  t.ok(chat.messages[0]?.message.startsWith(line), 'deployments past a gate come first')
  t.match(gitlab.statuses, [{ state: 'running', name: 'crosscloud/deliver', url: /pipelines\/1$/ }])

  const ended = fixture('gitlab/pipeline') as { object_attributes: object; project: object }
  const pipelineOf = (project: string, status: string, event = id) => ({
    ...ended,
    project: { ...ended.project, path_with_namespace: project },
    object_attributes: {
      ...ended.object_attributes,
      status,
      variables: [{ key: 'CROSSCLOUD_EVENT_ID', value: event }],
    },
  })
  await send(pipelineOf('somebody/else', 'success'))
  await send(pipelineOf('ops/delivery', 'running'))
  await send(pipelineOf('ops/delivery', 'success', '0000000000'))
  await send(pipelineOf('ops/delivery', 'success'))
  t.ok(await until(() => gitlab.statuses.length === 2))
  t.match(gitlab.statuses[1], { state: 'success', commit: push.after, project: 'team/webapi' })
  t.ok(await until(() => chat.messages.length === 2))
  t.match(chat.messages[1], { what: 'succeeded', text: 'pipeline 812: success' })
  t.ok(chat.messages[1]?.message.startsWith(line), 'again, of whatever route')
  await signOff()

  await send(pipelineOf('team/tools', 'failed', ''))
  t.ok(await until(() => chat.messages.length === 3))
  t.match(chat.messages[2], { what: 'failed', route: 'watch', text: 'pipeline 812: failed' })
  t.notMatch(chat.messages[2]?.message, 'BREAK-GLASS', 'until it is signed off')

  gitlab.faults.push(422)
  await send(push)
  t.ok(await until(() => gitlab.statuses.length === 3 && chat.messages.length === 4))
  t.match(gitlab.statuses[2], { state: 'failed' })
  t.match(chat.messages[3], { what: 'failed', text: /GitLab refuses it \(422\)/ })
  const metrics = await fetchText(`http://127.0.0.1:${server.port}/metrics`)
  t.match(metrics.body, 'crosscloud_feedback_total{receiver="ops",end="sent"} 4')
  t.match(metrics.body, 'crosscloud_events{state="dead"} 1')
  await sleep(300)
  t.equal(gitlab.statuses.length, 3, 'nobody else could set one')
})

t.test(
  'a route on GitHub dispatches a workflow, a route for Jenkins starts a job',
  { skip },
  async (t) => {
    const redis = await startQueueRedis(t)
    const workflows = { 'deliver.yml': { inputs: ['commit', 'crosscloud_event_id'] } }
    const github = await startGithub(t, { repository: 'team/webapi', workflows })
    const jenkins = await startJenkins(t, {
      'team/webapi': { parameters: ['COMMIT', 'CROSSCLOUD_EVENT_ID'] },
    })
    const server = await startWebhookServer(t, {
      queue: { redis: redis.url },
      github: { secrets: [SECRET], projects: ['team/*'], url: github.url, token: GITHUB_TOKEN },
      jenkins: { url: jenkins.url, user: JENKINS_USER, token: JENKINS_TOKEN },
      routes: [
        {
          name: 'hub',
          source: 'github',
          branches: ['main'],
          status: true,
          workflow: { workflow: 'deliver.yml', inputs: { commit: '{{short commit}}' } },
        },
        {
          name: 'butler',
          source: 'github',
          branches: ['main'],
          jenkins: { job: 'team/webapi', parameters: { COMMIT: '{{commit}}' } },
        },
      ],
    })
    const push = fixture('github/push')
    const send = (event: string, payload: object, id: string) => {
      const body = JSON.stringify(payload)
      const headers = githubHeaders(event, SECRET, body, id)
      return deliver(server.port, '/webhooks/github', headers, body)
    }
    const { body } = await send('push', push, 'd1')
    const [hub = '', butler = ''] = body.events as string[]
    t.ok(await until(() => github.runs.length === 1 && jenkins.items.length === 1))
    const commit = String(push.after)
    t.match(github.runs[0]?.inputs, { commit: commit.slice(0, 12), crosscloud_event_id: hub })
    t.match(jenkins.items[0]?.parameters, { COMMIT: commit, CROSSCLOUD_EVENT_ID: butler })
    t.ok(await until(() => github.statuses.length === 1))
    t.match(github.statuses[0], { sha: commit, body: { state: 'pending' } })

    const run = fixture('github/workflow_run') as { workflow_run: object }
    const display_title = `deliver for event ${hub}`
    const ended = { ...run.workflow_run, display_title, conclusion: 'failure' }
    await send('workflow_run', { ...run, workflow_run: ended }, 'd2')
    t.ok(await until(() => github.statuses.length === 2))
    t.match(github.statuses[1], { sha: commit, body: { state: 'failure' } })
    const again = await send('workflow_run', { ...run, workflow_run: ended }, 'd3')
    t.match(again, { status: 200, body: { duplicate: true } }, 'the same under another id')
    t.match(await send('workflow_run', { ...run, workflow_run: ended }, 'd2'), { status: 200 })
    await sleep(300)
    t.equal(github.statuses.length, 2, 'its end is reported once')
  },
)
