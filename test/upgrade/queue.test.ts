import t, { type Test } from 'tap'
import { runCli } from '../support/cli.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../support/platforms/delivery-gitlab.ts'
import { missingProgram } from '../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../support/servers/webhooks.ts'
import { until } from '../support/until.ts'
import { installReleased, releasedVersions } from './released.ts'

const SECRET = 'a-secret-of-the-test-1'
/** Settings below `queue:` that a version knows. */
const queueSettings: Readonly<Record<string, object>> = { '0.1.0': { takeover: '2s' } }

t.setTimeout(300_000)
const skip = missingProgram('redis-server', 'redis-cli')
for (const version of releasedVersions) {
  t.test(`events that a server of ${version} left behind are worked on`, { skip }, (t) =>
    goesOn(t, version),
  )
}

async function goesOn(t: Test, version: string): Promise<void> {
  const program = await installReleased(t, version)
  const { gitlab, redis, settings, startedOn, wait } = await startGitlab(t)
  const queue = { redis: redis.url, ...queueSettings[version] }
  const before = await startWebhookServer(t, { ...settings, queue }, { program })
  const ports = { before: before.port, now: 0 }
  const push = async (server: 'before' | 'now', branch: string, number: number) => {
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': `${branch}-${number}` }
    const { status } = await deliver(
      ports[server],
      '/webhooks/gitlab',
      headers,
      pushOf(branch, number),
    )
    return status
  }
  t.equal(await push('before', 'done', 1), 202)
  await wait('a pipeline was started', () => startedOn('done').length === 1)
  gitlab.faults.push(400)
  await push('before', 'refused', 1)
  await wait('a pipeline was refused', () => gitlab.faults.length === 0)

  let letGo = () => {}
  const held = new Promise<void>((resolve) => {
    letGo = resolve
  })
  let reached = 0
  gitlab.meanwhile = async (request) => {
    if (!request.startsWith('POST')) return
    reached++
    await held
  }
  for (const number of [1, 2, 3]) await push('before', 'busy', number)
  await push('before', 'other', 1)
  await wait('two pipelines are being started', () => reached === 2)
  await before.kill('SIGKILL')
  letGo()

  const now = await startWebhookServer(t, {
    ...settings,
    queue: { redis: redis.url, 'stalled-timeout': '2s' },
  })
  ports.now = now.port
  const cli = (...args: string[]) => runCli([...args, '--json'], { cwd: now.folder })

  await t.test('each once, in the order of its branch', async (t) => {
    await wait(
      'four pipelines were started',
      () => startedOn('busy').length >= 3 && startedOn('other').length >= 1,
    )
    t.strictSame(startedOn('busy'), ['1', '2', '3'])
    t.strictSame(startedOn('other'), ['1'])
  })

  await t.test('a delivery that was taken before starts nothing', async (t) => {
    t.equal(await push('now', 'done', 1), 200)
    t.equal(await push('now', 'busy', 2), 200)
  })

  await t.test('a dead event is listed, and retried', async (t) => {
    const { stdout } = await cli('events', 'list', '--state', 'dead')
    t.match(JSON.parse(stdout), { events: [{ state: 'dead', route: 'webapi' }] })
    t.match(await cli('events', 'retry', '--dead'), { code: 0 })
    await wait('its pipeline was started', () => startedOn('refused').length === 1)
  })

  await t.test('servers of both versions share the events', async (t) => {
    await before.start()
    const numbers = Array.from({ length: 20 }, (_, index) => index + 1)
    for (const number of numbers) {
      for (const branch of ['one', 'two']) {
        const status = await push(number % 2 === 0 ? 'now' : 'before', branch, number)
        t.equal(status, 202)
      }
    }
    await wait(
      'all pipelines were started',
      () => [...startedOn('one'), ...startedOn('two')].length >= 2 * numbers.length,
    )
    for (const branch of ['one', 'two']) t.strictSame(startedOn(branch), numbers.map(String))
    await before.kill('SIGTERM')
  })
  const all = Object.entries({ done: 1, refused: 1, busy: 3, other: 1, one: 20, two: 20 })
  const counts = all.map(([branch]) => [branch, startedOn(branch).length])
  t.strictSame(counts, all, 'none was started twice')
}

async function startGitlab(t: Test) {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  return {
    gitlab,
    redis,
    settings: {
      gitlab: { secrets: [SECRET], projects: ['team/*'], url: gitlab.url, token: DELIVERY_TOKEN },
      routes: [
        { name: 'webapi', source: 'gitlab', pipeline: { variables: { TITLE: '{{title}}' } } },
      ],
    },
    /** The numbers of the pushes whose pipelines were started. */
    startedOn: (branch: string) =>
      gitlab.pipelines
        .filter(({ ref }) => ref === branch)
        .map(({ variables }) => variables.TITLE ?? ''),
    async wait(event: string, hasHappened: () => boolean) {
      t.ok(await until(hasHappened, 120_000), event)
    },
  }
}

/** A push of one commit, whose title is its number. */
function pushOf(branch: string, number: number): string {
  const sha = number.toString(16).padStart(40, '0')
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
    commits: [{ id: sha, title: String(number) }],
  })
}
