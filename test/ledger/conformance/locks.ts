import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { Test } from 'tap'
import { isStepError } from '../../../src/core/errors.ts'
import type { Ledger, Lock } from '../../../src/ledger/ledger.ts'
import { MINUTE, type OpenLedger } from './samples.ts'

export async function locks(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  const take = (owner: string, ttl = MINUTE, environment = 'production') =>
    ledger.lock('webapi', environment, owner, 'release of 1.4.2', ttl)
  const first = await take('li')
  t.match(first, { app: 'webapi', environment: 'production', owner: 'li', token: Number })
  const conflict = {
    code: 'CONFLICT',
    message: `webapi in production is locked by li (release of 1.4.2) until ${first.expiresAt}`,
    hint: /unlock/,
  }
  await t.rejects(take('wang'), conflict)
  await t.rejects(take('li'), conflict, 'the same person may run two pipelines')
  t.strictSame(await ledger.findLock('webapi', 'production'), first)
  t.equal(await ledger.findLock('webapi', 'test'), undefined)

  const elsewhere = await take('wang', MINUTE, 'test')
  t.ok(elsewhere.token > first.token, 'the token grows')
  const longer = await ledger.heartbeat(first, 5 * MINUTE)
  t.ok(longer.expiresAt > first.expiresAt)
  t.equal(longer.token, first.token)
  t.strictSame(await ledger.findLock('webapi', 'production'), longer)

  await ledger.unlock(elsewhere)
  t.strictSame(await ledger.findLock('webapi', 'production'), longer, 'only its own is released')
  await ledger.unlock(first)
  await ledger.unlock(first)
  await t.rejects(ledger.heartbeat(first, MINUTE), {
    code: 'CONFLICT',
    message: 'li lost the lock of webapi in production: nobody holds it now',
  })

  const short = await take('li', 30)
  await sleep(60)
  t.equal(await ledger.findLock('webapi', 'production'), undefined)
  const revived = await ledger.heartbeat(short, 30)
  t.equal(revived.token, short.token, 'an expired lock that nobody took can be kept')
  await sleep(60)
  const second = await open()
  t.teardown(() => second.close())
  const taken = await second.lock('webapi', 'production', 'wang', 'hotfix', MINUTE)
  t.ok(taken.token > short.token && short.token > elsewhere.token)
  await t.rejects(ledger.heartbeat(short, MINUTE), {
    code: 'CONFLICT',
    message: /^li lost the lock of webapi in production: wang \(hotfix\) holds it until /,
  })
  await ledger.unlock(short)
  t.strictSame(await ledger.findLock('webapi', 'production'), taken, 'the younger lock stays')
}

export async function oneHolder(t: Test, ledger: Ledger, open: OpenLedger): Promise<void> {
  const second = await open()
  t.teardown(() => second.close())
  const tries = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? ledger : second).lock('webapi', 'test', `run-${i}`, 'race', MINUTE),
    ),
  )
  t.equal(tries.filter((one) => one.status === 'fulfilled').length, 1)
  for (const one of tries) {
    if (one.status === 'rejected') t.match(one.reason, { code: 'CONFLICT' })
  }
}

/** First come, first served: nobody who asks later is faster, and nobody who is gone is waited for. */
export async function queuesForLocks(t: Test, _: Ledger, open: OpenLedger): Promise<void> {
  let time = Date.parse('2026-05-01T12:00:00.000Z')
  const ledger = await open({ now: () => time })
  t.teardown(() => ledger.close())
  const ask = (owner: string, queue = 20_000, environment = 'test') =>
    ledger.lock('webapi', environment, owner, 'deploy', MINUTE, queue)
  const held = await ask('li')
  await t.rejects(ask('wang'), { code: 'CONFLICT', message: /is locked by li/ })
  await t.rejects(ask('zhao'), { code: 'CONFLICT', message: /is locked by li/ })
  await ledger.unlock(held)
  const behind = (who: string) => ({
    code: 'CONFLICT',
    message: `webapi in test is not locked, but ${who} (deploy) waits for it and comes first`,
  })
  await t.rejects(ask('zhao'), behind('wang'))
  await t.rejects(ask('chen', 0), behind('wang'), 'who does not wait does not push in either')
  await ledger.unlock(await ask('chen', 0, 'staging'))
  await ledger.unlock(await ask('wang'))
  await t.rejects(ask('chen'), behind('zhao'))
  time += 15_000
  await t.rejects(ask('chen'), behind('zhao'), 'who asks again keeps the place')
  time += 15_000
  const chen = await ask('chen')
  await t.rejects(ask('zhao'), { code: 'CONFLICT' }, 'who has not asked for long begins anew')
  await t.rejects(ask('wu'), { code: 'CONFLICT' })
  await ledger.leaveQueue('webapi', 'test', 'zhao')
  await ledger.unlock(chen)
  const freeze = await ledger.lock('webapi', 'test', 'ops', 'stocktaking', MINUTE)
  await t.rejects(ask('wu'), { message: /is locked by ops/ }, 'a freeze waits for nobody')
  await ledger.unlock(freeze)
  t.match(await ask('wu'), { owner: 'wu' }, 'zhao has left')
}

/** What one of three callers does; `wait` lets the clock go on. Times in milliseconds. */
interface Operation {
  verb: 'lock' | 'heartbeat' | 'unlock' | 'wait'
  caller: number
  time: number
}

const operations: fc.Arbitrary<Operation[]> = fc.array(
  fc.record({
    verb: fc.constantFrom('lock', 'heartbeat', 'unlock', 'wait'),
    caller: fc.nat(2),
    time: fc.integer({ min: 1, max: 50 }),
  }),
  { minLength: 10, maxLength: 40, size: 'max' },
)

/** Random sequences against a model that, by its shape, has one holder at most. */
export async function neverTwoHolders(t: Test, _ledger: Ledger, open: OpenLedger): Promise<void> {
  let clock = Date.parse('2026-01-01T00:00:00.000Z')
  const ledgers = await Promise.all([1, 2, 3].map(() => open({ now: () => clock })))
  t.teardown(() => Promise.all(ledgers.map((ledger) => ledger.close())))
  let runs = 0
  let newest = 0
  const seen = { taken: 0, takenOver: 0, refused: 0, kept: 0, lost: 0 }
  const property = fc.asyncProperty(operations, async (sequence) => {
    const environment = `run-${++runs}`
    const had: (Lock | undefined)[] = [undefined, undefined, undefined]
    let held: { token: number; until: number } | undefined
    for (const { verb, caller, time } of sequence) {
      const ledger = ledgers[caller] as Ledger
      const mine = had[caller]
      if (verb === 'wait') clock += time
      if (verb === 'lock') {
        const free = !held || held.until <= clock
        const lock = await unlessConflict(ledger.lock('webapi', environment, 'li', 'why', time))
        if ((lock !== undefined) !== free) throw new Error(`lock: ${lock?.token}, free: ${free}`)
        seen[lock ? (held ? 'takenOver' : 'taken') : 'refused']++
        if (!lock) continue
        if (lock.token <= newest) throw new Error(`token ${lock.token} after ${newest}`)
        newest = lock.token
        had[caller] = lock
        held = { token: lock.token, until: clock + time }
      }
      if (verb === 'heartbeat' && mine) {
        const kept = await unlessConflict(ledger.heartbeat(mine, time))
        const isMine = held?.token === mine.token
        if ((kept !== undefined) !== isMine) throw new Error(`kept: ${kept?.token}, ${isMine}`)
        seen[kept ? 'kept' : 'lost']++
        if (kept) held = { token: mine.token, until: clock + time }
      }
      if (verb === 'unlock' && mine) {
        await ledger.unlock(mine)
        if (held?.token === mine.token) held = undefined
      }
      const live = held && held.until > clock ? held.token : undefined
      const found = await ledger.findLock('webapi', environment)
      if (found?.token !== live) throw new Error(`found ${found?.token}, not ${live}`)
    }
  })
  await fc.assert(property, { numRuns: 40 })
  for (const [what, times] of Object.entries(seen)) t.ok(times > 10, `${what}: ${times} times`)
}

async function unlessConflict<T>(attempt: Promise<T>): Promise<T | undefined> {
  try {
    return await attempt
  } catch (error) {
    if (isStepError(error, 'CONFLICT')) return undefined
    throw error
  }
}
