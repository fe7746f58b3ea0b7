import { StepError, toStepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { agentsOf } from './agents/agents.ts'
import { openApplications } from './applications/applications.ts'
import { applicationProblems, applicationUses } from './check.ts'
import type { Closing, Dependencies, ServeOptions } from './dependencies.ts'
import { createEffects } from './effects/effects.ts'
import { workerEnvironmentOf } from './effects/worker-environment.ts'
import { openFeedback } from './feedback/feedback.ts'
import { createLedgerFacts } from './feedback/ledger-facts.ts'
import { startNotificationWorker } from './feedback/notification-worker.ts'
import { createStatusSetter } from './feedback/status.ts'
import { accessQueue, keyPrefix } from './queue/access.ts'
import { openPartitions, type Partitions } from './queue/partitions.ts'
import { startWorker, sweep, type WakeUps } from './queue/wake-ups.ts'
import { createPartitionWork } from './queue/worker.ts'
import { createApiRunEffect } from './runs/effect.ts'
import { openPermission } from './runs/open-permission.ts'
import { RUN_ROUTE, runRoute, runUrls } from './runs/route.ts'
import { startSchedules } from './schedules/schedules.ts'
import { findRoute } from './settings/route.ts'

/** Starts everything that works on events: workers, notifications, schedules and the sweep. */
export async function startWork(
  dependencies: Dependencies,
  options: ServeOptions,
  closing: Closing,
): Promise<void> {
  const { redis, partitions, wakeUps, metrics, feedbackOptions, queue } = dependencies
  const { settings, log, secrets } = options
  const stopping = new AbortController()
  const stop = new AbortController()
  const common = { metrics, log, signal: stop.signal }
  // A running event waits for Redis: it must not fail, and be begun again, because of it.
  const client = redis.blocking
  const feedback = await openFeedback({ ...feedbackOptions, client })
  closing.push(feedback.close)
  const worker = workerEnvironmentOf(options)
  for (const problem of await applicationProblems(settings, worker)) log.warn(problem)
  const events = accessQueue(client, queue)
  const effectOf = createEffects(settings, worker, dependencies.http)
  const base = `${keyPrefix(queue.name)}:`
  const sessions = { client, server: redis.name, base }
  const runApi = createApiRunEffect({
    access: events,
    permission: openPermission({ settings, sessions, log }, closing),
    applications: openApplications({ settings, worker, variables: options.variables }),
    worker,
    urlOf: runUrls(settings),
    isOfAgent: (run) => agentsOf(settings, run) !== undefined,
    timeout: RUN_TIMEOUT,
  })
  const work = createPartitionWork({
    ...common,
    stopping: stopping.signal,
    feedback,
    effectOf: (route) => (route === runRoute ? runApi : effectOf(route)),
    partitions: openPartitions(events),
    findRoute: (name) => (name === RUN_ROUTE ? runRoute : findRoute(settings, name)),
    mask: secrets.mask,
  })
  const { concurrency, 'stalled-timeout': stalledTimeout } = settings.queue
  const eventWorker = { client, name: queue.name, stalledTimeout, work, log }
  const workers = await Promise.all([
    startWorker({ ...eventWorker, queue: 'calls', concurrency: concurrency.requests }),
    startWorker({ ...eventWorker, queue: 'runs', concurrency: concurrency.commands }),
    startNotificationWorker({
      ...feedbackOptions,
      ...common,
      client,
      ledgerFacts: createLedgerFacts(applicationUses(settings), worker, log),
      setStatus: createStatusSetter(settings, dependencies.http),
    }),
    startSchedules({
      ...common,
      client,
      name: queue.name,
      schedules: settings.schedules,
      worker,
      feedback,
    }),
  ])
  const sweeper = startSweeper(partitions, wakeUps, log)
  closing.push(async () => {
    clearInterval(sweeper)
    stopping.abort(serverStopped())
    const timer = setTimeout(() => stop.abort(serverStopped()), settings.queue['shutdown-timeout'])
    await Promise.all(workers.map((running) => running?.close()))
    clearTimeout(timer)
  })
}

export const serverStopped = () => new StepError('CANCELLED', 'the server was stopped')

/** Longer than a rollout with pauses takes. */
const RUN_TIMEOUT = 6 * 3_600_000

const SWEEP_INTERVAL = 30_000

function startSweeper(partitions: Partitions, wakeUps: WakeUps, log: Log): NodeJS.Timeout {
  const run = () =>
    sweep(partitions, wakeUps).then(
      (added) => added > 0 && log.debug(`${added} partitions got a new wake-up job`),
      (error: unknown) => log.debug(`sweeping: ${toStepError(error).message}`),
    )
  void run()
  return setInterval(run, SWEEP_INTERVAL)
}
