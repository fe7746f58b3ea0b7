import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { fixture, githubHeaders } from '../../support/data/signatures.ts'
import {
  DELIVERY_TOKEN,
  type Push,
  startDeliveryGitlab,
} from '../../support/platforms/delivery-gitlab.ts'
import { GITHUB_TOKEN, startGithub } from '../../support/platforms/github.ts'
import { fetchText } from '../../support/servers/http.ts'
import { missingProgram } from '../../support/servers/server.ts'
import {
  deliver,
  knownForAnHour,
  type QueueRedis,
  startQueueRedis,
  startWebhookServer,
  type WebhookServer,
} from '../../support/servers/webhooks.ts'
import { until } from '../../support/until.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')
const MINUTES = 60_000

/** `a1` → a1a1…: a commit of a test. */
const sha = (name: string) => name.padEnd(40, name)
const pushed = (branch: string, before: string, after: string, age = 10 * MINUTES): Push => {
  const of = (name: string) => (name === '' ? null : sha(name))
  return { branch, before: of(before), after: of(after), age }
}

/** The settings of a server that is asked for pushes that it could not deliver. */
const caughtUp = ({ url }: { url: string }, token: string, projects: string[]) => ({
  secrets: [SECRET],
  projects,
  'catch-up': true,
  url,
  token,
})

interface HookOptions {
  /** What changed. */
  file?: string
  of?: string
}

t.test('a backfill accepts the pushes that GitLab could not deliver', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  gitlab.hooks = [
    { id: 1, url: 'https://other.example.com/hook', alert_status: 'disabled' },
    { id: 2, url: 'https://h.example.com/webhooks/gitlab', alert_status: 'temporarily_disabled' },
    { id: 3, url: 'https://h.example.com/webhooks/gitlab', alert_status: 'executable' },
  ]
  gitlab.pushes = [pushed('main', '00', '01', 2000 * MINUTES)]
  await knownForAnHour(redis, 'gitlab team/webapi')
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url },
    gitlab: caughtUp(gitlab, DELIVERY_TOKEN, ['team/webapi', 'others/*']),
    routes: [
      {
        name: 'a',
        source: 'gitlab',
        on: ['push', 'tag'],
        paths: ['src/**'],
        pipeline: { variables: { C: '{{short commit}}', T: '{{title}}', BY: '{{by}}' } },
      },
    ],
  })
  let key = 0
  const { project } = fixture('gitlab/push') as { project: object }
  const hook = (branch: string, before: string, after: string, more: HookOptions = {}) => {
    const { file = 'src/a.java', of = 'team/webapi' } = more
    const commits = [{ id: sha(after), title: 'a push', modified: [file] }]
    const body = {
      ...fixture('gitlab/push'),
      ref: `refs/heads/${branch}`,
      commits,
      total_commits_count: 1,
      before: sha(before),
      after: sha(after),
      checkout_sha: sha(after),
      project: { ...project, path_with_namespace: of },
    }
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': `k${++key}` }
    return deliver(server.port, '/webhooks/gitlab', headers, JSON.stringify(body))
  }
  const listed = () => gitlab.requests.filter((one) => one === 'GET team/webapi events').length
  const began = () => gitlab.pipelines.map(({ ref, variables }) => `${ref} ${variables.C}`)
  const others = { of: 'others/lib' }
  const lookAgain = () => lookAgainAfter(server, redis, () => {})

  t.ok(await until(() => gitlab.hooks[1]?.alert_status === 'executable'), 'it is woken')
  t.equal(gitlab.hooks[0]?.alert_status, 'disabled', 'others are not ours')
  t.equal(listed(), 1)
  t.strictSame(began(), [], 'what was pushed before there was a server is not asked for')

  t.equal((await hook('main', '01', '02')).status, 202)
  t.match(await hook('docs', '01', '02', { file: 'README' }), {
    body: { ignored: 'no route wants it' },
  })
  t.equal((await hook('main', '40', '41', others)).status, 202)
  t.ok(await until(() => began().length === 2))
  await knownForAnHour(redis, 'gitlab others/lib')
  gitlab.pushes.push(pushed('main', '01', '02'), pushed('docs', '01', '02'))
  await lookAgainAfter(server, redis, () => {
    gitlab.pushes.push(
      pushed('main', '02', '03'),
      pushed('main', '03', '04'),
      pushed('late', '01', '05'),
      pushed('gone', '', '06'),
      pushed('gone', '06', ''),
      { ...pushed('v1', '', 'ff'), tag: true, after: `ffffffff${sha('7').slice(8)}` },
      pushed('rewritten', '01', '08'),
      pushed('skipped', '01', '0a'),
      pushed('young', '', '09', 1 * MINUTES),
      { ...pushed('main', '41', '42'), project: 'others/lib' },
      { ...pushed('main', '50', '51'), project: 'others/never-heard-of' },
    )
    gitlab.gone.add(sha('08'))
    gitlab.bodies.set(sha('0a'), '[skip ci]')
  })
  const wanted = [
    'main 030303030303',
    'main 040404040404',
    'late 050505050505',
    'v1 000000007777',
    'main 424242424242',
  ]
  t.ok(await until(() => began().length === 7), began().join('\n'))
  t.strictSame(began().slice(2).sort(), wanted.sort())
  const main = gitlab.pipelines.filter((one) => one.ref === 'main' && one.project === 'team/webapi')
  t.match(main.at(-1)?.variables, { C: '040404040404', T: `title of ${sha('04')}`, BY: 'li' })
  t.match(server.running.output(), /team\/webapi: 4 of its pushes had not been delivered/)
  t.match(server.running.output(), /0808080808, pushed to rewritten and never delivered, is gone/)

  const metrics = await fetchText(`http://127.0.0.1:${server.port}/metrics`)
  t.match(metrics.body, 'crosscloud_deliveries_total{source="gitlab",outcome="recovered"} 5')

  t.match(await hook('late', '01', '05'), { status: 200, body: { duplicate: true } }, 'it was late')
  t.equal((await hook('late', '01', '05')).status, 202, 'somebody did the same once more')
  t.ok(await until(() => began().length === 8))

  // What came through is newer than what did not.
  t.equal((await hook('main', '10', '11')).status, 202)
  t.ok(await until(() => began().length === 9))
  gitlab.pushes.push(
    pushed('main', '04', '10', 9 * MINUTES),
    pushed('main', '10', '11', 8 * MINUTES),
  )
  for (const push of gitlab.pushes) push.age += 5 * MINUTES
  await lookAgain()
  t.ok(await until(() => began().length === 10))
  t.equal(began().at(-1), 'young 090909090909', 'it was young, and is not any more')
  await lookAgain()
  await sleep(500)
  t.equal(began().length, 10, 'nothing twice')
  t.notOk(
    gitlab.requests.some((one) => one.includes('never-heard-of')),
    'nobody asks about it',
  )
})

t.test('a push that is delivered during a backfill counts as newer', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  await knownForAnHour(redis, 'gitlab team/webapi')
  gitlab.pushes = [pushed('main', '01', '02'), pushed('docs', '01', '07')]
  let answer: { status: number } | undefined
  gitlab.meanwhile = async (asked) => {
    if (asked !== `GET team/webapi repository commits ${sha('02')}` || answer) return
    const body = JSON.stringify({
      ...fixture('gitlab/push'),
      ref: 'refs/heads/main',
      before: sha('02'),
      after: sha('03'),
      checkout_sha: sha('03'),
    })
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': 'k1' }
    answer = await deliver(server.port, '/webhooks/gitlab', headers, body)
    gitlab.pushes.push(pushed('main', '02', '03', 0))
  }
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url },
    gitlab: caughtUp(gitlab, DELIVERY_TOKEN, ['team/webapi']),
    routes: [{ name: 'a', source: 'gitlab', pipeline: { variables: { C: '{{short commit}}' } } }],
  })
  const began = () => gitlab.pipelines.map(({ ref, variables }) => `${ref} ${variables.C}`)
  t.ok(await until(() => began().length === 1))
  t.match(answer, { status: 202 })
  await lookAgainAfter(server, redis, () => {})
  t.ok(await until(() => began().length === 2))
  t.strictSame(began(), ['main 030303030303', 'docs 070707070707'], 'not 02 over 03')
})

/** Stops the server, does what is to happen meanwhile, and has it ask at once when it is back. */
async function lookAgainAfter(
  server: WebhookServer,
  redis: QueueRedis,
  meanwhile: () => void,
): Promise<void> {
  await server.kill('SIGTERM')
  meanwhile()
  await redis.cli('del', '{crosscloud:crosscloud}:catch-up')
  await server.start()
}

t.test('a GitLab that refuses is logged once, and stops no other project', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  gitlab.hooks = [{ id: 2, url: 'https://h/webhooks/gitlab', alert_status: 'disabled' }]
  gitlab.faults.push(422)
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url },
    gitlab: caughtUp(gitlab, DELIVERY_TOKEN, ['team/webapi', 'team/other']),
    routes: [{ name: 'a', source: 'gitlab', pipeline: {} }],
  })
  t.ok(await until(() => gitlab.requests.includes('GET team/other events')))
  await server.running.until('Press Test on its page')
  t.match(server.running.output(), /GitLab has stopped the webhook after failures; .* answers 422/)
  gitlab.down = true
  await lookAgainAfter(server, redis, () => {})
  await server.running.until('GitLab does not answer')
  t.notMatch(server.running.output(), DELIVERY_TOKEN)
})

t.test('a backfill accepts the pushes that GitHub could not deliver', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const workflows = { 'deliver.yml': { inputs: ['commit', 'crosscloud_event_id'] } }
  const github = await startGithub(t, { repository: 'team/webapi', workflows })
  github.activity = [pushed('main', '00', '01', 2000 * MINUTES)]
  github.pageSize = 2
  await knownForAnHour(redis, 'github team/webapi')
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url },
    github: caughtUp(github, GITHUB_TOKEN, ['team/webapi']),
    routes: [
      {
        name: 'a',
        source: 'github',
        workflow: { workflow: 'deliver.yml', inputs: { commit: '{{commit}}' } },
      },
    ],
  })
  const began = () => github.runs.map(({ inputs }) => inputs.commit)
  t.ok(await until(() => github.requests.some((one) => one.includes('/activity'))))
  const body = JSON.stringify({
    ...fixture('github/push'),
    before: sha('01'),
    after: sha('02'),
  })
  const headers = githubHeaders('push', SECRET, body)
  t.equal((await deliver(server.port, '/webhooks/github', headers, body)).status, 202)
  t.ok(await until(() => began().length === 1))
  await lookAgainAfter(server, redis, () => {
    github.activity.push(
      pushed('main', '01', '02'),
      pushed('main', '02', '03'),
      pushed('gone', '', '04'),
      pushed('gone', '04', ''),
      pushed('main', '03', '05'),
    )
  })
  t.ok(await until(() => began().length === 3))
  t.strictSame(began(), [sha('02'), sha('03'), sha('05')])
})

t.test('no push is lost when senders try once and a server and Redis die', { skip }, async (t) => {
  const [branches, pushes] = [8, 240]
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  await knownForAnHour(redis, 'gitlab team/webapi')
  const server = await startWebhookServer(t, {
    queue: { redis: redis.url, 'stalled-timeout': '2s' },
    gitlab: caughtUp(gitlab, DELIVERY_TOKEN, ['team/*']),
    routes: [{ name: 'a', source: 'gitlab', pipeline: { variables: { C: '{{commit}}' } } }],
  })
  const shaOf = (number: number) => `a${number.toString(16).padStart(39, '0')}`
  const accepted: string[] = []
  const once = async (number: number) => {
    const [before, after] = [shaOf(number - branches), shaOf(number)]
    const branch = `branch-${number % branches}`
    gitlab.pushes.push({ branch, before, after, age: 10 * MINUTES })
    const body = JSON.stringify({
      ...fixture('gitlab/push'),
      ref: `refs/heads/${branch}`,
      commits: [],
      before,
      after,
      checkout_sha: after,
    })
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': `k${number}` }
    const answer = await deliver(server.port, '/webhooks/gitlab', headers, body).catch(
      () => undefined,
    )
    if (answer?.status === 202) accepted.push(after)
  }
  const trouble: Record<number, () => Promise<unknown>> = {
    40: () => server.kill('SIGKILL'),
    80: () => server.start(),
    120: () => redis.stop('SIGKILL'),
    160: () => redis.start(),
    220: () => server.kill('SIGKILL'),
  }
  for (let number = 0; number < pushes; number++) {
    await trouble[number]?.()
    await once(number + branches)
  }
  t.ok(
    accepted.length > 60 && accepted.length < 200,
    `${accepted.length} of ${pushes} came through`,
  )
  await redis.cli('del', '{crosscloud:crosscloud}:catch-up')
  await server.start()
  const commits = (branch: number) =>
    gitlab.pipelines
      .filter(({ ref }) => ref === `branch-${branch}`)
      .map(({ variables }) => variables.C ?? '')
  const heads = Array.from({ length: branches }, (_, branch) => shaOf(pushes + branch))
  await until(() => heads.every((head, branch) => commits(branch).at(-1) === head))
  for (const [branch, head] of heads.entries()) {
    const found = commits(branch)
    t.equal(found.at(-1), head, `branch ${branch} is where it was pushed to`)
    t.strictSame(found, [...new Set(found)].sort(), 'in order, none twice')
  }
  const all = new Set(gitlab.pipelines.map(({ variables }) => variables.C))
  t.ok(
    accepted.every((commit) => all.has(commit)),
    'what was accepted was done',
  )
})
