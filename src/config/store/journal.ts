import { randomUUID } from 'node:crypto'
import { StepError } from '../../core/errors.ts'
import { wait } from '../../core/retry.ts'
import { checkExpected } from './keys.ts'
import type { ConfigChange } from './store.ts'

/**
 * A store that changes single keys atomically, but not many (a Redis Cluster; etcd beyond its limit
 * of operations). Lock and journal are two extra keys that readers of config never see.
 */
export interface JournaledStore {
  /** Takes the lock unless it is held; it expires after `ttl` milliseconds. */
  lock(token: string, ttl: number): Promise<boolean>
  readJournal(): Promise<string | undefined>
  /** Writes the journal if `token` still holds the lock; false when it does not. */
  writeJournal(token: string, text: string): Promise<boolean>
  /** Removes the journal if it is this text. */
  clearJournal(text: string): Promise<void>
  /** Releases the lock if `token` holds it. */
  unlock(token: string): Promise<void>
  /** Values of these keys; absent ones are left out. */
  read(keys: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** In any order, and again after an interruption: it is idempotent. */
  apply(changes: readonly ConfigChange[]): Promise<void>
}

const LOCK_TIME = 30_000
const LONGEST_WAIT = 45_000

interface Journal {
  id: string
  changes: readonly ConfigChange[]
}

/**
 * Makes all changes or none. Writing the journal commits them: readers overlay it on the values
 * they read, and the next writer completes the journal of a writer that died.
 */
export async function changeByJournal(
  name: string,
  store: JournaledStore,
  changes: readonly ConfigChange[],
  expect: readonly ConfigChange[],
  signal?: AbortSignal,
): Promise<void> {
  const token = randomUUID()
  await takeLock(name, store, token, signal)
  try {
    const left = await store.readJournal()
    if (left !== undefined) {
      await store.apply(readChanges(left))
      await store.clearJournal(left)
    }
    checkExpected(name, await store.read(expect.map(({ key }) => key)), expect)
    const journal: Journal = { id: token, changes }
    const text = JSON.stringify(journal)
    if (!(await store.writeJournal(token, text))) throw lost(name)
    await store.apply(changes)
    await store.clearJournal(text)
  } finally {
    await store.unlock(token).catch(() => {})
  }
}

/** The snapshot with the journal applied. */
export function overlayJournal(
  values: ReadonlyMap<string, string>,
  journal: string | undefined,
): Map<string, string> {
  const result = new Map(values)
  for (const { key, value } of journal === undefined ? [] : readChanges(journal)) {
    if (value === null) result.delete(key)
    else result.set(key, value)
  }
  return result
}

async function takeLock(
  name: string,
  store: JournaledStore,
  token: string,
  signal?: AbortSignal,
): Promise<void> {
  for (const end = Date.now() + LONGEST_WAIT; !(await store.lock(token, LOCK_TIME)); ) {
    if (Date.now() > end) {
      throw new StepError('UNAVAILABLE', `${name}: another change has not ended`, {
        hint: 'Try again in a minute.',
      })
    }
    await wait(20 + Math.random() * 60, signal)
  }
}

function readChanges(journal: string): readonly ConfigChange[] {
  return (JSON.parse(journal) as Journal).changes
}

function lost(name: string): StepError {
  return new StepError('UNAVAILABLE', `${name}: the change took too long, nothing was written`, {
    hint: 'Try again.',
  })
}
