import { setTimeout as sleep } from 'node:timers/promises'
import { PLAN_STALE } from '../../api/problem.ts'
import type { Finished } from '../../api/runs.ts'
import { StepError, toStepError } from '../../core/errors.ts'
import type { Applications } from '../applications/applications.ts'
import type { CommandEnd } from '../effects/command.ts'
import { type Attempt, type Effect, isTakenOver, type Outcome } from '../effects/effect.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import type { QueueAccess } from '../queue/access.ts'
import { runChild } from './child.ts'
import { findEarlier } from './earlier.ts'
import { type LineWriter, note, openLineWriter } from './lines.ts'
import { isRefusal, type Permission } from './permission.ts'
import { makePlan } from './planner.ts'
import type { RunRecord, RunRequest } from './run.ts'
import { changesEnvironment } from './steps.ts'
import { openRunStore, type RunStore } from './store.ts'

export interface RunEffectOptions {
  /** Waits for Redis where it is away. */
  access: QueueAccess
  applications: Applications
  worker: WorkerEnvironment
  /** Asked when a run begins. */
  permission: Permission
  /** The page of a run. */
  urlOf(run: string): string
  /** Whether an agent carries out what is asked for there. */
  isOfAgent?(run: RunRequest): boolean
  /** Milliseconds that a step may take. */
  timeout: number
}

/** Runs the step of a run. Its failure is a result; only a server that stops gives the run back. */
export function createApiRunEffect(options: RunEffectOptions): Effect {
  const store = openRunStore(options.access)
  return async (attempt) => {
    const run = await store.find(attempt.id)
    if (run === undefined) {
      throw new StepError('NOT_FOUND', `run ${attempt.id} is not kept any more`)
    }
    const { finished } = run
    if (finished) return outcomeOf(run, finished)
    const end = options.isOfAgent?.(run) ? ofAgentNow : await perform(run, attempt, store, options)
    await store.finish(run.id, end)
    return outcomeOf(run, end)
  }
}

const ofAgentNow: Finished = {
  outcome: 'failed',
  outputs: null,
  error: {
    code: 'CONFLICT',
    message: 'its environment was given to an agent while it waited',
    hint: 'Ask for it again.',
    retryable: false,
  },
  exitCode: 1,
}

async function perform(
  run: RunRecord,
  attempt: Attempt,
  store: RunStore,
  options: RunEffectOptions,
): Promise<Finished> {
  const ending = new AbortController()
  const watch = watchCancel(run.id, store, ending)
  const signal = AbortSignal.any([attempt.signal, ending.signal])
  const lines = openLineWriter(options.access, run.id)
  try {
    return finishedOf(await attemptRun(run, { attempt, store, signal, lines }, options), options)
  } catch (thrown) {
    const error = toStepError(thrown)
    // Another server goes on with it.
    if (attempt.signal.aborted || isTakenOver(error)) throw error
    const cancel = error.code === 'CANCELLED' ? await store.findCancel(run.id) : undefined
    const outcome = cancel ? 'cancelled' : isRefusal(error) ? 'refused' : 'failed'
    const known = cancel
      ? new StepError('CANCELLED', `${cancel.by} cancelled it: ${cancel.reason}`)
      : error
    return { outcome, outputs: null, error: errorOf(known, options), exitCode: known.exitCode }
  } finally {
    watch.abort()
    await lines.end()
  }
}

/** What carries a run out: this server, or an agent. */
export interface Work {
  attempt: Pick<Attempt, 'again' | 'confirm'>
  store: Pick<RunStore, 'findCancel' | 'start'>
  signal: AbortSignal
  lines: Pick<LineWriter, 'add'>
}

type WorkOptions = Pick<RunEffectOptions, 'worker' | 'permission' | 'urlOf' | 'timeout'> & {
  applications: Pick<Applications, 'open'>
}

export async function attemptRun(
  run: RunRecord,
  { attempt, store, signal, lines }: Work,
  { applications, worker, permission, urlOf, timeout }: WorkOptions,
): Promise<CommandEnd> {
  if (await store.findCancel(run.id)) throw new StepError('CANCELLED', 'cancelled')
  const application = await applications.open(run.app, signal)
  // Begun by a server that is gone: what its command did is looked for first.
  const again = attempt.again && run.startedAt !== undefined
  if (again) lines.add(note('the server that ran this is gone; another one goes on with it'))
  const earlier = again ? await findEarlier(run, application, worker, signal) : undefined
  if (earlier) return earlier
  const child = { request: run, subject: run.subject, application, worker, signal }
  const url = urlOf(run.id)
  // What an attempt before it has begun is no part of the plan.
  if (!again) await requireSamePlan(run, { ...child, url })
  await permission(run, application.settings)
  await attempt.confirm()
  await store.start(run.id)
  return runChild({
    ...child,
    url,
    timeout,
    onLine: lines.add,
    more: again && run.inputs.lockWait === undefined ? lockWait(run) : [],
  })
}

/** While it waited the branch may have moved on, or another run have changed the hosts. */
async function requireSamePlan(
  { planHash }: RunRecord,
  child: Parameters<typeof makePlan>[0],
): Promise<void> {
  if (planHash === undefined) return
  const { hash } = await makePlan(child)
  if (hash === planHash) return
  throw new StepError<Stale>('CONFLICT', 'what its plan was made of has changed while it waited', {
    hint: 'Nothing was done. Make a new plan, look at it, and run that.',
    details: { stale: true },
  })
}

interface Stale {
  stale: true
}

/** The command of the server that is gone may still hold the lock, to restore what it began. */
const lockWait = ({ step }: RunRecord) => (changesEnvironment(step) ? ['--lock-wait=10m'] : [])

const CANCEL_POLL = 500

/** Ends the work when somebody cancels the run, on whatever server they ask. */
function watchCancel(id: string, store: RunStore, ending: AbortController): AbortController {
  const stop = new AbortController()
  const watch = async () => {
    while (!stop.signal.aborted) {
      await sleep(CANCEL_POLL, undefined, { signal: stop.signal })
      const cancel = await store.findCancel(id).catch(() => undefined)
      if (cancel) {
        ending.abort(new StepError('CANCELLED', `${cancel.by} cancelled it: ${cancel.reason}`))
        return
      }
    }
  }
  watch().catch(() => {})
  return stop
}

export function finishedOf(
  { output, failure, exitCode }: CommandEnd,
  options: Pick<RunEffectOptions, 'worker'>,
): Finished {
  const succeeded = failure === undefined
  return {
    outcome: succeeded ? 'succeeded' : 'failed',
    outputs: succeeded ? (output ?? {}) : null,
    error: failure ? errorOf(failure, options) : null,
    exitCode: exitCode > 255 ? 1 : exitCode,
  }
}

export function errorOf(
  { code, message, hint, retryable, details }: StepError,
  { worker: { secrets } }: Pick<RunEffectOptions, 'worker'>,
): NonNullable<Finished['error']> {
  const { stale } = (details ?? {}) as Partial<Stale>
  return {
    code: stale ? PLAN_STALE : code,
    message: secrets.mask(message),
    hint: hint && secrets.mask(hint),
    retryable,
  }
}

function outcomeOf({ step, app, environment }: RunRecord, { outcome, error }: Finished): Outcome {
  const what = `${step} of ${app} in ${environment} ${outcome}`
  return {
    text: error ? `${what}: ${error.message}` : what,
    state: outcome === 'succeeded' ? 'succeeded' : 'failed',
  }
}
