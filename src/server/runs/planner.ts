import { StepError } from '../../core/errors.ts'
import { type ChildRun, runChild } from './child.ts'
import type { RunsOptions } from './options.ts'
import type { RunRequest, RunSubject } from './run.ts'
import { findRemoteStep } from './steps.ts'
import { type RunStore, type StoredPlan, subjectKey } from './store.ts'
import { createTurns, type TurnLimits } from './turns.ts'

/** Milliseconds, and how long a plan may take to end when it is to: it has nothing to restore. */
const TIMEOUT = 3 * 60_000
const END_TIMEOUT = 5000

export interface PlannerLimits extends TurnLimits {
  /** Milliseconds that a plan may take. */
  timeout: number
}

const LIMITS: PlannerLimits = { running: 2, waiting: 20, ofAddress: 10, timeout: TIMEOUT }

/** Who asked for a plan, from which address, until they are gone. */
export interface PlanAsker {
  subject: RunSubject
  /** Their ID token, where an agent may have to see it. */
  jobToken?: string | undefined
  address: string
  signal: AbortSignal
}

export type Planner = (request: RunRequest, asker: PlanAsker) => Promise<StoredPlan>

/** Plans are made by the command line with `--plan`, as for somebody who runs it at a terminal. */
export function createPlanner(
  {
    applications,
    worker,
    urlOf,
    agents,
  }: Pick<RunsOptions, 'applications' | 'worker' | 'urlOf' | 'agents'>,
  store: Pick<RunStore, 'keepPlan'>,
  limits: PlannerLimits = LIMITS,
): Planner {
  const turns = createTurns(limits)
  const url = urlOf('plan')
  return async (request, { subject, address, jobToken, signal: gone }) => {
    if (findRemoteStep(request.step).step.plan === undefined) {
      throw new StepError('INPUT_INVALID', `${request.step} has no plan`, {
        hint: '`deploy`, `promote` and `rollback` have one; POST this step to runs.',
      })
    }
    const asker = { subject: subjectKey(subject), address, signal: gone }
    const { hash, facts } = await turns.take(asker, () =>
      within(limits.timeout, gone, async (signal) => {
        if (agents?.of(request)) return agents.plan(request, { subject, jobToken }, signal)
        const application = await applications.open(request.app, signal)
        return makePlan({ request, subject, application, worker, url, signal })
      }),
    )
    return store.keepPlan({ subject: subjectKey(subject), request, hash, facts })
  }
}

/** Ends work that takes longer, or whose asker is gone. */
async function within<T>(
  time: number,
  gone: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController()
  const timer = setTimeout(() => {
    late.abort(
      new StepError('UNAVAILABLE', `the plan was not made within ${Math.ceil(time / 1000)} s`, {
        hint: 'A host or a registry may not answer. Look at them, then ask again.',
      }),
    )
  }, time)
  try {
    return await work(AbortSignal.any([gone, late.signal]))
  } finally {
    clearTimeout(timer)
  }
}

/** What the step would do with these settings. */
export async function makePlan(
  child: Omit<ChildRun, 'more' | 'timeout' | 'killTimeout' | 'onLine'>,
): Promise<{ hash: string; facts: Record<string, unknown> }> {
  const { output = {}, failure } = await runChild({
    ...{ ...child, more: ['--plan'] },
    ...{ timeout: TIMEOUT, killTimeout: END_TIMEOUT },
  })
  const { error: _error, ...facts } = output
  // A plan that is not ready is a failure of the command, and a plan.
  const { hash } = facts
  if (typeof hash !== 'string') throw failure ?? new StepError('INTERNAL', 'there is no plan')
  return { hash, facts }
}
