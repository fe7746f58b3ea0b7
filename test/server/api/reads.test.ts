import t from 'tap'
import { digestOf, release, start } from '../../ledger/conformance/samples.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { until } from '../../support/until.ts'
import { repositorySettings, startWorld, type World } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')
const ENV = '/applications/webapi/environments'

async function fill({ ledger }: World) {
  for (const environment of ['test', 'production']) {
    await start(ledger, release('1.0.0'), environment).then(({ id }) =>
      ledger.endDeployment(id, { state: 'succeeded', verified: true, hosts: [] } as never),
    )
  }
  const place = { app: 'webapi', version: '1.0.0', by: 'li', identity: 'x' }
  await ledger.recordApproval({
    ...{ ...place, environment: 'production', digest: digestOf('image 1.0.0'), groups: [] },
    ...{ decision: 'approved', reason: 'tested', byMail: 'li@example.com' },
  })
  for (const environment of ['test', 'test', 'production']) {
    await ledger.mark({ ...place, environment, bad: true, reason: 'slow' })
  }
  await ledger.lock('webapi', 'production', 'li', 'stocktaking', 60_000)
}

if (skip) t.test('reads over HTTP', { skip }, async () => {})
else {
  t.test('what the ledger has, within the policy', async (t) => {
    const world = await startWorld(t)
    await fill(world)
    const get = async (place: string, by = 'li') => {
      const { status, body } = await world.ask('GET', place, { by })
      return { status, body }
    }
    const marks = await get(`${ENV}/test/marks?limit=1`)
    t.match(marks, { status: 200, body: { items: [{ bad: true, reason: 'slow' }], next: '1' } })
    t.match(await get(`${ENV}/test/marks?limit=1&cursor=1`), { body: { next: null } })
    t.match(await get(`${ENV}/production/locks`), {
      body: { items: [{ owner: 'li', reason: 'stocktaking' }], next: null },
    })
    t.match(await get(`${ENV}/test/locks`), { body: { items: [], next: null } })
    const whole = (await get('/applications/webapi/releases/1.0.0')).body
    t.match(whole, { release: { version: '1.0.0' }, approvals: [{ by: 'li' }] })
    t.equal((whole.deployments as unknown[]).length, 2)
    const part = (await get('/applications/webapi/releases/1.0.0', 'zhang')).body
    t.match(part, { approvals: [], deployments: [{ environment: 'test' }] })
    t.strictSame(
      [part.deployments, part.marks].map((list) => (list as unknown[]).length),
      [1, 2],
    )
    t.notMatch(JSON.stringify([whole, part]), /@example\.com/)
    t.match(await get('/events'), { status: 200, body: { items: [], next: null } })

    const all = (await get('/applications/webapi/report?since=7300d')).body
    const some = (await get('/applications/webapi/report?since=7300d', 'zhang')).body
    const places = (body: typeof all) =>
      (body.items as { environment: string }[]).map(({ environment }) => environment).sort()
    t.strictSame([places(all), places(some)], [['production', 'test'], ['test']])
    t.match(await get(`${ENV}/test/history?limit=5`), {
      ...{ status: 200 },
      body: { items: [{ environment: 'test', state: 'succeeded' }], next: null },
    })

    const { warMd5, digest, commit } = release('1.0.1')
    for (const thing of ['webapi@1.0.1', warMd5, commit ?? '', digest]) {
      const found = await get(`/applications/webapi/explain?thing=${encodeURIComponent(thing)}`)
      t.match(found, { status: 200, body: { release: { version: '1.0.1' } } }, thing)
    }
    const container = '/applications/webapi/explain?thing=webapi-production'
    t.match(await get(container), { status: 503, body: { detail: /127\.0\.0\.1/ } })
    const hidden = await get(container, 'zhang')
    t.match(hidden, { status: 503, body: { code: 'UNAVAILABLE' } })
    t.notMatch(JSON.stringify(hidden.body), /app-\d|127\.0\.0\.1/)
  })

  t.test('config is linted, and templates are previewed', async (t) => {
    const world = await startWorld(t)
    const lint = await world.ask('GET', `${ENV}/test/lint`)
    t.match(lint, { status: 200, body: { next: null } }, JSON.stringify(lint.body))
    const written = (text: string) =>
      world.write(repositorySettings, {
        'config/test.yaml': text,
        'deploy/conf.d/a.toml': '[template]\nsrc = "a"\ndest = "/etc/a"\nprefix = "/webapi"\n',
        'deploy/templates/a': '{{getv "/greeting"}}',
      })
    await written('webapi: { greeting: "hello\u200b" }\n')
    const bad = await until(async () => {
      const { body } = await world.ask('GET', `${ENV}/test/lint?limit=1`)
      return (body.items as { rule: string }[]).some(({ rule }) => rule === 'invisible')
    })
    t.ok(bad, 'what lint finds is the answer, not a failure')
  })

  t.test('wrong requests and those that the policy refuses', async (t) => {
    const world = await startWorld(t)
    for (const [by, place, status] of [
      ['wu', `${ENV}/test/instances`, 404],
      ['zhang', `${ENV}/production/instances`, 404],
      ['zhang', `${ENV}/test/lint`, 403],
      ['chen', `${ENV}/test/logs`, 403],
      ['chen', `${ENV}/test/logs/follow`, 403],
      ['wu', `${ENV}/test/logs/follow`, 404],
      ['zhang', '/events', 404],
      ['wu', '/applications/webapi/report', 404],
      ['wu', '/applications/webapi/explain?thing=webapi@1.0.0', 404],
      ['zhang', '/applications/webapi/report?env=production', 404],
      ['li', `${ENV}/nowhere/instances`, 404],
      ['li', '/applications/shop/explain?thing=a', 404],
      ['li', '/applications/webapi/releases/9.9.9', 404],
      ['li', '/applications/webapi/explain?thing=--settings=/etc/passwd', 400],
      ['li', '/applications/webapi/explain', 400],
      ['li', `${ENV}/test/instances?settings=/etc/passwd`, 400],
      ['li', `${ENV}/test/instances?host=--all`, 400],
      ['li', `${ENV}/test/instances?host=a&host=b`, 400],
      ['li', `${ENV}/test/logs?file=/etc/passwd`, 400],
      ['li', `${ENV}/test/logs?lines=1000000`, 400],
      ['li', `${ENV}/test/logs?grep=%00`, 400],
      ['li', `${ENV}/test/logs?since=soon`, 400],
      ['li', `${ENV}/test/templates?release=../x`, 400],
      ['li', `${ENV}/test/templates?out=/tmp/x`, 400],
      ['li', `${ENV}/test/history?cursor=--app`, 400],
      ['li', `${ENV}/test/marks?cursor=x`, 400],
      ['li', '/events?state=all', 400],
      ['li', `${ENV}/..%2ftest/instances`, 400],
    ] as const) {
      const answer = await world.ask('GET', place, { by })
      t.equal(answer.status, status, `${by} ${place}: ${JSON.stringify(answer.body)}`)
      t.match(answer.type, /^application\/problem\+json/)
      t.match(answer.body, { code: String, title: String, retryable: Boolean, reasons: Array })
    }
    const silent = await world.ask('GET', `${ENV}/test/instances`)
    t.match(silent.body, { items: [], incomplete: /127\.0\.0\.1/ }, 'a host that does not answer')
  })
}
