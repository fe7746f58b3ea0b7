import { isStepError, type StepError } from '../../core/errors.ts'
import type { Lock } from '../../ledger/ledger.ts'
import type { Context } from '../context.ts'
import type { Attempt, CheckName } from '../deployment/attempt.ts'
import { requireFree } from '../deployment/lock.ts'
import { isManualLock } from '../gate/guard.ts'
import type { PlanRequest } from './request.ts'
import type { Plan } from './schema.ts'

/** What stands in a deployment's way, and what it would warn of. */
export interface Obstacles extends Pick<Plan, 'problems' | 'warnings'> {
  /** Notes what a check throws, and goes on. */
  attempt: Attempt
  note(check: CheckName, error: StepError): void
  /** The same context, whose warnings come here. */
  context: Context
}

export function collectObstacles(outer: Context): Obstacles {
  const [problems, warnings]: [Plan['problems'], string[]] = [[], []]
  const { debug: info } = outer.log
  const log = { ...outer.log, info, warn: (text: string) => void warnings.push(text) }
  const note = (check: CheckName, error: StepError) => {
    const { code, message, hint = null, retryable } = error
    problems.push({ check, code, message, hint, retryable })
  }
  const attempt: Attempt = async (check, work) => {
    try {
      return await work()
    } catch (error) {
      if (!isStepError(error) || isStepError(error, 'CANCELLED')) throw error
      note(check, error)
      return undefined
    }
  }
  return { problems, warnings, attempt, note, context: { ...outer, log } }
}

/** A deployment that may wait for the lock is not stopped by it. */
export async function checkLock(
  { release: { app }, environment: { name: environment }, lockWait = 0 }: PlanRequest,
  { note, warnings, context }: Obstacles,
): Promise<Plan['lock']> {
  try {
    await requireFree({ app, environment }, context)
    return null
  } catch (error) {
    if (!isStepError(error, 'CONFLICT')) throw error
    if (lockWait > 0) warnings.push(`${error.message}; the deployment would wait for it`)
    else note('lock', error)
  }
  const held = await (await context.ledger()).findLock(app, environment)
  if (!held) return null
  const { owner, reason, expiresAt: until } = held
  return { owner, reason, since: await takenAt(held, context), until }
}

/** By what was written into the ledger when it was taken: a deployment, or an act by hand. */
async function takenAt(held: Lock, context: Context): Promise<string | null> {
  const ledger = await context.ledger()
  const place = { app: held.app, environment: held.environment, limit: 1 }
  const [newest] = await ledger.deployments(place)
  if (newest?.lockToken === held.token) return newest.startedAt
  const [act] = await ledger.events({ ...place, action: 'lock' })
  return isManualLock(held) && act !== undefined ? act.at : null
}
