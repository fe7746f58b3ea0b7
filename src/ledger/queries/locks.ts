import type { Kysely, Selectable, Transaction } from 'kysely'
import { StepError } from '../../core/errors.ts'
import { type Access, nextNumber, timestamp } from '../database/access.ts'
import { checkFilled, checkName, checkTtl } from '../database/names.ts'
import type { LockQueueTable, LocksTable, Schema } from '../database/schema.ts'
import type { Ledger, Lock } from '../ledger.ts'
import { isLocked } from '../locked.ts'

type Locks = Pick<Ledger, 'id' | 'lock' | 'leaveQueue' | 'findLock' | 'heartbeat' | 'unlock'>

/**
 * A lock is a row. Every change takes the `lock` counter first and so waits for all others;
 * a holder is identified by the token, never by the owner's name: a person may run two pipelines.
 */
export function createLocks({ read, write, now }: Access): Locks {
  let id: string | undefined
  const fromRow = async (db: Kysely<Schema>, row: Selectable<LocksTable>): Promise<Lock> => {
    id ??= await ledgerId(db)
    const { app, environment, owner, reason, token, expires_at } = row
    return { app, environment, owner, reason, token, ledger: id, expiresAt: expires_at }
  }
  return {
    async id() {
      id ??= await read('looking up the id of the ledger', ledgerId)
      return id
    },

    async lock(app, environment, owner, reason, ttl, queue) {
      checkPlace(app, environment)
      checkFilled("the lock's owner", owner, 255)
      checkFilled("the lock's reason", reason)
      checkTtl(ttl)
      const result = await write(`locking ${app} in ${environment}`, async (trx) => {
        const token = await nextNumber(trx, 'lock')
        const row = { app, environment, owner, reason, token, expires_at: timestamp(now() + ttl) }
        const held = await select(trx, app, environment)
        const refusal = await refuse(trx, row, held, queue !== undefined, timestamp(now()))
        if (refusal) {
          if (!queue) throw refusal
          await keepPlace(trx, row, timestamp(now() + queue), timestamp(now()))
          // The place in the queue stays only if the transaction does.
          return refusal
        }
        if (held) await remove(trx, held)
        if (queue !== undefined) await leave(trx, row)
        await trx.insertInto('locks').values(row).execute()
        return await fromRow(trx, row)
      })
      if (result instanceof StepError) throw result
      return result
    },

    async leaveQueue(app, environment, owner) {
      checkPlace(app, environment)
      await write(`waiting no more for ${app} in ${environment}`, async (trx) => {
        await holdLocks(trx)
        await leave(trx, { app, environment, owner })
      })
    },

    async findLock(app, environment) {
      checkPlace(app, environment)
      return await read(`looking up the lock of ${app} in ${environment}`, async (db) => {
        const row = await select(db, app, environment)
        return row && row.expires_at > timestamp(now()) ? await fromRow(db, row) : undefined
      })
    },

    async heartbeat(lock, ttl) {
      const { app, environment, token } = lock
      checkPlace(app, environment)
      checkTtl(ttl)
      return await write(`keeping ${app} in ${environment} locked`, async (trx) => {
        await holdLocks(trx)
        const held = await select(trx, app, environment)
        if (held?.token !== token) throw isLost(lock, held)
        const expires_at = timestamp(now() + ttl)
        await trx
          .updateTable('locks')
          .set({ expires_at })
          .where('app', '=', app)
          .where('environment', '=', environment)
          .execute()
        return await fromRow(trx, { ...held, expires_at })
      })
    },

    async unlock(lock) {
      checkPlace(lock.app, lock.environment)
      await write(`unlocking ${lock.app} in ${lock.environment}`, async (trx) => {
        await holdLocks(trx)
        await remove(trx, lock)
      })
    },
  }
}

async function holdLocks(trx: Transaction<Schema>): Promise<void> {
  await trx
    .updateTable('counters')
    .set((row) => ({ value: row.ref('value') }))
    .where('name', '=', 'lock')
    .execute()
}

/** Why the lock cannot be taken now: it is held, or another owner asked earlier. */
async function refuse(
  trx: Transaction<Schema>,
  wanted: Selectable<LocksTable>,
  held: Selectable<LocksTable> | undefined,
  queued: boolean,
  moment: string,
): Promise<StepError | undefined> {
  if (held && held.expires_at > moment) return isLocked({ ...held, expiresAt: held.expires_at })
  if (!queued) return undefined
  const first = await trx
    .selectFrom('lock_queue')
    .selectAll()
    .where('app', '=', wanted.app)
    .where('environment', '=', wanted.environment)
    .where('expires_at', '>', moment)
    .orderBy('number')
    .limit(1)
    .executeTakeFirst()
  return first && first.owner !== wanted.owner ? comesFirst(first) : undefined
}

/** A place that is kept alive stays where it is; an expired place is lost, and begins anew. */
async function keepPlace(
  trx: Transaction<Schema>,
  { token: number, ...wanted }: Selectable<LocksTable>,
  expires_at: string,
  moment: string,
): Promise<void> {
  await trx.deleteFrom('lock_queue').where('expires_at', '<=', moment).execute()
  const kept = await trx
    .updateTable('lock_queue')
    .set({ expires_at })
    .where('app', '=', wanted.app)
    .where('environment', '=', wanted.environment)
    .where('owner', '=', wanted.owner)
    .executeTakeFirst()
  if (kept.numUpdatedRows > 0n) return
  await trx
    .insertInto('lock_queue')
    .values({ ...wanted, number, expires_at })
    .execute()
}

async function leave(
  trx: Transaction<Schema>,
  { app, environment, owner }: Pick<LockQueueTable, 'app' | 'environment' | 'owner'>,
): Promise<void> {
  await trx
    .deleteFrom('lock_queue')
    .where('app', '=', app)
    .where('environment', '=', environment)
    .where('owner', '=', owner)
    .execute()
}

async function select(db: Kysely<Schema>, app: string, environment: string) {
  return await db
    .selectFrom('locks')
    .selectAll()
    .where('app', '=', app)
    .where('environment', '=', environment)
    .executeTakeFirst()
}

/** Removes the lock with this token; a younger one stays. */
async function remove(
  trx: Transaction<Schema>,
  { app, environment, token }: Pick<Lock, 'app' | 'environment' | 'token'>,
): Promise<void> {
  await trx
    .deleteFrom('locks')
    .where('app', '=', app)
    .where('environment', '=', environment)
    .where('token', '=', token)
    .execute()
}

function checkPlace(app: string, environment: string): void {
  checkName('application', app)
  checkName('environment', environment)
}

function comesFirst({ app, environment, owner, reason }: LockQueueTable): StepError {
  return new StepError(
    'CONFLICT',
    `${app} in ${environment} is not locked, but ${owner} (${reason}) waits for it and comes first`,
    { hint: `Wait until ${owner} is done.` },
  )
}

function isLost(lock: Lock, held: Selectable<LocksTable> | undefined): StepError {
  const { app, environment } = lock
  const since = held
    ? `${held.owner} (${held.reason}) holds it until ${held.expires_at}`
    : 'nobody holds it now'
  return new StepError(
    'CONFLICT',
    `${lock.owner} lost the lock of ${app} in ${environment}: ${since}`,
    { hint: 'Look at what was done since, then run the command again.' },
  )
}

async function ledgerId(db: Kysely<Schema>): Promise<string> {
  const row = await db
    .selectFrom('facts')
    .select('value')
    .where('name', '=', 'id')
    .executeTakeFirstOrThrow()
  return row.value
}
