import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import {
  fixture,
  gitea,
  giteaDelivery,
  githubHeaders,
  SIGNING_SECRET,
  standardHeaders,
} from '../support/data/signatures.ts'
import { DELIVERY_TOKEN, startDeliveryGitlab } from '../support/platforms/delivery-gitlab.ts'
import { fetchText } from '../support/servers/http.ts'
import { missingProgram } from '../support/servers/server.ts'
import { deliver, startQueueRedis, startWebhookServer } from '../support/servers/webhooks.ts'

const SECRET = 'a-secret-of-the-test-1'
const skip = missingProgram('redis-server', 'redis-cli')
const RUNS = Number(process.env.FC_RUNS ?? 2000)
const text = (value: unknown) => JSON.stringify(value)
const push = text(fixture('gitlab/push'))

t.test('a server responds to senders and operators as documented', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const gitlab = await startDeliveryGitlab(t)
  const source = { secrets: [SECRET, SIGNING_SECRET], projects: ['team/*'] }
  const server = await startWebhookServer(
    t,
    {
      queue: { redis: redis.url },
      gitlab: { ...source, url: gitlab.url, token: '${GITLAB_TOKEN}' },
      github: { secrets: [SECRET, gitea.secret], projects: ['team/*'] },
      gitea: { secrets: [gitea.secret], projects: ['team/*'], url: 'https://gitea.example.com' },
      harbor: { secrets: [SECRET], projects: ['team/*'] },
      generic: { ci: { ...source, secrets: [SIGNING_SECRET], facts: { project: '/repo/path' } } },
      notify: {
        nobody: { kind: 'webhook', url: 'http://127.0.0.1:9', secret: SECRET, on: ['drift'] },
      },
      routes: [
        { name: 'webapi', source: 'gitlab', branches: ['main'], pipeline: {} },
        { name: 'hub', source: 'github', on: ['push', 'tag'], notify: ['nobody'] },
        { name: 'tea', source: 'gitea', on: ['push', 'tag'], notify: ['nobody'] },
        { name: 'images', source: 'harbor', on: ['artifact'], notify: ['nobody'] },
        { name: 'own', source: 'ci', on: ['custom'], notify: ['nobody'] },
      ],
    },
    { env: { GITLAB_TOKEN: DELIVERY_TOKEN } },
  )
  const { port } = server
  const send = (path: string, headers: Record<string, string>, body = push) =>
    deliver(port, `/webhooks/${path}`, headers, body)
  const metric = async (name: string) => {
    const { body } = await fetchText(`http://127.0.0.1:${port}/metrics`)
    return Number(
      body
        .split('\n')
        .find((line) => line.startsWith(name))
        ?.split(' ')
        .at(-1) ?? 0,
    )
  }
  const outcome = (name: string, what: string) =>
    metric(`crosscloud_deliveries_total{source="${name}",outcome="${what}"}`)

  await t.test('a sender without the secret gets 401, and is counted', async (t) => {
    const seconds = Math.floor(Date.now() / 1000)
    const refusals: [string, Record<string, string>, string][] = [
      ['gitlab', {}, 'missing'],
      ['gitlab', { 'x-gitlab-token': 'guess' }, 'wrong'],
      ['gitlab', standardHeaders(push, { seconds: seconds - 400 }), 'stale'],
      ['gitlab', { ...standardHeaders(push), 'webhook-id': 'another' }, 'wrong'],
      ['github', githubHeaders('push', 'x'.repeat(20), push), 'wrong'],
      ['github', { 'x-github-event': 'push' }, 'missing'],
      ['harbor', { authorization: 'x' }, 'wrong'],
      ['harbor', {}, 'missing'],
      ['generic/ci', standardHeaders('other'), 'wrong'],
      ['generic/ci', {}, 'missing'],
      ['generic/ci', standardHeaders(push, { seconds: seconds + 400 }), 'stale'],
    ]
    for (const [path, headers, why] of refusals) {
      const name = path.replace('generic/', '')
      const before = await outcome(name, why)
      t.match(
        await send(path, headers),
        { status: 401, body: { error: /signature/ } },
        `${path} ${why}`,
      )
      t.equal(await outcome(name, why), before + 1, 'counted')
    }
    const body = text(fixture('github/push'))
    t.match(await send('github', githubHeaders('push', SECRET, body), body), { status: 202 })
    t.match(
      await send('github', githubHeaders('push', SECRET, body), body),
      { status: 200 },
      'again',
    )
    t.equal(gitlab.pipelines.length, 0, 'and nothing was started')
  })

  await t.test('the same content under another id does nothing twice', async (t) => {
    const body = text(fixture('github/push'))
    const before = await outcome('github', 'accepted')
    t.strictSame(
      await send('github', githubHeaders('push', SECRET, body, 'another-id'), body),
      { status: 200, body: { duplicate: true } },
      'a second webhook, or one that delivers again',
    )
    t.equal(await outcome('github', 'accepted'), before)
  })

  await t.test('each source gets the response that its payload calls for', async (t) => {
    const token = { 'x-gitlab-token': SECRET }
    const key = (name: string) => ({ ...token, 'idempotency-key': name })
    t.match(await send('gitlab', key('a')), { status: 202, body: { events: [/^[0-9a-z]{21}$/] } })
    t.strictSame(await send('gitlab', key('a')), { status: 200, body: { duplicate: true } })
    const signed = await send('gitlab', standardHeaders(push, { id: 'm1' }))
    t.match(signed, { status: 202 }, 'signed')
    const requests: [string, Record<string, string>, unknown, object][] = [
      [
        'gitlab',
        key('b'),
        fixture('gitlab/push-deleted'),
        { status: 200, body: { ignored: /deleted/ } },
      ],
      [
        'gitlab',
        key('c'),
        fixture('gitlab/tag_push'),
        { status: 200, body: { ignored: /no route/ } },
      ],
      [
        'gitlab',
        key('d'),
        { object_kind: 'push' },
        { status: 400, body: { error: /project is required/ } },
      ],
      ['harbor', { authorization: SECRET }, fixture('harbor/push_artifact'), { status: 202 }],
      [
        'generic/ci',
        standardHeaders(text(fixture('generic/plain'))),
        fixture('generic/plain'),
        { status: 202 },
      ],
    ]
    for (const [path, headers, payload, expected] of requests) {
      t.match(await send(path, headers, text(payload)), expected, path)
    }
    t.match(await send('gitlab', key('e'), '{'), { status: 400, body: { error: /no JSON/ } })
    const foreign = text({
      ...fixture('gitlab/push'),
      project: { path_with_namespace: 'other/app' },
    })
    t.match(await send('gitlab', key('f'), foreign), { status: 403 })
    const image = fixture('harbor/push_artifact')
    const elsewhere = { ...(image.event_data as object), repository: { repo_full_name: 'x/app' } }
    t.match(
      await send('harbor', { authorization: SECRET }, text({ ...image, event_data: elsewhere })),
      { status: 200, body: { ignored: /not listened to/ } },
      'Harbor would send it again and again',
    )
    t.match(await send('nothing', token), { status: 404 })
    t.match(await send('generic/other', token), { status: 404 })
    const long = Buffer.alloc(6 * 1024 * 1024, 'x').toString()
    const tooLong = await send('gitlab', token, long).catch(() => ({ status: 413 }))
    t.match(tooLong, { status: 413 })
    for (let tries = 0; gitlab.pipelines.length < 2 && tries < 100; tries++) await sleep(50)
    t.match(gitlab.pipelines, [{ ref: 'main' }, { ref: 'main' }])
  })

  await t.test(
    'a delivery of Gitea and its redelivery get the response that the payload calls for',
    async (t) => {
      t.match(server.running.output(), 'gitea: what is pushed while no server listens')
      const answers: [string, object][] = [
        ['push-first', { status: 202 }],
        ['redelivery-of-push-first', { status: 200, body: { duplicate: true } }],
        ['test-delivery', { status: 200, body: { ignored: /test delivery/ } }],
        ['test-delivery-again', { status: 200, body: { ignored: /test delivery/ } }],
        ['redelivery-of-one-that-failed', { status: 202 }],
        ['push-tag-annotated', { status: 202 }],
        ['content-type-form', { status: 200, body: { ignored: /test delivery/ } }],
        ['no-secret', { status: 401, body: { error: /missing/ } }],
        ['wrong-secret', { status: 401, body: { error: /wrong/ } }],
        ['type-slack', { status: 400, body: { error: /the payload: repository is required/ } }],
        ['push-after-transfer', { status: 403 }],
      ]
      for (const [name, expected] of answers) {
        const { headers, body } = giteaDelivery(name)
        t.match(await send('gitea', headers, body), expected, name)
      }
      const { headers, body } = giteaDelivery('push-one-commit')
      const elsewhere = { status: 400, body: { error: /its address is \/webhooks\/gitea/ } }
      t.match(await send('github', headers, body), elsewhere)
    },
  )

  await t.test('1,000 duplicates at once make one job', async (t) => {
    const before = await outcome('gitlab', 'accepted')
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': 'many' }
    const one = async () => {
      for (let n = 0; n < 50; n++) await send('gitlab', headers)
    }
    await Promise.all(Array.from({ length: 20 }, one))
    t.equal(await outcome('gitlab', 'accepted'), before + 1)
    await sleep(500)
    t.equal(gitlab.pipelines.length, 3, 'one more')
  })

  await t.test('mutated bodies never cause an error of the server', async (t) => {
    const bodies = [
      'gitlab/push',
      'gitlab/pipeline',
      'gitlab/note-merge_request',
      'gitlab/merge_request',
    ].map((name) => text(fixture(name)))
    const statuses = new Map<number, number>()
    const cut = fc.record({
      body: fc.constantFrom(...bodies),
      at: fc.nat(),
      length: fc.nat(40),
      put: fc.oneof(
        fc.string({ maxLength: 20 }),
        fc.constantFrom('null', '[]', '{}', '-1', '1e999', '"\\u0000"', '"__proto__"', '\ud800'),
      ),
    })
    const bytes = fc.sample(
      fc.oneof(
        {
          weight: 4,
          arbitrary: cut.map(({ body, at, length, put }) =>
            Buffer.from(
              body.slice(0, at % body.length) + put + body.slice((at % body.length) + length),
            ),
          ),
        },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((one) => Buffer.from(one)) },
        { weight: 1, arbitrary: fc.jsonValue().map((one) => Buffer.from(text(one))) },
      ),
      RUNS,
    )
    const types = ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'x']
    let next = 0
    const sender = async () => {
      for (let n = next++; n < bytes.length; n = next++) {
        const content = bytes[n] as Buffer
        const signature =
          n % 2 === 0 ? { 'x-gitlab-token': SECRET } : standardHeaders(content, { id: `${n}` })
        const headers = { ...signature, 'content-type': types[n % 4] ?? '' }
        const { status } = await deliver(port, '/webhooks/gitlab', headers, content)
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: 20 }, sender))
    t.comment(
      `answers: ${[...statuses].map(([status, count]) => `${status}: ${count}`).join(', ')}`,
    )
    t.equal([...statuses.keys()].filter((status) => status >= 500).length, 0)
    t.ok(
      (statuses.get(400) ?? 0) > RUNS / 10 && statuses.has(202),
      'many were wrong, some were right',
    )
    t.equal(server.running.child.exitCode, null, 'it lives')
  })

  await t.test('an operator reads health, readiness and metrics', async (t) => {
    t.match(await fetchText(`http://127.0.0.1:${port}/healthz`), { status: 200, body: /alive/ })
    t.match(await fetchText(`http://127.0.0.1:${port}/readyz`), { status: 200, body: /true/ })
    const { body } = await fetchText(`http://127.0.0.1:${port}/metrics`)
    t.match(body, /crosscloud_events\{state="dead"\} \d/)
    t.match(body, /crosscloud_events_total\{route="webapi",end="done"\} \d/)
    t.match(body, 'process_resident_memory_bytes')
    await redis.stop()
    const headers = { 'x-gitlab-token': SECRET, 'idempotency-key': 'redis-is-down' }
    t.match(await send('gitlab', headers), { status: 503, body: { error: /send it again/ } })
    t.match(await fetchText(`http://127.0.0.1:${port}/readyz`), {
      status: 503,
      body: /does not answer/,
    })
    await redis.start()
    for (let tries = 0; tries < 100; tries++) {
      if ((await send('gitlab', headers)).status !== 503) break
      await sleep(100)
    }
    t.match(await send('gitlab', headers), { status: 200 }, 'it was taken when Redis was back')
    await server.kill('SIGTERM')
    const { code, stdout } = await server.running.finished
    t.equal(code, 0)
    t.match(stdout, /stopping[\s\S]*stopped/)
    const all = server.running.output()
    for (const one of [SECRET, SIGNING_SECRET, DELIVERY_TOKEN]) t.notMatch(all, one, 'no secret')
  })
})
