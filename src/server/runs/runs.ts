import type { Finished } from '../../api/runs.ts'
import { StepError, toStepError } from '../../core/errors.ts'
import type { EventRecord } from '../queue/event-record.ts'
import type { EventFacts } from '../sources/event.ts'
import { sha256Hex } from '../sources/source.ts'
import { emitOfRun } from '../stream/events.ts'
import { type LogReader, openLogReader } from './lines.ts'
import type { RunsOptions } from './options.ts'
import { createPlanner, type Planner } from './planner.ts'
import { RUN_ROUTE } from './route.ts'
import type { Cancellation, RunRecord, RunRequest } from './run.ts'
import { type NewRun, openRunStore, type RequestKey, type RunStore } from './store.ts'

export interface Runs {
  /** What a step would do now; it is kept for a quarter of an hour. */
  plan: Planner
  findPlan: RunStore['findPlan']
  findRequest: RunStore['findRequest']
  /**
   * Stores the run and queues it: a server that dies after that loses nothing. Gives its id, or that of
   * the run which the same request has made before.
   */
  create(
    id: string,
    run: NewRun & Pick<RunRequest, 'idToken'> & { jobToken?: string | undefined },
    key: RequestKey | undefined,
  ): Promise<string>
  find(id: string): Promise<RunRecord | undefined>
  list: RunStore['list']
  /** Drops a run that waits; one that runs ends by itself, on whatever server it is. */
  cancel(id: string, cancellation: Cancellation): Promise<void>
  log: LogReader
}

/** A run that was stored and not queued: its server died in between. */
const QUEUED_WITHIN = 60_000

export function openRuns(options: RunsOptions): Runs {
  const { access, records } = options
  const store = openRunStore(access)
  const find = async (id: string) => {
    const run = await store.find(id)
    if (run === undefined || run.finished) return run
    if (isOfAgent(run, options)) return lookAtAgent(run, store, options)
    const end = endWithoutWorker(run, await records.find(id))
    if (end === undefined) return run
    await store.finish(id, end)
    return store.find(id)
  }
  return {
    plan: createPlanner(options, store),
    findPlan: store.findPlan,
    findRequest: store.findRequest,
    async create(wanted, { idToken, jobToken, ...run }, key) {
      const id = await store.create(wanted, run, key)
      if (idToken !== undefined && id === wanted) await store.keepToken(id, idToken)
      const stored = await store.find(id)
      if (stored && !stored.finished && stored.startedAt === undefined) {
        if (jobToken !== undefined && isOfAgent(stored, options)) {
          await options.agents?.leases.keepToken(id, jobToken)
        }
        await (isOfAgent(stored, options)
          ? options.agents?.offer(stored)
          : enqueue(stored, options))
      }
      return id
    },
    find,
    list: store.list,
    async cancel(id, cancellation) {
      await store.cancel(id, cancellation)
      const why = `${cancellation.by} cancelled it: ${cancellation.reason}`
      if (await options.agents?.leases.endWaiting(id, cancelledEnd(why))) return
      const dropped = await records.drop(id, why).then(
        () => true,
        (error: unknown) => {
          if (toStepError(error).code === 'UNAVAILABLE') throw error
          return false
        },
      )
      if (dropped) await store.finish(id, cancelledEnd(why))
    },
    log: openLogReader(access),
  }
}

const cancelledEnd = (message: string): Finished => ({
  outcome: 'cancelled',
  outputs: null,
  error: { code: 'CANCELLED', message, retryable: false },
  exitCode: 1,
})

const isOfAgent = (run: RunRecord, { agents }: RunsOptions) => agents?.of(run) !== undefined

/** Longer than a weekend, after which nobody expects it to begin. */
const LONGEST_WAIT = 72 * 3_600_000

/** A server may have died before it offered the run: whoever looks at it offers it again. */
async function lookAtAgent(
  run: RunRecord,
  store: RunStore,
  { agents }: RunsOptions,
): Promise<RunRecord | undefined> {
  const waits = await agents?.look(run)
  if (Date.now() - run.queuedAt > LONGEST_WAIT) {
    const error = { code: 'UNAVAILABLE', message: waits ?? 'no agent took it', retryable: true }
    const end: Finished = { outcome: 'failed', outputs: null, error, exitCode: 75 }
    if (await agents?.leases.endWaiting(run.id, end)) return store.find(run.id)
  }
  if (run.kind !== 'plan') await agents?.leases.offer(run)
  return { ...run, waits }
}

/** Events are dropped, or die, without the effect of a run. */
function endWithoutWorker(run: RunRecord, event: EventRecord | undefined): Finished | undefined {
  if (event?.state === 'dropped') return cancelledEnd(event.error ?? 'its event was dropped')
  const isLost = event === undefined && Date.now() - run.queuedAt > QUEUED_WITHIN
  if (event?.state !== 'dead' && !isLost) return undefined
  const error = isLost
    ? {
        code: 'UNAVAILABLE',
        message: 'the server ended before the run was queued',
        retryable: true,
      }
    : { code: 'INTERNAL', message: event?.error ?? 'its event failed', retryable: false }
  return { outcome: 'failed', outputs: null, error, exitCode: isLost ? 75 : 1 }
}

async function enqueue(
  { id, app, environment, step, subject }: RunRecord,
  { access, intake, wakeUps, log }: RunsOptions,
): Promise<void> {
  const facts: EventFacts = {
    ...{ source: 'generic', via: 'api', kind: 'custom', project: app, ref: environment },
    ...{ commit: '', by: subject.by, title: `${step} for ${subject.name}`, url: '' },
  }
  // Runs of one environment are worked on in order.
  const partition = sha256Hex(JSON.stringify([RUN_ROUTE, app, environment])).slice(0, 32)
  const event = { id, route: RUN_ROUTE, partition, queue: 'runs', supersede: false, facts } as const
  const stored = await intake.store({ delivery: `run\n${id}`, timeless: false, events: [event] })
  if (stored.status !== 'new') return
  if (stored.idle.length === 0) {
    await emitOfRun(access, id, 'run.waiting', [{ why: 'earlier runs' }]).catch(() => {})
    return
  }
  // It is stored: when a job is lost, the sweep adds another one.
  await wakeUps.add([event]).catch((error: unknown) => {
    log.warn(`adding a wake-up job: ${toStepError(error).message}`)
  })
  log.info(`${id}: ${step} of ${app} in ${environment} for ${subject.name}`)
}

export function unknownRun(id: string): StepError {
  return new StepError('NOT_FOUND', `there is no run ${id} here`, {
    hint: 'Runs are kept for thirty days.',
  })
}
