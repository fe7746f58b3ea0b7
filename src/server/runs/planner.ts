import { StepError } from '../../core/errors.ts'
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
  { applications, worker, urlOf, agents }: RunsOptions,
  store: RunStore,
): (
  request: RunRequest,
  subject: RunSubject,
  signal: AbortSignal,
  token?: string,
) => Promise<StoredPlan> {
  const inTurn = limited(MOST_PLANS, MOST_WAITING)
  return async (request, subject, signal, token) => {
    if (findRemoteStep(request.step).step.plan === undefined) {
      throw new StepError('INPUT_INVALID', `${request.step} has no plan`, {
        hint: '`deploy`, `promote` and `rollback` have one; POST this step to runs.',
      })
    }
    const here = async () => {
      const application = await applications.open(request.app, signal)
      return makePlan({ request, subject, application, worker, url: urlOf('plan'), signal })
    }
    const isAgents = agents?.of(request.app, request.environment) !== undefined
    const { hash, facts } =
      agents && isAgents
        ? await agents.plan(request, { subject, token }, signal)
        : await inTurn(here)
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

function limited(most: number, waiting: number) {
  let running = 0
  const queue: (() => void)[] = []
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= most) {
      if (queue.length >= waiting) {
        throw new StepError('UNAVAILABLE', 'too many plans are being made', { retryAfter: 10_000 })
      }
      await new Promise<void>((resolve) => queue.push(resolve))
    } else running++
    try {
      return await work()
    } finally {
      const next = queue.shift()
      if (next) next()
      else running--
    }
  }
}
