import { randomUUID } from 'node:crypto'
import { open, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { errorCodeOf, explain, StepError } from '../../../core/errors.ts'
import { wait } from '../../../core/retry.ts'

interface Holder {
  pid: number
  host: string
  id: string
}

export interface FileLockOptions {
  signal?: AbortSignal | undefined
  /** Milliseconds to wait for another holder. */
  timeout?: number
}

/**
 * Runs `work` while this process holds `<path>.lock`. Waits for another holder, then throws
 * CONFLICT; the lock of a process of this machine that has ended is taken over.
 */
export async function withFileLock<T>(
  path: string,
  work: () => Promise<T>,
  { signal, timeout = 10_000 }: FileLockOptions = {},
): Promise<T> {
  const lock = `${path}.lock`
  const mine: Holder = { pid: process.pid, host: hostname(), id: randomUUID() }
  const until = Date.now() + timeout
  while (!(await take(lock, mine))) {
    const holder = await holderOf(lock)
    if (holder && isGone(holder)) await breakLock(lock, holder)
    else if (Date.now() > until) throw held(path, lock, holder)
    await wait(5 + Math.random() * 25, signal)
  }
  try {
    return await work()
  } finally {
    await rm(lock, { force: true })
  }
}

async function take(lock: string, mine: Holder): Promise<boolean> {
  try {
    const handle = await open(lock, 'wx', 0o600)
    try {
      await handle.writeFile(JSON.stringify(mine))
    } finally {
      await handle.close()
    }
    return true
  } catch (error) {
    if (errorCodeOf(error) === 'EEXIST') return false
    throw explain(`locking ${lock}`, error)
  }
}

/** Undefined while it is written, or when it is already removed. */
async function holderOf(lock: string): Promise<Holder | undefined> {
  try {
    return JSON.parse(await readFile(lock, 'utf8')) as Holder
  } catch {
    return undefined
  }
}

function isGone({ pid, host }: Holder): boolean {
  if (host !== hostname()) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return errorCodeOf(error) === 'ESRCH'
  }
}

/** Only one process at a time may break a lock, and only the lock it has examined. */
async function breakLock(lock: string, examined: Holder): Promise<void> {
  const breaking = `${lock}.break`
  const mine: Holder = { pid: process.pid, host: hostname(), id: randomUUID() }
  if (!(await take(breaking, mine))) return
  try {
    if ((await holderOf(lock))?.id === examined.id) await rm(lock, { force: true })
  } finally {
    await rm(breaking, { force: true })
  }
}

function held(path: string, lock: string, holder: Holder | undefined): StepError {
  const who = holder ? `process ${holder.pid} on ${holder.host}` : 'another process'
  return new StepError('CONFLICT', `${path} is locked by ${who}`, {
    hint: `Run it again; if that process is gone, remove ${lock} (and ${lock}.break).`,
    retryable: true,
  })
}
