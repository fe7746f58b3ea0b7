import { StepError } from '../../core/errors.ts'
import { inTurns } from '../reads/turns.ts'
import { type ChildRun, runChild } from './child.ts'
import type { RunsOptions } from './options.ts'
import type { RunRequest, RunSubject } from './run.ts'
import { findRemoteStep } from './steps.ts'
import { type RunStore, type StoredPlan, subjectKey } from './store.ts'

const TIMEOUT = 3 * 60_000
/** Processes at the same time, and requests that wait for one. */
const MOST_PLANS = 2
const MOST_WAITING = 20

/** Plans are made by the command line with `--plan`, as for somebody who runs it at a terminal. */
export function createPlanner(
  { applications, worker, urlOf }: RunsOptions,
  store: RunStore,
): (request: RunRequest, subject: RunSubject, signal: AbortSignal) => Promise<StoredPlan> {
  const inTurn = inTurns(
    { most: MOST_PLANS, waiting: MOST_WAITING },
    'too many plans are being made',
  )
  return async (request, subject, signal) => {
    if (findRemoteStep(request.step).step.plan === undefined) {
      throw new StepError('INPUT_INVALID', `${request.step} has no plan`, {
        hint: '`deploy`, `promote` and `rollback` have one; POST this step to runs.',
      })
    }
    const { hash, facts } = await inTurn(async () => {
      const application = await applications.open(request.app, signal)
      return makePlan({ request, subject, application, worker, url: urlOf('plan'), signal })
    })
    return store.keepPlan({ subject: subjectKey(subject), request, hash, facts })
  }
}

/** What the step would do with these settings. */
export async function makePlan(
  child: Omit<ChildRun, 'more' | 'timeout' | 'onLine'>,
): Promise<{ hash: string; facts: Record<string, unknown> }> {
  const { output = {}, failure } = await runChild({ ...child, more: ['--plan'], timeout: TIMEOUT })
  const { error: _error, ...facts } = output
  // A plan that is not ready is a failure of the command, and a plan.
  const { hash } = facts
  if (typeof hash !== 'string') throw failure ?? new StepError('INTERNAL', 'there is no plan')
  return { hash, facts }
}
