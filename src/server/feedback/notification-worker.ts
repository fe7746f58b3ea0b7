import type { Job, Worker } from 'bullmq'
import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../monitoring/metrics.ts'
import { keyPrefix } from '../queue/access.ts'
import type { FeedbackOptions } from './feedback.ts'
import type { CommitStatus } from './gitlab.ts'
import type { ReadLedgerFacts } from './ledger-facts.ts'
import type { Notice } from './notice.ts'
import { QUEUE, type QueuedNotification, type StatusSource } from './notification-queue.ts'

export type SetStatus = (
  source: StatusSource,
  status: CommitStatus,
  signal: AbortSignal,
) => Promise<void>

export interface NotificationWorkerOptions extends FeedbackOptions {
  setStatus: SetStatus
  ledgerFacts: ReadLedgerFacts
  metrics: Metrics
  log: Log
  signal: AbortSignal
}

const CONCURRENCY = 10

/** Sends what is queued. A receiver that is away is tried again, one that refuses is not. */
export async function startNotificationWorker(options: NotificationWorkerOptions): Promise<Worker> {
  const { Worker: BullWorker, UnrecoverableError } = await import('bullmq')
  const { client, name, notifiers, mask, setStatus, ledgerFacts, metrics, log, signal } = options
  const notify = async (receiver: string, notice: Notice) => {
    const { unsigned, auditHeads } = await ledgerFacts(signal)
    const facts = { unsigned: unsigned.map(mask), auditHeads }
    await notifiers[receiver]?.send(notice, signal, facts)
  }
  const send = async ({ data, attemptsMade, opts }: Job<QueuedNotification>) => {
    const receiver = data.to === 'status' ? data.source : data.receiver
    try {
      if (data.to === 'status') await setStatus(data.source, data.status, signal)
      else await notify(data.receiver, data.notice)
      metrics.feedback(receiver, 'sent')
    } catch (thrown) {
      const error = toStepError(thrown)
      const last = attemptsMade + 1 >= (opts.attempts ?? 1)
      if (signal.aborted || (error.retryable && !last)) throw error
      metrics.feedback(receiver, 'failed')
      log.warn(`${error.message}; given up${error.hint === undefined ? '' : `\n${error.hint}`}`)
      throw new UnrecoverableError(error.message)
    }
  }
  const worker = new BullWorker<QueuedNotification>(QUEUE, send, {
    connection: client,
    prefix: keyPrefix(name),
    concurrency: CONCURRENCY,
  })
  worker.on('error', () => {})
  return worker
}
