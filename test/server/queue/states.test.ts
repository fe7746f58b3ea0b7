import { execFileSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { accessQueue } from '../../../src/server/queue/access.ts'
import { type EventState, states } from '../../../src/server/queue/event-record.ts'
import { openIntake } from '../../../src/server/queue/intake.ts'
import { openPartitions } from '../../../src/server/queue/partitions.ts'
import { openRecords } from '../../../src/server/queue/records.ts'
import type { EventFacts } from '../../../src/server/sources/event.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'

const skip = missingProgram('redis-server', 'redis-cli')
const README = new URL('../../../src/server/queue/README.md', import.meta.url)

const facts: EventFacts = {
  source: 'gitlab',
  via: 'gitlab',
  kind: 'push',
  project: 'team/webapi',
  ref: 'main',
  commit: '',
  by: 'li',
  title: 'Round prices',
  url: '',
}

/** The queue in a Redis, with events that are put into a state by the queue's own operations. */
function openQueue(client: Redis, retention: number) {
  const options = { server: 'redis', name: 'test', dedupeWindow: 60_000, retention }
  const access = accessQueue(client, options)
  const [intake, partitions, records] = [
    openIntake(access),
    openPartitions(access),
    openRecords(access),
  ]
  let count = 0
  const store = async (partition: string, supersede = false) => {
    const id = `event${String(++count).padStart(6, '0')}`
    const event = { id, route: 'deliver', partition, queue: 'calls', supersede, facts } as const
    await intake.store({ delivery: id, timeless: false, events: [event] })
    return id
  }
  const owner = (partition: string, run = 'run1') => ({ partition, wakeUp: 'job', run })
  const finish = (id: string, partition: string, state: 'done' | 'dead', error = '') =>
    partitions.finish(owner(partition), id, { state, text: '', url: '', error })
  const postpone = (id: string, partition: string) =>
    partitions.postpone(owner(partition), id, {
      next: 0,
      error: '',
      counts: true,
      passable: false,
    })
  /** A new event in this state, in a partition of its own. */
  const make = async (state: EventState) => {
    const partition = `partition${count}`
    const id = await store(partition)
    if (state === 'superseded') await store(partition, true)
    if (state === 'dropped') await records.drop(id, 'not needed')
    if (state === 'running' || state === 'done' || state === 'dead') {
      await partitions.claim(owner(partition))
    }
    if (state === 'done' || state === 'dead') await finish(id, partition, state)
    return { id, partition }
  }
  return { partitions, records, store, owner, finish, postpone, make }
}

t.test('the drawing of the states is what the scripts do', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const client = new Redis(redis.url)
  t.teardown(() => client.disconnect())
  const { partitions, records, store, owner, finish, postpone, make } = openQueue(client, 1000)
  const stateOf = async (id: string) => (await records.find(id))?.state ?? '[*]'
  /** Whether an operation did something to the event; its next state is read afterwards. */
  const operations: Record<string, (id: string, partition: string) => Promise<unknown>> = {
    accept: async (id, partition) => {
      const before = await stateOf(id)
      await store(partition, true)
      return before !== (await stateOf(id))
    },
    claim: async (id, partition) => {
      const claim = await partitions.claim(owner(partition, 'run2'))
      return claim.kind === 'event' && claim.id === id
    },
    postpone,
    'finish done': async (id, partition) => (await finish(id, partition, 'done')).kind !== 'lost',
    'finish dead': async (id, partition) => (await finish(id, partition, 'dead')).kind !== 'lost',
    drop: (id) =>
      records.drop(id, 'not needed').then(
        () => true,
        () => false,
      ),
    revive: (id) =>
      records.revive(id).then(
        () => true,
        () => false,
      ),
  }
  const found = new Set(['[*] --> waiting: accept'])
  for (const state of states) {
    for (const [name, operation] of Object.entries(operations)) {
      const { id, partition } = await make(state)
      t.equal(await stateOf(id), state)
      if (!(await operation(id, partition))) continue
      found.add(`${state} --> ${await stateOf(id)}: ${name.split(' ')[0]}`)
    }
  }
  await client.flushall()
  const forgetful = openQueue(client, 0)
  for (const state of states) {
    const { id } = await forgetful.make(state)
    if ((await forgetful.records.find(id)) === undefined) found.add(`${state} --> [*]`)
  }
  const drawn = (await readFile(README, 'utf8')).match(/^ {2}\S+ --> .+$/gm) ?? []
  t.strictSame([...found].sort(), drawn.map((line) => line.trim()).sort())
})

t.test('a text that ends with half an emoji is stored like any other', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const client = new Redis(redis.url)
  t.teardown(() => client.disconnect())
  const { records, finish, make } = openQueue(client, 1000)
  const { id, partition } = await make('running')
  const cut = 'GitLab refuses "🚀'.slice(0, -1)
  t.match(await finish(id, partition, 'dead', cut), { kind: 'none' })
  t.match(await records.find(id), { state: 'dead', error: 'GitLab refuses "\ufffd' })
})

t.test('a run whose job was given to another one starts nothing more', { skip }, async (t) => {
  const redis = await startQueueRedis(t)
  const client = new Redis(redis.url)
  t.teardown(() => client.disconnect())
  const { partitions, store, owner } = openQueue(client, 1000)
  const run = (name: string, timeout = 60_000) => ({
    ...owner('busy', name),
    lock: { queue: 'calls' as const, token: `token of ${name}`, timeout },
  })
  const key = '{crosscloud:test}:calls:job:lock'
  const lockFor = (name: string) => client.set(key, `token of ${name}`, 'PX', 30_000)
  const id = await store('busy')
  await lockFor('run1')
  t.match(await partitions.claim(run('run1')), { kind: 'event', id })
  t.equal(await partitions.confirm(run('run1')), true)
  t.ok((await client.pttl(key)) > 30_000, 'and it has the whole timeout from then on')

  await lockFor('run2')
  t.equal(await partitions.confirm(run('run1')), false, 'before the other run has claimed it')
  t.match(await partitions.claim(run('run1')), { kind: 'none' }, 'nor does it take it back')
  t.match(await partitions.claim(run('run2')), { kind: 'event', id, begun: Number })
  t.equal(await partitions.confirm(run('run2')), true)
  t.equal(await partitions.confirm(run('run1')), false)
  await client.del(key)
  t.equal(await partitions.confirm(run('run2')), false, 'an expired lock may be anybody’s')

  await lockFor('run2')
  const confirmed = partitions.confirm(run('run2', 100))
  // This process stands still until the answer has come and the lock has expired.
  const exists = () => execFileSync('redis-cli', ['-u', redis.url, 'exists', key]).toString()
  while (exists().trim() !== '0');
  t.equal(await confirmed, false, 'an old answer does not count')
})
