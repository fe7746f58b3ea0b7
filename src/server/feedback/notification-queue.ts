import type { JobsOptions, Queue } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import { keyPrefix } from '../queue/access.ts'
import type { CommitStatus } from './gitlab.ts'
import type { Notice } from './notice.ts'

/** Servers whose commits have statuses. */
export const statusSources = ['gitlab', 'github', 'gitea'] as const
export type StatusSource = (typeof statusSources)[number]

/** A job of the notification queue: a status for one commit, or a notice for one receiver. */
export type QueuedNotification =
  | { to: 'status'; source: StatusSource; status: CommitStatus }
  | { to: 'notice'; receiver: string; notice: Notice }

export const QUEUE = 'feedback'

/** 1, 2, 4 … seconds, a quarter of an hour in all: DingTalk blocks a robot for ten minutes after a burst. */
const jobOptions: JobsOptions = {
  attempts: 11,
  backoff: { type: 'exponential', delay: 1000 },
  removeOnComplete: true,
  removeOnFail: 1000,
}

export interface NotificationQueue {
  /** A notification with the id of one that is queued changes nothing. */
  add(id: string, notification: QueuedNotification): Promise<void>
  close(): Promise<void>
}

export async function openNotificationQueue(
  client: Redis | Cluster,
  name: string,
): Promise<NotificationQueue> {
  const { Queue: BullQueue } = await import('bullmq')
  const options = { connection: client, prefix: keyPrefix(name) }
  const queue: Queue<QueuedNotification> = new BullQueue(QUEUE, options)
  // The connection logs its errors itself.
  queue.on('error', () => {})
  return {
    async add(id, notification) {
      await queue.add(notification.to, notification, { ...jobOptions, jobId: id })
    },
    close: () => queue.close(),
  }
}
