import t from 'tap'
import { line, streamEvents } from '../../../src/api/events.ts'
import { planAnswer, run as runSchema } from '../../../src/api/runs.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { until } from '../../support/until.ts'
import { allLines, readLines } from './event-reader.ts'
import { repositorySettings, startWorld, type World } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')

const verify = { app: 'webapi', step: 'verify-md5', inputs: { env: 'test' } }
const deploy = (inputs: object = {}) => ({
  ...{ app: 'webapi', step: 'deploy' },
  inputs: { release: 'webapi@1.0.0', env: 'test', reason: 'a test', ...inputs },
})

async function post(world: World, body: unknown, how: object = {}): Promise<string> {
  const answer = await world.ask('POST', '/runs', { body, ...how })
  if (answer.status !== 202) throw new Error(JSON.stringify(answer))
  return String(answer.body.run)
}

const stateOf = async (world: World, run: string) =>
  runSchema.parse((await world.ask('GET', `/runs/${run}`)).body)

t.test(
  'a run is queued, run by a server, its log streamed, its outcome kept',
  { skip },
  async (t) => {
    const world = await startWorld(t)
    const run = await post(world, verify)
    t.match(await stateOf(world, run), {
      state: 'queued',
      by: 'li (team/dev)',
      environment: 'test',
    })
    const following = allLines(world, run)
    const server = await world.startServer()
    const events = await following
    const last = events.at(-1)
    t.equal(last?.event, 'finished')
    t.match(last?.data, {
      ...{ outcome: 'failed', exitCode: 1, outputs: null },
      error: { code: 'NOT_FOUND', message: /nothing of webapi/ },
    })
    for (const { event, data } of events) {
      t.ok(streamEvents[event as 'line'].safeParse(data).success, JSON.stringify(data))
    }
    t.strictSame(
      events.map(({ id }) => id),
      events.map((_, index) => `${index + 1}-0`),
      'without a gap',
    )
    const state = await stateOf(world, run)
    t.match(state, { state: 'finished', finished: last?.data })
    t.ok(state.startedAt && state.finishedAt)
    await t.test('a reader resumes strictly after what it had', async (t) => {
      t.strictSame(await allLines(world, run), events, 'the whole log again')
      t.strictSame(await allLines(world, run, { after: last?.id ?? '' }), [], 'all was read')
      const [first] = events
      t.strictSame(await allLines(world, run, { after: first?.id ?? '' }), events.slice(1))
    })
    await t.test('who may not view it there does not find it', async (t) => {
      t.equal((await world.ask('GET', `/runs/${run}`, { by: 'wu' })).status, 404)
      t.strictSame((await world.ask('GET', '/runs', { by: 'wu' })).body, { items: [], next: null })
      t.match((await world.ask('GET', '/runs', { by: 'zhang' })).body, { items: [{ run }] })
      const cancel = { by: 'zhang', body: { reason: 'x' } }
      t.equal((await world.ask('POST', `/runs/${run}/cancel`, cancel)).status, 403)
      const late = await world.ask('POST', `/runs/${run}/cancel`, { body: { reason: 'x' } })
      t.match(late, { status: 409, body: { code: 'CONFLICT' } }, 'it is over')
    })
    t.strictSame(
      world.audited.map(({ verb, decision, subject }) => `${subject}: ${verb} ${decision}`),
      ['li (team/dev): verify allowed', 'zhang (team/dev): cancel refused'],
    )
    await server.kill('SIGTERM')
  },
)

t.test('the same request is the same run; another one needs another key', { skip }, async (t) => {
  const world = await startWorld(t)
  const headers = { 'idempotency-key': 'job-1-deploy-test' }
  const runs = await Promise.all([1, 2, 3, 4].map(() => post(world, deploy(), { headers })))
  t.equal(new Set(runs).size, 1)
  const turned = { step: 'deploy', inputs: { ...deploy().inputs }, app: 'webapi' }
  t.equal(await post(world, turned, { headers }), runs[0], 'the order of members does not count')
  const other = await world.ask('POST', '/runs', { body: deploy({ reason: 'b' }), headers })
  t.match(other, { status: 422, body: { code: 'INPUT_INVALID', detail: /another request before/ } })
  t.not(await post(world, deploy(), { headers, by: 'zhang' }), runs[0], 'keys are of their subject')
  t.not(await post(world, deploy()), runs[0], 'without a key each is one of its own')
  const ttl = Number(
    await world.redis.cli(
      'eval',
      "local least = -1 for _, k in ipairs(redis.call('KEYS', '*api:key:*')) do least = redis.call('PTTL', k) end return least",
      '0',
    ),
  )
  t.ok(ttl > 23.9 * 3_600_000, 'for a day')
  const { items, next } = (await world.ask('GET', '/runs?limit=2')).body as {
    items: { run: string }[]
    next: string
  }
  const more = (await world.ask('GET', `/runs?limit=2&cursor=${next}`)).body as {
    items: { run: string }[]
    next: unknown
  }
  t.equal(new Set([...items, ...more.items].map(({ run }) => run)).size, 3, 'three in two pages')
  t.equal(more.next, null)
})

t.test(
  'the audit has what was asked for, the run, and a rule that was passed',
  { skip },
  async (t) => {
    const world = await startWorld(t)
    const run = await post(world, deploy({ older: true, force: false }), { by: 'job' })
    const to = { app: 'webapi', step: 'promote', inputs: { to: 'staging', reason: 'b' } }
    const promoted = await post(world, to)
    const inputs = {
      step: 'deploy',
      release: 'webapi@1.0.0',
      reason: 'a test',
      older: 'true',
      force: 'false',
    }
    const object = { ...inputs, app: 'webapi', environment: 'test' }
    const subject = 'job 4711 of team/webapi'
    t.strictSame(
      world.audited.map(({ subject, verb, decision, object, run }) => ({
        ...{ subject, verb, decision, object, run },
      })),
      [
        { subject, verb: 'force', decision: 'allowed', object, run },
        { subject, verb: 'deploy', decision: 'allowed', object, run },
        {
          ...{ subject: 'li (team/dev)', verb: 'promote', decision: 'allowed', run: promoted },
          object: {
            step: 'promote',
            to: 'staging',
            reason: 'b',
            app: 'webapi',
            environment: 'staging',
          },
        },
      ],
    )
  },
)

t.test('a plan is what --plan says; changed facts make it stale', { skip }, async (t) => {
  const world = await startWorld(t)
  const made = await world.ask('POST', '/plans', { body: deploy() })
  t.equal(made.status, 200, JSON.stringify(made.body))
  const plan = planAnswer.parse(made.body)
  t.match(plan.facts, {
    kind: 'deploy',
    release: 'webapi@1.0.0',
    environment: 'test',
    hash: plan.hash,
  })
  const soon = Date.parse(plan.expiresAt) - Date.now()
  t.ok(soon > 14 * 60_000 && soon <= 15 * 60_000)
  const again = planAnswer.parse((await world.ask('POST', '/plans', { body: deploy() })).body)
  t.equal(again.hash, plan.hash)
  const foreign = await world.ask('POST', '/runs', { body: { plan: plan.plan }, by: 'zhang' })
  t.equal(foreign.status, 404, 'the plan of somebody else')
  const run = await post(world, { plan: plan.plan })
  t.match(await stateOf(world, run), { step: 'deploy', inputs: deploy().inputs })
  const { environments } = repositorySettings
  await world.write({
    ...repositorySettings,
    environments: {
      ...environments,
      test: { ...environments.test, container: { ports: ['8080:8080'] } },
    },
  })
  const stale = await world.ask('POST', '/runs', { body: { plan: plan.plan } })
  t.match(stale, { status: 409, body: { code: 'PLAN_STALE' } })
  const fresh = planAnswer.parse(stale.body.plan)
  t.not(fresh.hash, plan.hash)
  t.ok(await post(world, { plan: fresh.plan }), 'the new plan can be run')
  const none = await world.ask('POST', '/plans', { body: verify })
  t.match(none, { status: 400, body: { detail: /have a plan/ } })
  await world.write({ ...repositorySettings, container: { network: 'host' } })
  const refused = await world.ask('POST', '/plans', { body: deploy() })
  t.match(refused, { status: 403, body: { detail: /shares the network of the host/ } })
})

t.test('a run does what was seen, or nothing', { skip }, async (t) => {
  const world = await startWorld(t)
  const plan = planAnswer.parse((await world.ask('POST', '/plans', { body: deploy() })).body)
  const run = await post(world, { plan: plan.plan })
  const { environments } = repositorySettings
  const container = { ports: ['8080:8080'] }
  await world.write({
    ...repositorySettings,
    environments: { ...environments, test: { ...environments.test, container } },
  })
  const server = await world.startServer()
  const last = (await allLines(world, run)).at(-1)
  t.match(last, {
    event: 'finished',
    data: { outcome: 'failed', error: { code: 'PLAN_STALE', message: /while it waited/ } },
  })
  t.strictSame(await world.ledger.deployments({ app: 'webapi', limit: 5 }), [], 'nothing was begun')
  const now = planAnswer.parse((await world.ask('POST', '/plans', { body: deploy() })).body)
  const other = (await allLines(world, await post(world, { plan: now.plan }))).at(-1)
  t.match(other?.data, { outcome: 'failed' })
  t.notMatch(other?.data, { error: { code: 'PLAN_STALE' } }, 'what is as it was seen is tried')
  await server.kill('SIGTERM')
})

t.test('a run that waits is dropped, one that runs is ended', { skip }, async (t) => {
  const world = await startWorld(t)
  const lock = await world.ledger.lock('webapi', 'test', 'somebody', 'a test', 120_000)
  t.teardown(() => world.ledger.unlock(lock).catch(() => {}))
  const running = await post(world, deploy({ lockWait: '5m' }))
  const waiting = await post(world, deploy({ release: 'webapi@1.0.1' }))
  const server = await world.startServer()
  t.ok(await until(async () => (await stateOf(world, running)).state === 'running', 30_000))
  const cancel = (run: string) =>
    world.ask('POST', `/runs/${run}/cancel`, { body: { reason: 'wrong release' } })
  t.equal((await cancel(waiting)).status, 202)
  t.match(await stateOf(world, waiting), {
    state: 'finished',
    finished: {
      outcome: 'cancelled',
      error: { message: 'li (team/dev) cancelled it: wrong release' },
    },
  })
  // It has begun to wait for the lock.
  for await (const { data } of readLines(world, running)) {
    if (/somebody/.test(String(data.text))) break
  }
  t.equal((await cancel(running)).status, 202)
  t.equal((await cancel(running)).status, 202, 'twice is once')
  const last = (await allLines(world, running)).at(-1)
  t.match(last, {
    event: 'finished',
    data: { outcome: 'cancelled', exitCode: 1, error: { code: 'CANCELLED' } },
  })
  t.strictSame(await world.ledger.deployments({ app: 'webapi', limit: 5 }), [], 'nothing was begun')
  const verbs = world.audited.map(({ verb }) => verb)
  t.strictSame(verbs, ['deploy', 'deploy', 'cancel', 'cancel', 'cancel'])
  await server.kill('SIGTERM')
})

t.test('lines that were trimmed are told, and the rest follows', { skip }, async (t) => {
  const world = await startWorld(t)
  const run = await post(world, verify)
  const key = `{crosscloud:crosscloud}:api:lines:${run}`
  const text = (n: number) =>
    JSON.stringify(line.parse({ at: new Date().toISOString(), level: 'info', text: `${n}` }))
  for (let n = 1; n <= 5; n++) await world.redis.cli('xadd', key, `${n}-0`, 'line', text(n))
  await world.redis.cli('xtrim', key, 'MAXLEN', '=', '2')
  const found: string[] = []
  for await (const { event, data } of readLines(world, run, { after: '1-0' })) {
    found.push(event === 'line' ? String(data.text) : event)
    if (found.length === 3) break
  }
  t.strictSame(found, ['resync', '4', '5'])
})

t.test('reads show what the caller may view, and no secret', { skip }, async (t) => {
  const world = await startWorld(t)
  const get = async (place: string, by = 'li') => (await world.ask('GET', place, { by })).body
  const environments = (...names: string[]) => ({
    items: [{ app: 'webapi', environments: names }],
    next: null,
  })
  t.strictSame(await get('/applications'), environments('test', 'staging', 'production'))
  t.strictSame(await get('/applications', 'zhang'), environments('test'))
  t.strictSame(await get('/applications', 'wu'), { items: [], next: null })
  t.match(await get('/applications/webapi'), {
    commit: /^[0-9a-f]{40}$/,
    environments: [
      { name: 'test' },
      { name: 'staging', from: 'test' },
      { image: '127.0.0.1:1/production/webapi', hosts: ['app-11'] },
    ],
  })
  t.match(await get('/applications/webapi/environments/production'), {
    name: 'production',
    status: null,
  })
  const { items, next } = (await get('/applications/webapi/releases?limit=1')) as {
    items: object[]
    next: string
  }
  t.match(items, [{ version: '1.0.1' }])
  t.match(await get(`/applications/webapi/releases?cursor=${next}`), {
    items: [{ version: '1.0.0' }],
    next: null,
  })
  t.notMatch(JSON.stringify(items), 'ci@example.com')
  t.match(await get('/applications/webapi/deployments?env=test'), { items: [], next: null })
  t.match(await get('/status', 'zhang'), { items: [{ app: 'webapi', environment: 'test' }] })
  t.match(await get('/policy/decisions?verb=deploy&app=webapi&env=production', 'zhang'), {
    allowed: false,
    help: [],
  })
  t.match(await get('/policy/decisions?verb=deploy&app=webapi&env=test', 'zhang'), {
    allowed: true,
    rule: 'grants[0]',
  })
})
