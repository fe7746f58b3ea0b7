import type { Job, Queue, Worker } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import type { Log } from '../../core/log.ts'
import { keyPrefix } from './access.ts'
import { type QueueName, queueNames } from './event-record.ts'
import type { JobLock, Partitions } from './partitions.ts'

/**
 * A job that has a worker look at a partition; the events themselves are stored beside it. Each
 * event has at least one wake-up job, and a wake-up too many finds nothing to do.
 */
export interface WakeUp {
  /** Unique among the jobs that exist. */
  id: string
  partition: string
  queue: QueueName
}

export interface WakeUps {
  add(wakeUps: readonly WakeUp[]): Promise<void>
  /** Whether the job waits or runs. */
  isAlive(queue: QueueName, id: string): Promise<boolean>
  close(): Promise<void>
}

type Client = Redis | Cluster

const ALIVE = new Set(['active', 'waiting', 'delayed', 'prioritized'])

/** A job fails by a bug, or when Redis does not respond; the sweep puts a new one in its place. */
const jobOptions = {
  removeOnComplete: true,
  removeOnFail: true,
  attempts: 5,
  backoff: { type: 'exponential', delay: 1000 },
} as const

/** As version 0.1.0 stores a job: it called a partition a lane. */
const JOB = 'lane'
interface JobData {
  lane: string
}

export async function openWakeUps(client: Client, name: string): Promise<WakeUps> {
  const { Queue: BullQueue } = await import('bullmq')
  const queues = Object.fromEntries(
    queueNames.map((queueName) => {
      const queue = new BullQueue(queueName, { connection: client, prefix: keyPrefix(name) })
      // The connection logs its errors itself.
      queue.on('error', () => {})
      return [queueName, queue]
    }),
  ) as Record<QueueName, Queue<JobData>>
  return {
    async add(wakeUps) {
      await Promise.all(
        wakeUps.map(({ id, partition, queue }) =>
          queues[queue].add(JOB, { lane: partition }, { ...jobOptions, jobId: id }),
        ),
      )
    },
    isAlive: async (queue, id) => ALIVE.has(await queues[queue].getJobState(id)),
    async close() {
      await Promise.all(queueNames.map((queueName) => queues[queueName].close()))
    },
  }
}

export interface WorkerOptions {
  client: Client
  name: string
  queue: QueueName
  concurrency: number
  /** Milliseconds without a heartbeat after which another worker gets the job. */
  stalledTimeout: number
  work(wakeUp: WakeUp, lock: JobLock): Promise<NextRun>
  log: Log
}

/** When the wake-up job must run again; undefined when its partition needs it no more. */
export type NextRun = number | undefined

export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { Worker: BullWorker, DelayedError } = await import('bullmq')
  const { client, name, queue, concurrency, stalledTimeout, work, log } = options
  const process = async (job: Job<JobData>, token = '') => {
    const lock = { queue, token, timeout: stalledTimeout }
    const next = await work({ id: job.id ?? '', partition: job.data.lane, queue }, lock)
    if (next === undefined) return
    await job.moveToDelayed(next, token)
    throw new DelayedError()
  }
  const worker = new BullWorker(queue, process, {
    connection: client,
    prefix: keyPrefix(name),
    concurrency,
    lockDuration: stalledTimeout,
    stalledInterval: Math.max(stalledTimeout / 2, 500),
    // A wake-up job is never at fault when its worker dies.
    maxStalledCount: 1_000_000,
  })
  worker.on('error', () => {})
  worker.on('failed', (_job, error) => log.warn(`working on ${queue}: ${error.message}`))
  return worker
}

/** Gives a new wake-up job to each waiting partition that has none: a crash may lose any job. */
export async function sweep(partitions: Partitions, wakeUps: WakeUps): Promise<number> {
  let added = 0
  for await (const { partition, owner, queue } of partitions.busy()) {
    if (owner !== undefined) {
      const wakeUp = owner.slice(0, owner.lastIndexOf('/'))
      if (await wakeUps.isAlive(queue, wakeUp)) continue
      if (!(await partitions.disown(partition, owner))) continue
    }
    await wakeUps.add([{ id: `sweep-${partition}`, partition, queue }])
    added++
  }
  return added
}
