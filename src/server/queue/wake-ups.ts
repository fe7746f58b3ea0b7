import type { Job, Queue, Worker } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import type { Log } from '../../core/log.ts'
import { keyPrefix } from './access.ts'
import { type QueueName, queueNames } from './event-record.ts'
import type { Lanes } from './partitions.ts'

/**
 * A ticket says that a lane has something to do; the events themselves are kept beside it. For
 * each event there is one at least, so no event is forgotten; one too many finds nothing to do.
 */
export interface Ticket {
  /** No two at the same time have the same. */
  id: string
  lane: string
  queue: QueueName
}

export interface Tickets {
  add(tickets: readonly Ticket[]): Promise<void>
  /** Whether it waits or is worked on. */
  isAlive(queue: QueueName, id: string): Promise<boolean>
  close(): Promise<void>
}

type Client = Redis | Cluster

const ALIVE = new Set(['active', 'waiting', 'delayed', 'prioritized'])

/** Tickets that failed are bugs or a Redis that went away; the sweep puts new ones in their place. */
const jobOptions = {
  removeOnComplete: true,
  removeOnFail: true,
  attempts: 5,
  backoff: { type: 'exponential', delay: 1000 },
} as const

export async function openTickets(client: Client, name: string): Promise<Tickets> {
  const { Queue: BullQueue } = await import('bullmq')
  const queues = Object.fromEntries(
    queueNames.map((one) => {
      const queue = new BullQueue(one, { connection: client, prefix: keyPrefix(name) })
      // The connection tells of its faults itself.
      queue.on('error', () => {})
      return [one, queue]
    }),
  ) as Record<QueueName, Queue>
  return {
    async add(tickets) {
      await Promise.all(
        tickets.map(({ id, lane, queue }) =>
          queues[queue].add('lane', { lane }, { ...jobOptions, jobId: id }),
        ),
      )
    },
    isAlive: async (queue, id) => ALIVE.has(await queues[queue].getJobState(id)),
    async close() {
      await Promise.all(queueNames.map((one) => queues[one].close()))
    },
  }
}

export interface WorkerOptions {
  client: Client
  name: string
  queue: QueueName
  concurrency: number
  /** Milliseconds without a sign of life after which a ticket goes to another worker. */
  takeover: number
  work(ticket: Ticket): Promise<Later>
  log: Log
}

/** Undefined: the lane needs this ticket no more; else when it is to be tried again. */
export type Later = number | undefined

export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { Worker: BullWorker, DelayedError } = await import('bullmq')
  const { client, name, queue, concurrency, takeover, work, log } = options
  const process = async (job: Job<{ lane: string }>, token: string | undefined) => {
    const until = await work({ id: job.id ?? '', lane: job.data.lane, queue })
    if (until === undefined) return
    await job.moveToDelayed(until, token)
    throw new DelayedError()
  }
  const worker = new BullWorker(queue, process, {
    ...{ connection: client, prefix: keyPrefix(name), concurrency },
    ...{ lockDuration: takeover, stalledInterval: Math.max(takeover / 2, 500) },
    // How often a worker died with it says nothing about the ticket.
    maxStalledCount: 1_000_000,
  })
  worker.on('error', () => {})
  worker.on('failed', (_job, error) => log.warn(`working on ${queue}: ${error.message}`))
  return worker
}

/** Lanes that wait although nobody has a ticket for them get one: a crash may lose any ticket. */
export async function sweep(lanes: Lanes, tickets: Tickets): Promise<number> {
  let added = 0
  for await (const { lane, owner, queue } of lanes.busy()) {
    if (owner !== undefined) {
      const ticket = owner.slice(0, owner.lastIndexOf('/'))
      if (await tickets.isAlive(queue, ticket)) continue
      if (!(await lanes.disown(lane, owner))) continue
    }
    await tickets.add([{ id: `sweep-${lane}`, lane, queue }])
    added++
  }
  return added
}
