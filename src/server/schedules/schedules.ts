import { resolve } from 'node:path'
import type { Queue, Worker } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { runCommand } from '../effects/command.ts'
import type { WorkerEnvironment } from '../effects/worker-environment.ts'
import type { Feedback } from '../feedback/feedback.ts'
import type { Metrics } from '../monitoring/metrics.ts'
import { keyPrefix } from '../queue/access.ts'
import { commands, type ScheduleSettings } from './settings.ts'

export interface ScheduleOptions {
  client: Redis | Cluster
  /** Name of the queue. */
  name: string
  schedules: readonly ScheduleSettings[]
  worker: WorkerEnvironment
  feedback: Feedback
  metrics: Metrics
  log: Log
  signal: AbortSignal
}

/** Schedules are stored in Redis: of several servers one runs what is due, once. */
export async function startSchedules(options: ScheduleOptions): Promise<Worker | undefined> {
  const { Queue: BullQueue, Worker: BullWorker } = await import('bullmq')
  const { client, name, schedules } = options
  const common = { connection: client, prefix: keyPrefix(name) }
  const queue: Queue = new BullQueue('schedules', common)
  queue.on('error', () => {})
  try {
    await synchronize(queue, schedules)
  } finally {
    await queue.close()
  }
  if (schedules.length === 0) return undefined
  const worker = new BullWorker(
    'schedules',
    async (job) => {
      const schedule = schedules.find((known) => known.name === job.name)
      if (schedule) await runSchedule(schedule, String(job.id), options)
    },
    common,
  )
  worker.on('error', () => {})
  return worker
}

/** Stores the schedules of the settings, and removes those of earlier settings. */
async function synchronize(queue: Queue, schedules: readonly ScheduleSettings[]): Promise<void> {
  const names = new Set(schedules.map(({ name }) => name))
  for (const { key } of await queue.getJobSchedulers()) {
    if (!names.has(key)) await queue.removeJobScheduler(key)
  }
  for (const { name, cron, zone } of schedules) {
    const opts = { removeOnComplete: true, removeOnFail: 100 }
    await queue.upsertJobScheduler(name, { pattern: cron, tz: zone }, { name, opts })
  }
}

async function runSchedule(
  { name, run, env, folder, variables, notify, timeout }: ScheduleSettings,
  id: string,
  { worker, feedback, metrics, log, signal }: ScheduleOptions,
): Promise<void> {
  const { args, only } = commands[run]
  try {
    await runCommand({
      program: worker.program,
      args: [...args, ...(env === undefined ? [] : only(env))],
      signal,
      timeout,
      cwd: resolve(worker.folder, folder),
      env: { ...worker.variables, ...variables },
    })
    metrics.schedule(name, 'done')
    log.info(`schedule ${name}: nothing was found`)
  } catch (thrown) {
    const error = toStepError(thrown)
    metrics.schedule(name, 'failed')
    log.error(`schedule ${name}: ${error.message}`)
    if (signal.aborted) return
    const what = run === 'drift' && error.code === 'VERIFY_FAILED' ? 'drift' : 'failed'
    await feedback.notify(notify, {
      id: `${id}-${what}`.replaceAll(':', '-'),
      what,
      route: name,
      text: error.message,
      facts: { schedule: name, environment: env ?? '' },
    })
  }
}
