import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, isStepError, StepError, toStepError } from '../../core/errors.ts'
import { forgetLiving, isOver, type Liveness, showLiving } from '../../core/process/liveness.ts'
import { retry, wait } from '../../core/retry.ts'
import type { Ledger, Lock } from '../../ledger/ledger.ts'
import { isLocked } from '../../ledger/locked.ts'
import type { Context } from '../context.ts'

/** milliseconds: how long a lock outlives a deployer that was killed. */
const LOCK_TTL = 60_000
const HEARTBEAT = 15_000
/** A process without a heartbeat for so long was stopped itself. */
const STANDSTILL = 2 * HEARTBEAT
/** How long the first heartbeat after a standstill may take. */
const WAKE_TIMEOUT = 5000
const POLL = 2000
/** How long a place in the queue is kept: a waiter that was killed delays the others no longer. */
const PLACE_TTL = 10 * POLL
/** The ledger's own waiting comes before; this is for a connection that broke. */
const TRIES = { attempts: 3, firstPause: 250 }

export interface LockRequest {
  app: string
  environment: string
  reason: string
  /** Who takes it, where an identity is known. */
  by?: string | undefined
  /** How long to wait for somebody else's lock, in milliseconds. */
  timeout: number
  /** Called when the ledger has taken the lock back. */
  onFree?: () => void
}

export interface HeldLock {
  token: number
  /** The id of the ledger that gave it. */
  ledger: string
  /** Throws when the lock was lost to somebody else. */
  check(): Promise<void>
}

/** Holds the lock of application and environment while `work` runs, and gives it back. */
export async function withLock<T>(
  request: LockRequest,
  context: Context,
  work: (lock: HeldLock) => Promise<T>,
): Promise<T> {
  const ledger = await context.ledger()
  const lock = await takeLock(request, ledger, context)
  const liveness = await showHolder(lock, context)
  const kept = keepLock(lock, ledger)
  try {
    return await work({ token: lock.token, ledger: lock.ledger, check: kept.check })
  } finally {
    const given = await giveBack(kept.end(), ledger, context)
    if (given) request.onFree?.()
    await liveness?.end(given ? 'removed' : 'left')
  }
}

/** Extends the lock until `end`, which returns it as it is then. */
function keepLock(taken: Lock, ledger: Ledger) {
  let lock = taken
  let lost: unknown
  let lastBeat = Date.now()
  let awake = Promise.resolve()
  const stoodStill = () => Date.now() - lastBeat > STANDSTILL
  const beat = async () => {
    lastBeat = Date.now()
    try {
      lock = await ledger.heartbeat(lock, LOCK_TTL)
    } catch (error) {
      // A ledger that does not respond takes no lock away: hosts refuse an older token.
      if (isStepError(error, 'CONFLICT')) lost = error
    }
  }
  const beatOrWake = () => {
    if (stoodStill()) awake = beat()
    else void beat()
  }
  const timer = setInterval(beatOrWake, HEARTBEAT)
  return {
    /** After a standstill (SIGSTOP, a machine that slept) another may have the lock: ask the ledger. */
    async check() {
      if (stoodStill()) awake = beat()
      await Promise.race([awake, sleep(WAKE_TIMEOUT, undefined, { ref: false })])
      if (lost !== undefined) throw lost
    },
    end() {
      clearInterval(timer)
      return lock
    },
  }
}

/** The name of a lock's holder on this machine; no other holder ever has this token of this ledger. */
const subjectOf = ({ ledger, token }: Lock) => `lock ${token} of ledger ${ledger}`
const livingFolder = ({ stateFolder }: Context) => join(stateFolder, 'locks')

/** Others on this machine can then see at once when this process was killed, and need not wait. */
async function showHolder(lock: Lock, context: Context): Promise<Liveness | undefined> {
  try {
    return await showLiving(livingFolder(context), subjectOf(lock))
  } catch (error) {
    context.log.debug(`nobody can see here that this deployment lives: ${describe(error)}`)
    return undefined
  }
}

/** Waits in the ledger's queue, first come, first served, until the request's timeout. */
async function takeLock(request: LockRequest, ledger: Ledger, context: Context): Promise<Lock> {
  const { app, environment, timeout } = request
  const { signal, log, actor } = context
  const owner = `${request.by ?? actor.by} (${hostname()}:${process.pid}:${randomUUID().slice(0, 8)})`
  const deadline = performance.now() + timeout
  const attempt = async (): Promise<Lock | StepError> => {
    const queue = performance.now() < deadline ? PLACE_TTL : 0
    return await retry((count) => requestLock({ ...request, owner, queue }, ledger, count), {
      ...TRIES,
      signal,
    }).catch(unlessConflict)
  }
  try {
    for (let isLogged = false; ; isLogged = true) {
      const result = await attempt()
      if (!(result instanceof StepError)) return result
      if (await freeOfTheDead(request, ledger, context)) continue
      if (performance.now() >= deadline) throw timeout > 0 ? result : withAdvice(result)
      if (!isLogged) log.info(`${result.message}; waiting for it`)
      await wait(Math.min(POLL, deadline - performance.now()), signal)
    }
  } catch (error) {
    if (timeout > 0) await leaveQueue(ledger, app, environment, owner, log)
    throw error
  }
}

function unlessConflict(error: unknown): StepError {
  const known = toStepError(error)
  if (known.code === 'CONFLICT') return known
  throw known
}

/** The response to a first attempt may have been lost: then the lock may be ours already. */
async function requestLock(
  { app, environment, reason, owner, queue }: LockRequest & { owner: string; queue: number },
  ledger: Ledger,
  attempt: number,
): Promise<Lock> {
  const held = attempt === 1 ? undefined : await ledger.findLock(app, environment)
  if (held?.owner === owner) return held
  return await ledger.lock(app, environment, owner, reason, LOCK_TTL, queue)
}

/** Left behind, the place would hold up those who come later until it ends by itself. */
async function leaveQueue(
  ledger: Ledger,
  app: string,
  environment: string,
  owner: string,
  log: Context['log'],
): Promise<void> {
  try {
    await ledger.leaveQueue(app, environment, owner)
  } catch (error) {
    log.debug(`the place in the queue ends by itself: ${describe(error)}`)
  }
}

/** Frees the lock of a process that ran on this machine and is over; a younger lock stays. */
async function freeOfTheDead(
  { app, environment }: LockRequest,
  ledger: Ledger,
  context: Context,
): Promise<boolean> {
  const held = await ledger.findLock(app, environment)
  if (!held || !(await isOver(livingFolder(context), subjectOf(held)))) return false
  context.log.warn(
    `${held.owner} ended without giving back the lock of ${app} in ${environment}; it is taken over`,
  )
  await retry(() => ledger.unlock(held), { ...TRIES, signal: context.signal })
  await forgetLiving(livingFolder(context), subjectOf(held))
  return true
}

/** The lock as the next command here finds it: none where its holder ran on this machine and is over. */
export async function findHeldLock(
  { app, environment }: Pick<LockRequest, 'app' | 'environment'>,
  context: Context,
): Promise<Lock | undefined> {
  const held = await (await context.ledger()).findLock(app, environment)
  return held && (await isOver(livingFolder(context), subjectOf(held))) ? undefined : held
}

/** CONFLICT while somebody else has the lock; nothing is taken, and no place in the queue. */
export async function requireFree(
  place: Pick<LockRequest, 'app' | 'environment'>,
  context: Context,
): Promise<void> {
  const held = await findHeldLock(place, context)
  if (held) throw withAdvice(isLocked(held))
}

function withAdvice(error: StepError): StepError {
  return new StepError(error.code, error.message, {
    hint: `${error.hint ?? ''} \`--lock-wait 10m\` waits for it; a run that was killed keeps it a minute.`.trim(),
    cause: error,
  })
}

/** Whether the ledger took it back; otherwise it expires. */
async function giveBack(lock: Lock, ledger: Ledger, { log }: Context): Promise<boolean> {
  try {
    await retry(() => ledger.unlock(lock), TRIES)
    return true
  } catch (error) {
    log.warn(`${toStepError(error).message}; the lock ends by itself at ${lock.expiresAt}`)
    return false
  }
}
