import t, { type Test } from 'tap'
import { problem } from '../../../src/api/problem.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { startWorld, type World } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')

const deploy = (inputs: object, more: object = {}) => ({
  ...{ app: 'webapi', step: 'deploy', inputs: { release: 'webapi@1.0.0', env: 'test', ...inputs } },
  ...more,
})

interface Bad {
  what: string
  method?: string
  place?: string
  by?: string
  body?: unknown
  headers?: Record<string, string>
  status: number
  code?: string
  detail?: RegExp
}

const inputs: Bad[] = [
  ...['adopt', 'maven', 'args', 'out', 'runChecks', 'run-checks', 'add', 'settings', 'json'].map(
    (name) => ({ what: `input ${name}`, body: deploy({ [name]: true }), status: 400 }),
  ),
  ...['constructor', 'toString', 'lock-wait'].map((name) => ({
    what: `input ${name}`,
    body: `{"app":"webapi","step":"deploy","inputs":{"env":"test","release":"webapi@1.0.0","${name}":"1m"}}`,
    status: 400,
    detail: /is not known here/,
  })),
  { what: 'env is a list', body: deploy({ env: ['test'] }), status: 400 },
  { what: 'env is a number', body: deploy({ env: 5 }), status: 400 },
  { what: 'env is null', body: deploy({ env: null }), status: 400 },
  { what: 'force is text', body: deploy({ force: 'true' }), status: 400 },
  { what: 'NUL in a text', body: deploy({ reason: 'a\u0000b' }), status: 400 },
  { what: 'escape sequence in a text', body: deploy({ reason: '\u001b[2J' }), status: 400 },
  {
    what: 'half a surrogate',
    body: '{"app":"webapi","step":"deploy","inputs":{"env":"test","release":"webapi@1.0.0","reason":"\\ud800"}}',
    status: 400,
  },
  { what: 'long text', body: deploy({ reason: 'x'.repeat(2001) }), status: 400 },
  { what: 'many items', body: deploy({ without: Array(101).fill('a') }), status: 400 },
  { what: 'items that are no texts', body: deploy({ without: [{}] }), status: 400 },
  { what: 'wrong release', body: deploy({ release: 'webapi' }), status: 400 },
  { what: 'release of another application', body: deploy({ release: 'shop@1.0.0' }), status: 400 },
  { what: 'no release', body: deploy({ release: undefined }), status: 400 },
  { what: 'wrong lockWait', body: deploy({ lockWait: 'soon' }), status: 400 },
  { what: 'a plan as a run', body: deploy({ plan: true }), status: 400 },
]

const bodies: Bad[] = [
  { what: 'no body', status: 400, detail: /no body/ },
  { what: 'no JSON', body: '{"app":', status: 400, detail: /no JSON/ },
  {
    what: 'a prototype',
    body: '{"app":"webapi","step":"deploy","inputs":{"env":"test","__proto__":{}}}',
    status: 400,
  },
  { what: 'a list', body: [], status: 400 },
  { what: 'null', body: 'null', status: 400 },
  { what: 'unknown member', body: deploy({}, { settings: '/etc/passwd' }), status: 400 },
  { what: 'path for the application', body: deploy({}, { app: '../x' }), status: 400 },
  { what: 'inputs are a list', body: deploy({}, { inputs: [] }), status: 400 },
  ...['release', 'bake-image', 'build-war', 'lock', 'serve', 'constructor', '__proto__'].map(
    (step) => ({ what: `step ${step}`, body: deploy({}, { step }), status: 400 }),
  ),
  {
    what: 'other content type',
    body: '<a/>',
    headers: { 'content-type': 'text/xml' },
    status: 415,
  },
  {
    what: 'a form',
    body: 'app=webapi',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    status: 415,
  },
  { what: 'a long body', body: deploy({ reason: 'x'.repeat(300_000) }), status: 413 },
  { what: 'plan and step', body: deploy({}, { plan: 'abc' }), status: 400 },
  { what: 'a wrong plan', body: { plan: '../x' }, status: 400 },
  { what: 'an unknown plan', body: { plan: 'abcdef' }, status: 404 },
  { what: 'a wrong key', body: deploy({}), headers: { 'idempotency-key': 'a b' }, status: 400 },
  {
    what: 'a long key',
    body: deploy({}),
    headers: { 'idempotency-key': 'k'.repeat(256) },
    status: 400,
  },
]

const access: Bad[] = [
  { what: 'nobody', by: '', body: deploy({}), status: 401 },
  { what: 'somebody unknown', by: 'mallory', body: deploy({}), status: 401 },
  { what: 'nobody, and a broken body', by: '', body: '{', status: 401 },
  { what: 'no grant at all', by: 'wu', body: deploy({}), status: 404 },
  { what: 'no view there', by: 'zhang', body: deploy({ env: 'production' }), status: 404 },
  {
    what: 'force without the verb',
    by: 'zhang',
    body: deploy({ force: true, reason: 'x' }),
    status: 403,
  },
  { what: 'older without the verb', by: 'li', body: deploy({ older: true }), status: 403 },
  {
    what: 'rollback without the verb',
    by: 'zhang',
    body: { app: 'webapi', step: 'rollback', inputs: { env: 'test', reason: 'x' } },
    status: 403,
  },
  {
    what: 'promote to where one sees nothing',
    by: 'zhang',
    body: { app: 'webapi', step: 'promote', inputs: { to: 'staging' } },
    status: 404,
  },
  {
    what: 'an unknown application',
    body: { app: 'shop', step: 'deploy', inputs: { release: 'shop@1.0.0', env: 'test' } },
    status: 404,
  },
]

const run = '/runs/0000000000000000000000'
const reads: Bad[] = [
  { what: 'unknown run', place: run, status: 404 },
  { what: 'log of an unknown run', place: `${run}/lines`, status: 404 },
  {
    what: 'wrong Last-Event-ID',
    place: `${run}/lines`,
    headers: { 'last-event-id': '-' },
    status: 400,
  },
  { what: 'path that is no URL', place: '/runs/%', status: 400 },
  { what: 'path that is no UTF-8', by: '', place: '/applications/%ff', status: 400 },
  { what: 'long name', place: `/runs/${'x'.repeat(300)}`, status: 400 },
  { what: 'run with a path', place: '/runs/..%2f..%2fetc', status: 400 },
  {
    what: 'cancel of an unknown run',
    method: 'POST',
    place: `${run}/cancel`,
    body: { reason: 'x' },
    status: 404,
  },
  {
    what: 'cancel without a reason',
    method: 'POST',
    place: `${run}/cancel`,
    body: {},
    status: 400,
  },
  { what: 'wrong limit', place: '/runs?limit=0', status: 400 },
  { what: 'limit of words', place: '/runs?limit=all', status: 400 },
  { what: 'wrong cursor', place: '/runs?cursor=%00', status: 400 },
  { what: 'unknown query', place: '/runs?sort=id', status: 400 },
  { what: 'query where there is none', place: '/applications?all=1', status: 400 },
  { what: 'two limits', place: '/runs?limit=1&limit=2', status: 400 },
  { what: 'unknown path', place: '/secrets', status: 404 },
  { what: 'unknown application', place: '/applications/shop', status: 404 },
  { what: 'application with a path', place: '/applications/..%2f', status: 400 },
  { what: 'unseen application', by: 'wu', place: '/applications/webapi', status: 404 },
  {
    what: 'unseen environment',
    by: 'zhang',
    place: '/applications/webapi/environments/production',
    status: 404,
  },
  { what: 'unknown environment', place: '/applications/webapi/environments/nowhere', status: 404 },
  {
    what: 'wrong cursor of releases',
    place: '/applications/webapi/releases?cursor=x',
    status: 400,
  },
  {
    what: 'deployments of the unseen',
    by: 'zhang',
    place: '/applications/webapi/deployments?env=production',
    status: 404,
  },
  { what: 'audit without the verb', by: 'zhang', place: '/audit', status: 404 },
  { what: 'unknown verb', place: '/policy/decisions?verb=fly&app=webapi&env=test', status: 400 },
  { what: 'decision without an application', place: '/policy/decisions?verb=view', status: 400 },
  { what: 'DELETE', method: 'DELETE', place: run, status: 404 },
]

const codes: Readonly<Record<number, string>> = {
  400: 'INPUT_INVALID',
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  413: 'INPUT_INVALID',
  415: 'INPUT_INVALID',
}

async function refuseAll(t: Test, world: World, all: readonly Bad[]) {
  for (const { what, method = 'POST', place = '/runs', by, body, headers, status, detail } of all) {
    const how = { ...(by !== undefined && { by }), body, ...(headers && { headers }) }
    const answer = await world.ask(method, place, how)
    const seen = JSON.stringify(answer.body)
    t.equal(answer.status, status, `${what}: ${seen}`)
    t.match(answer.type, /^application\/problem\+json/, what)
    const { code, title, type } = problem.parse(answer.body)
    t.strictSame([code, type], [codes[status], 'about:blank'], what)
    t.ok(title)
    t.match(answer.headers.get('cache-control'), 'no-store')
    t.notMatch(seen, /\/tmp\/|node:internal| {4}at /, 'nothing of the inside')
    if (detail) t.match(answer.body.detail, detail, what)
  }
}

if (skip) t.test('wrong requests', { skip }, async () => {})
else {
  t.test('wrong requests are refused with the right code, and nothing runs', async (t) => {
    const world = await startWorld(t)
    const posts = [...inputs, ...bodies, ...access]
    await t.test('as runs', (t) => refuseAll(t, world, posts))
    const plans = [...inputs, ...access].map((bad) => ({ ...bad, place: '/plans' }))
    await t.test('as plans', (t) => refuseAll(t, world, plans))
    await t.test('as reads', (t) =>
      refuseAll(
        t,
        world,
        reads.map((bad) => ({ method: 'GET', ...bad })),
      ),
    )
    t.strictSame((await world.ask('GET', '/runs')).body, { items: [], next: null })
    t.equal(await world.redis.cli('keys', '*api:*'), '', 'nothing is kept of them')
    const refused = world.audited.filter(({ decision }) => decision === 'refused')
    t.ok(refused.length >= 7, 'each refusal of the policy is in the audit')
    t.strictSame(
      world.audited.filter(({ decision }) => decision === 'allowed'),
      [],
    )
  })

  t.test('webhooks and the API read bodies in their own way', async (t) => {
    const { url } = await startWorld(t)
    const outside = await fetch(`${url}/healthz`)
    t.strictSame(await outside.json(), { status: 'alive' })
    t.equal((await fetch(`${url}/api/v2/runs`)).status, 404)
    const unknown = await fetch(`${url}/api/v1/runs`)
    t.equal(unknown.status, 401)
    t.ok(unknown.headers.get('www-authenticate'))
  })
}
