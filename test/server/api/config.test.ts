import t, { type Test } from 'tap'
import type { ConfigItem } from '../../../src/api/config.ts'
import { problem } from '../../../src/api/problem.ts'
import { makeKey } from '../../../src/config/rules/encryption.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { startWorld, type World } from './world.ts'

const skip = missingProgram('redis-server', 'redis-cli', 'git')
const PLACE = '/applications/webapi/environments/test/config'
const REASON = 'more load'

/** webapi in test has its config in a Redis of its own. */
async function startConfig(t: Test) {
  const store = await startQueueRedis(t)
  const set = (key: string, value: string) => store.cli('set', key, value)
  await set('/webapi/greeting', 'hello')
  await set('/webapi/pool', '5')
  await set('/webapi/db/password', 'old-word')
  await set('/shop/pool', '7')
  const world = await startWorld(t, {
    variables: { KEY: makeKey('k1') },
    application: {
      'config-key': '${KEY}',
      environments: { test: { config: store.url } },
    },
    more: ['shop'],
  })
  const read = async (query = '', by = 'li') => {
    const answer = await world.ask('GET', `${PLACE}${query}`, { by })
    return { ...answer, items: (answer.body.items ?? []) as ConfigItem[] }
  }
  const patch = (
    changes: readonly object[],
    { by = 'li', reason = REASON, match }: { by?: string; reason?: string; match?: string } = {},
  ) =>
    world.ask('PATCH', PLACE, {
      by,
      body: { changes, reason },
      ...(match !== undefined && { headers: { 'if-match': match } }),
    })
  const get = (key: string) => store.cli('get', key)
  return { world, store, read, patch, set, get }
}

const acts = ({ audited }: World, decision: string) =>
  audited.filter((entry) => entry.decision === decision).map(({ verb }) => verb)

if (skip) t.test('config over HTTP', { skip }, async () => {})
else {
  t.test('config is read in pages; secrets are only said to be there', async (t) => {
    const { read } = await startConfig(t)
    const all = await read()
    t.equal(all.status, 200, JSON.stringify(all.body))
    t.match(all.headers.get('etag'), /^"[\w-]{32}"$/)
    t.match(all.items, [
      { key: '/webapi/db/password', secret: true, encrypted: false, value: null },
      { key: '/webapi/greeting', secret: false, value: 'hello' },
      { key: '/webapi/pool', value: '5' },
    ])
    t.equal(all.items.length, 3, 'a key of another application is not there')
    t.notMatch(JSON.stringify(all.body), /old-word/)
    const first = await read('?limit=2')
    t.equal(first.items.length, 2)
    const rest = await read(`?limit=2&cursor=${first.body.next}`)
    t.match(rest.body, { items: [{ key: '/webapi/pool' }], next: null })
    t.equal(rest.headers.get('etag'), all.headers.get('etag'))
    t.match((await read('?prefix=/webapi/db')).items, [{ key: '/webapi/db/password' }])
    t.equal((await read('', 'zhang')).status, 403, 'view is not enough')
    t.equal((await read('', 'wu')).status, 404)
    t.equal((await read('?prefix=webapi')).status, 400)
  })

  t.test('a change says what was seen, or is not made', async (t) => {
    const { world, patch, read, set, get } = await startConfig(t)
    const unseen = await patch([{ key: '/webapi/pool', value: '20' }])
    t.equal(unseen.status, 428)
    t.match(problem.parse(unseen.body), {
      ...{ code: 'PRECONDITION_REQUIRED', retryable: false },
      ...{ hint: /If-Match/, args: { keys: '/webapi/pool' } },
    })
    t.equal((await patch([{ key: '/webapi/pool', value: '20' }], { match: '*' })).status, 428)

    const done = await patch([
      { key: '/webapi/pool', value: '20', was: '5' },
      { key: '/webapi/new', value: '1', was: null },
    ])
    t.equal(done.status, 200, JSON.stringify(done.body))
    t.match(done.body.changes, [{ key: '/webapi/pool', before: '"5"', after: '"20"' }, {}])
    t.strictSame([await get('/webapi/pool'), await get('/webapi/new')], ['20', '1'])
    t.equal((await read()).headers.get('etag'), done.headers.get('etag'))
    const [change] = await world.ledger.configChanges({ app: 'webapi', limit: 1 })
    t.match(change, { by: 'li', reason: REASON, identity: 'https://gitlab.example.com' })

    const late = await patch([{ key: '/webapi/pool', value: '30', was: '5' }])
    t.equal(late.status, 412)
    const { code, args, hint } = problem.parse(late.body)
    t.match({ code, args, hint }, { code: 'PRECONDITION_FAILED', args: { keys: '/webapi/pool' } })
    t.match(late.body.moved, [
      { key: '/webapi/pool', now: '"20"', by: 'li', reason: REASON, change: change?.id },
    ])
    await set('/webapi/pool', '21')
    const past = await patch([{ key: '/webapi/pool', value: '30', was: '20' }])
    t.match(past.body.moved, [{ now: '"21"', by: null }], 'changed past the ledger')
    t.equal(await get('/webapi/pool'), '21')
  })

  t.test('the ETag of the set holds for all of it', async (t) => {
    const { patch, read, set, get } = await startConfig(t)
    const match = (await read()).headers.get('etag') ?? ''
    await set('/webapi/greeting', 'good morning')
    const late = await patch([{ key: '/webapi/pool', value: '20' }], { match })
    t.equal(late.status, 412)
    t.match(late.body, { moved: [{ key: '/webapi/pool', now: '"5"' }], etag: /^[\w-]{32}$/ })
    const seen = await patch([{ key: '/webapi/pool', value: '20' }], {
      match: (await read()).headers.get('etag') ?? '',
    })
    t.equal(seen.status, 200, JSON.stringify(seen.body))
    t.equal(await get('/webapi/pool'), '20')
    t.equal((await patch([{ key: '/webapi/pool', value: '1' }], { match: 'x' })).status, 400)
  })

  t.test('of changes at the same time one is made, the other is told of it', async (t) => {
    const { patch, get } = await startConfig(t)
    const answers = await Promise.all(
      ['10', '11'].map((value) => patch([{ key: '/webapi/pool', value, was: '5' }])),
    )
    const statuses = answers.map(({ status }) => status).sort()
    t.equal(statuses[0], 200)
    t.ok([409, 412].includes(statuses[1] ?? 0), JSON.stringify(answers.map(({ body }) => body)))
    const made = answers.findIndex(({ status }) => status === 200)
    t.equal(await get('/webapi/pool'), ['10', '11'][made])
  })

  t.test('secrets take a verb of their own, and nobody learns them', async (t) => {
    const { world, patch, read, get } = await startConfig(t)
    const [{ tag } = { tag: '' }] = (await read()).items
    const secret = { key: '/webapi/db/password', value: 'new-word', tag }
    const pool = { key: '/webapi/pool', value: '20', was: '5' }
    const refused = await patch([secret, pool], { by: 'chen' })
    t.match(refused, { status: 403, body: { code: 'FORBIDDEN', reasons: [/secret-write/] } })
    t.match(refused.body.args, { verb: 'secret-write', app: 'webapi', environment: 'test' })
    t.equal((await patch([pool], { by: 'zhao' })).status, 403)
    t.equal((await patch([pool], { by: 'zhang' })).status, 403)
    t.equal((await patch([pool], { by: 'wu' })).status, 404)
    t.strictSame(acts(world, 'allowed'), [], 'what is not done is not recorded as done')
    t.match(acts(world, 'refused'), [
      'secret-write',
      'config-write',
      'config-write',
      'config-write',
    ])
    t.equal(await get('/webapi/pool'), '5')

    const guess = await patch([{ ...secret, tag: undefined, was: 'old-word' }], { by: 'zhao' })
    t.match(guess, { status: 400, body: { detail: /no text is compared/ } })
    const same = await patch([{ ...secret, value: 'old-word' }], { by: 'zhao' })
    t.equal(same.status, 200)
    t.match(same.body.change, String, 'the right guess is written like a wrong one')
    const tagNow = (await read()).items[0]?.tag
    const done = await patch([{ ...secret, tag: tagNow }], { by: 'zhao' })
    t.equal(done.status, 200, JSON.stringify(done.body))
    t.match(done.body.changes, [{ secret: true, before: '(secret)', after: '(secret)' }])
    t.match(await get('/webapi/db/password'), /^enc:v1:k1:/)
    t.match(world.audited.at(-1), {
      ...{ verb: 'secret-write', decision: 'allowed' },
      object: { keys: '/webapi/db/password', reason: REASON },
    })
    const texts = JSON.stringify([world.audited, done.body, refused.body, guess.body, same.body])
    t.notMatch(texts, /(new|old)-word/)
  })

  t.test('what rules refuse is not written', async (t) => {
    const { world, patch, get } = await startConfig(t)
    const pool = (value: string) => patch([{ key: '/webapi/pool', value, was: '5' }])
    for (const [value, detail] of [
      ['20 ', /ends with white space/],
      ['db.staging.example.com', /names the environment staging/],
      ['2\u200b0', /invisible character/],
    ] as const) {
      t.match(await pool(value), { status: 400, body: { detail } })
    }
    t.equal(await get('/webapi/pool'), '5')
    t.match(await patch([{ key: '/webapi/pool', value: '6', was: '5' }], { reason: ' ' }), {
      status: 400,
      body: { detail: /reason/ },
    })
    t.equal((await patch([{ key: '/shop/pool', value: '6', was: '7' }])).status, 404)
    const staging = await world.ask('PATCH', PLACE.replace('/test/', '/staging/'), {
      body: { changes: [{ key: '/webapi/pool', value: '6', was: '5' }], reason: REASON },
    })
    t.match(staging, { status: 409, body: { detail: /a file of the repository/ } })
  })
}
