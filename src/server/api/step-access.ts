import type { FastifyRequest } from 'fastify'
import type { Decision } from '../../policy/decide.ts'
import type { Applications } from '../applications/applications.ts'
import type { RunRequest } from '../runs/run.ts'
import { auditedInputs, findRemoteStep, isForced } from '../runs/steps.ts'
import {
  type Access,
  type Act,
  callerOf,
  mayView,
  notThere,
  record,
  requireAllowed,
} from './access.ts'

/** How old the known head of a branch may be where only names are looked up. */
const NAMES_AGE = 30_000

export interface StepAccess {
  act: Act
  decision: Decision
  /** Where it goes past a rule: an act of its own. */
  forced?: { act: Act; decision: Decision } | undefined
}

/** Before it is done; with the run that it will be. */
export async function recordStep(
  request: FastifyRequest,
  { act, decision, forced }: StepAccess,
  more: Pick<Act, 'plan' | 'run'>,
  access: Access,
): Promise<void> {
  if (forced) await record(request, { ...forced.act, ...more }, forced.decision, access)
  await record(request, { ...act, ...more }, decision, access)
}

/**
 * What a step needs: its own verb, `force` where it goes past a rule, and for a promotion `view` at
 * the source. Only then is it looked up what the source is.
 */
export async function requireStep(
  request: FastifyRequest,
  { app, environment, step, inputs }: RunRequest,
  { access, applications }: { access: Access; applications: Applications },
): Promise<StepAccess> {
  const { verb } = findRemoteStep(step)
  const act: Act = { verb, app, environment, object: auditedInputs({ step, inputs }) }
  // Whoever may not view it learns nothing, whatever else is wrong.
  if (verb !== 'promote') {
    const decision = await requireAllowed(request, act, access)
    const forced = await requireForce(request, { act, inputs }, access)
    requireRegistered(app, environment, applications)
    return { act, decision, forced }
  }
  if (!mayView(request, app, environment, access)) {
    // With a source that is not there it says why the target is refused.
    await requireAllowed(request, { ...act, source: environment }, access)
    throw notThere(app, environment)
  }
  requireRegistered(app, environment, applications)
  const { settings } = await applications.open(app, AbortSignal.timeout(60_000), NAMES_AGE)
  const named = Object.hasOwn(settings.environments, environment)
  const source = named ? settings.environments[environment]?.from : undefined
  const whole = { ...act, source: source ?? environment }
  const decision = await requireAllowed(request, whole, access)
  const forced = await requireForce(request, { act: whole, inputs }, access)
  return { act: whole, decision, forced }
}

async function requireForce(
  request: FastifyRequest,
  { act, inputs }: { act: Act; inputs: RunRequest['inputs'] },
  access: Access,
): Promise<StepAccess['forced']> {
  if (!isForced(inputs)) return undefined
  const forcing: Act = { ...act, verb: 'force' }
  return { act: forcing, decision: await requireAllowed(request, forcing, access) }
}

function requireRegistered(app: string, environment: string, { names }: Applications): void {
  if (!names.includes(app)) throw notThere(app, environment)
}

export const subjectOf = (request: FastifyRequest) => callerOf(request).subject
