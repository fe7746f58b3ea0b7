import { resolve } from 'node:path'
import type { Queue, Worker } from 'bullmq'
import { CronExpressionParser } from 'cron-parser'
import type { Cluster, Redis } from 'ioredis'
import { z } from 'zod'
import { toStepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { duration, objectName } from '../core/settings/schema.ts'
import { isZone } from '../gate/calendar.ts'
import { runCommand } from './effects/child.ts'
import { commandVariables, type Workplace } from './effects/environment.ts'
import type { Feedback } from './feedback/feedback.ts'
import type { Metrics } from './metrics.ts'
import { keyPrefix } from './queue/access.ts'

/** What can be done at certain times, as a command line of crosscloud. */
const commands = {
  drift: {
    args: ['status', '--check'],
    only: (env: string) => ['--env', env],
  },
  'config-lint': { args: ['config', 'lint'], only: (env: string) => [env] },
  retention: { args: ['retention', '--yes'], only: (env: string) => ['--env', env] },
} as const

export const scheduleSettings = z.strictObject({
  name: objectName.describe('Its name, in logs and metrics'),
  cron: z
    .string()
    .refine(isCron, 'is not a cron line; write minute hour day month weekday: 0 6 * * mon-fri')
    .describe('When: minute hour day month weekday'),
  zone: z
    .string()
    .refine(isZone, 'is not a time zone; write Europe/Berlin, Asia/Shanghai or UTC')
    .default('UTC')
    .describe('IANA time zone of the cron line'),
  run: z
    .enum(Object.keys(commands) as (keyof typeof commands)[])
    .describe(
      'whether the hosts run what the ledger says; what is wrong in the config; `crosscloud retention`',
    ),
  env: objectName.optional().describe('Only this environment'),
  folder: z.string().min(1).describe('Folder with crosscloud.yml'),
  variables: commandVariables,
  notify: z.array(objectName).default([]).describe('Who is told when something is found'),
  timeout: duration.prefault('30m').describe('How long it may run'),
})

export type ScheduleSettings = z.output<typeof scheduleSettings>

function isCron(text: string): boolean {
  try {
    CronExpressionParser.parse(text)
    // H is Jenkins' word, and something else here.
    return text.trim().split(/\s+/).length === 5 && !/(?:^|[\s,])H/.test(text)
  } catch {
    return false
  }
}

export interface ScheduleOptions {
  client: Redis | Cluster
  /** Of the queue. */
  name: string
  schedules: readonly ScheduleSettings[]
  place: Workplace
  feedback: Feedback
  metrics: Metrics
  log: Log
  signal: AbortSignal
}

/** Each schedule is kept in Redis, so that one server of several does what is due, once. */
export async function startSchedules(options: ScheduleOptions): Promise<Worker | undefined> {
  const { Queue: BullQueue, Worker: BullWorker } = await import('bullmq')
  const { client, name, schedules } = options
  const common = { connection: client, prefix: keyPrefix(name) }
  const queue: Queue = new BullQueue('schedules', common)
  queue.on('error', () => {})
  try {
    await settle(queue, schedules)
  } finally {
    await queue.close()
  }
  if (schedules.length === 0) return undefined
  const worker = new BullWorker(
    'schedules',
    async (job) => {
      const schedule = schedules.find((one) => one.name === job.name)
      if (schedule) await runSchedule(schedule, String(job.id), options)
    },
    common,
  )
  worker.on('error', () => {})
  return worker
}

/** What the file says, and nothing that an earlier file said. */
async function settle(queue: Queue, schedules: readonly ScheduleSettings[]): Promise<void> {
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
  { place, feedback, metrics, log, signal }: ScheduleOptions,
): Promise<void> {
  const args = [...commands[run].args, ...(env === undefined ? [] : commands[run].only(env))]
  try {
    await runCommand({
      ...{ program: place.program, args, signal, timeout },
      cwd: resolve(place.folder, folder),
      env: { ...place.environment, ...variables },
    })
    metrics.schedule(name, 'done')
    log.info(`schedule ${name}: nothing was found`)
  } catch (thrown) {
    const error = toStepError(thrown)
    metrics.schedule(name, 'failed')
    log.error(`schedule ${name}: ${error.message}`)
    if (signal.aborted) return
    const what = run === 'drift' && error.code === 'VERIFY_FAILED' ? 'drift' : 'failed'
    const facts = { schedule: name, environment: env ?? '' }
    const notice = { id: `${id}-${what}`.replaceAll(':', '-'), what, route: name, facts } as const
    await feedback.notify(notify, { ...notice, text: error.message })
  }
}
