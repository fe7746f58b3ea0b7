import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { runCli } from '../../support/cli.ts'
import { fixture } from '../../support/data/signatures.ts'
import {
  DELIVERY_TOKEN,
  type DeliveryGitlab,
  startDeliveryGitlab,
} from '../../support/platforms/delivery-gitlab.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../../support/servers/webhooks.ts'
import { until } from '../../support/until.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')

/** The push number `n` of a branch. */
function push(branch: string, n: number): string {
  const commit = n.toString(16).padStart(40, '0')
  const commits = [{ id: commit, title: `${n}` }]
  const after = { after: commit, checkout_sha: commit, commits, total_commits_count: 1 }
  return JSON.stringify({ ...fixture('gitlab/push'), ref: `refs/heads/${branch}`, ...after })
}

const titlesOn = ({ pipelines }: DeliveryGitlab, branch: string) =>
  pipelines.filter(({ ref }) => ref === branch).map(({ variables }) => variables.TITLE)

t.test('events of a partition are worked on in order', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  const pipeline = { variables: { TITLE: '{{title}}' } }
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url, 'stalled-timeout': '2s' },
    gitlab: { secrets: [SECRET], projects: ['**'], url: gitlab.url, token: DELIVERY_TOKEN },
    routes: [
      { name: 'each', source: 'gitlab', branches: ['each-*'], pipeline },
      { name: 'newest', source: 'gitlab', branches: ['newest'], pipeline, supersede: true },
      {
        name: 'elsewhere',
        source: 'gitlab',
        branches: ['elsewhere'],
        paths: ['src/**'],
        pipeline: { project: 'ops/delivery', ref: 'main', 'trigger-token': DELIVERY_TOKEN },
      },
    ],
  })
  const cwd = server.folder
  const events = async (...args: string[]) => runCli(['events', ...args], { cwd })
  const list = async (state: string) => {
    const { stdout } = await events('list', '--state', state, '--json')
    return (JSON.parse(stdout) as { events: { id: string; facts: { title: string } }[] }).events
  }
  const logged = (words: RegExp) => server.running.output().match(words)?.length ?? 0
  let key = 0
  const send = async (branch: string, n: number) => {
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': `k${++key}` }
    const { body } = await deliver(server.port, '/webhooks/gitlab', headers, push(branch, n))
    return String((body.events as string[] | undefined)?.[0])
  }

  await t.test(
    'while GitLab is down events wait, and all arrive afterwards in order',
    async (t) => {
      gitlab.down = true
      for (let n = 1; n <= 5; n++) for (const one of ['a', 'b', 'c']) await send(`each-${one}`, n)
      await until(() => server.running.output().includes('tried again at'))
      t.equal(gitlab.pipelines.length, 0)
      t.match((await events('list')).stdout, /waiting +each +push +team\/webapi +each-a/)
      gitlab.down = false
      t.ok(await until(() => gitlab.pipelines.length >= 15))
      for (const one of ['a', 'b', 'c']) {
        t.strictSame(titlesOn(gitlab, `each-${one}`), ['1', '2', '3', '4', '5'])
      }
    },
  )

  await t.test('a newer push supersedes those that wait, where the route says so', async (t) => {
    gitlab.down = true
    for (let n = 1; n <= 4; n++) await send('newest', n)
    gitlab.down = false
    t.ok(await until(() => titlesOn(gitlab, 'newest').includes('4')))
    // The first may be under way already when the second comes; what waits never goes on.
    const started = titlesOn(gitlab, 'newest').filter((title) => title !== '1')
    t.strictSame(started, ['4'])
    const superseded = (await list('superseded')).map(({ facts }) => facts.title)
    t.strictSame(
      superseded.filter((title) => title !== '1'),
      ['3', '2'],
      'newest first',
    )
  })

  await t.test(
    'an event that GitLab refuses is a dead letter until a person decides',
    async (t) => {
      gitlab.faults.push(422, 422)
      const [first, second] = [await send('each-d', 1), await send('each-d', 2)]
      t.ok(await until(() => logged(/ failed: starting a pipeline/g) === 2))
      t.equal((await list('dead')).length, 2)
      const shown = (await events('show', first)).stdout
      t.match(shown, /dead[\s\S]*push of team\/webapi each-d[\s\S]*GitLab refuses it \(422\)/)
      t.match(await events('retry', first), { code: 0, stdout: /1 event will be worked on again/ })
      t.ok(await until(() => titlesOn(gitlab, 'each-d').length === 1))
      t.match(await events('retry', first), { code: 1, stderr: /is done: it cannot be retried/ })
      const drop = await events('drop', second, '--reason', 'released by hand')
      t.match(drop, { code: 0, stdout: /1 event given up/ })
      t.match((await events('show', second)).stdout, /dropped it: released by hand/)
      t.match(await events('show', '0123456789ab'), { code: 1, stderr: /there is no event/ })
      t.match(await events('show', '../x'), { code: 2, stderr: /is not the id of an event/ })
      t.match(await events('retry', '--dead'), { code: 0, stdout: /None is dead/ })
      t.strictSame(await list('dead'), [])
    },
  )

  await t.test(
    'an event waits for a new token, and a lost response starts nothing twice',
    async (t) => {
      gitlab.faults.push(401, 'lost')
      const id = await send('each-e', 1)
      t.ok(await until(() => logged(new RegExp(`${id}: pipeline \\d+ was started`, 'g')) === 1))
      t.strictSame(titlesOn(gitlab, 'each-e'), ['1'])
      t.match(
        (await events('show', id)).stdout,
        /Failed +2 times[\s\S]*pipeline \d+ was started: http/,
      )
    },
  )

  await t.test('an event whose wake-up job expires meanwhile is given back', async (t) => {
    const asked = () => gitlab.requests.filter((request) => / pipelines?$/.test(request))
    const before = asked().length
    gitlab.meanwhile = async (request) => {
      if (!request.endsWith(' pipelines') || asked().length > before + 1) return
      for (const key of (await redis.cli('keys', '*:calls:*:lock')).split('\n')) {
        await redis.cli('del', key)
      }
    }
    // The second attempt looks for what the first one may have started.
    gitlab.faults.push(502)
    const id = await send('each-g', 1)
    t.ok(await until(() => logged(new RegExp(`${id}: pipeline \\d+ was started`, 'g')) === 1))
    const look = 'GET team/webapi pipelines'
    t.strictSame(asked().slice(before), [look, look, 'POST team/webapi pipeline'])
    t.match(server.running.output(), `${id}: another worker may work on this event by now`)
    t.match((await events('show', id)).stdout, /Failed +once/, 'that is no failure')
  })

  await t.test('a route starts a pipeline of another project by its trigger', async (t) => {
    t.equal(await send('elsewhere', 1), 'undefined', 'no file below src')
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': 'elsewhere' }
    const body = { ...fixture('gitlab/push'), ref: 'refs/heads/elsewhere' }
    await deliver(server.port, '/webhooks/gitlab', headers, JSON.stringify(body))
    const of = () => gitlab.pipelines.filter(({ project }) => project === 'ops/delivery')
    t.ok(await until(() => of().length === 1))
    const variables = { CROSSCLOUD_EVENT_PROJECT: 'team/webapi', CROSSCLOUD_EVENT_BY: 'li' }
    t.match(of(), [{ ref: 'main', variables }])
  })

  await t.test(
    'after SIGTERM a running event ends, and waiting events are there after the next start',
    async (t) => {
      gitlab.delay = () => 1000
      await send('each-f', 1)
      await send('each-f', 2)
      await until(() => server.running.output().includes('each for push of team/webapi each-f'))
      await sleep(300)
      await server.kill('SIGTERM')
      t.equal((await server.running.finished).code, 0)
      gitlab.delay = () => 0
      await server.start()
      t.ok(await until(() => titlesOn(gitlab, 'each-f').length === 2))
      await sleep(500)
      t.strictSame(titlesOn(gitlab, 'each-f'), ['1', '2'])
    },
  )
})
