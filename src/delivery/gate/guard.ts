import { StepError } from '../../core/errors.ts'
import { describeFreeze, freezesAt } from '../../gate/freeze.ts'
import type { Who } from '../../identity/who.ts'
import type { AuditAction, Ledger, Lock } from '../../ledger/ledger.ts'
import type { EnvironmentSettings } from '../../settings.ts'
import type { Context } from '../context.ts'
import { type HeldLock, type LockRequest, withLock } from '../deployment/lock.ts'
import { identifyActor } from './break-glass.ts'

/** What a person does to an environment beside deploying to it. */
export interface GuardedChange {
  environment: EnvironmentSettings
  /** As the command is called: `instances stop`. */
  action: string
  reason: string | undefined
  /**
   * Whether a freeze stops it: changes of what runs, or of what will. What only stops deployments, or
   * restores what ran, must be possible at any time.
   */
  waitsForFreeze: boolean
  /** Whether somebody whom the gate names may do it without a token. */
  breakGlass?: boolean | undefined
}

/** Identifies who changes it; at a gate with a signed identity and a reason, outside its freezes. */
export async function guardChange(
  { environment, action, reason = '', waitsForFreeze, breakGlass }: GuardedChange,
  context: Context,
): Promise<Who> {
  const { name, gate } = environment
  if (gate !== undefined && !reason) {
    throw new StepError('INPUT_INVALID', `${name} has a gate: ${action} needs a reason`, {
      hint: 'Say why with `--reason`; it is written into the ledger.',
    })
  }
  const who = await identifyActor({ environment, reason, breakGlass }, context)
  const freezes = waitsForFreeze ? freezesAt(gate?.freeze ?? [], new Date()) : []
  if (freezes.length === 0) return who
  const lines = freezes.map((freeze) => describeFreeze(name, freeze))
  throw new StepError('GATE_CLOSED', [`${action} must wait`, ...lines].join('\n'), {
    hint: `Going back stays possible: \`crosscloud rollback --env ${name} --reason …\`. So do lock, unlock, mark, and instances start and restart.`,
  })
}

/** Records what is about to be done in the ledger: what cannot be recorded is not done. */
export async function recordAct(
  action: AuditAction,
  { environment, subject, reason }: Act,
  who: Who,
  context: Context,
): Promise<void> {
  const { app } = await context.settings()
  const ledger = await context.ledger()
  await ledger.recordEvent({
    app,
    environment,
    action,
    subject,
    reason: reason || undefined,
    by: who.login,
    byId: who.id,
    identity: who.identity,
    jobUrl: context.actor.jobUrl,
  })
}

interface Act {
  environment: string
  /** What it was done to. */
  subject: string | undefined
  reason: string | undefined
}

/** The owner of a lock that a person holds by hand, to stop deployments. */
const BY_HAND = ' (by hand)'
export const manualLockOwner = ({ login }: Who) => `${login}${BY_HAND}`
export const isManualLock = ({ owner }: Pick<Lock, 'owner'>) => owner.endsWith(BY_HAND)

/** Under the lock of application and environment; a person who holds it by hand has it already. */
export async function withLockOf<T>(
  who: Who,
  request: Omit<LockRequest, 'by'>,
  context: Context,
  work: (lock: Pick<HeldLock, 'check'>) => Promise<T>,
): Promise<T> {
  const ledger = await context.ledger()
  const held = await ledger.findLock(request.app, request.environment)
  if (held?.owner !== manualLockOwner(who)) {
    return withLock({ ...request, by: who.login }, context, work)
  }
  return work({ check: () => requireHeld(held, ledger) })
}

async function requireHeld({ app, environment, token }: Lock, ledger: Ledger): Promise<void> {
  const now = await ledger.findLock(app, environment)
  if (now?.token === token) return
  throw new StepError('CONFLICT', `the lock of ${app} in ${environment} by hand has ended`, {
    hint: 'See what was done, then run the command again.',
  })
}
