import type { Job, Queue, Worker } from 'bullmq'
import type { Cluster, Redis } from 'ioredis'
import { toStepError } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import type { Metrics } from '../metrics.ts'
import { keyPrefix } from '../queue/access.ts'
import type { RouteSettings } from '../settings/settings.ts'
import { type EventFacts, templateFacts } from '../sources/event.ts'
import type { CommitStatus, StatusState } from './gitlab.ts'
import type { Notice, NoticeOccasion, Notifier } from './notify.ts'
import type { ReadUnsigned } from './unsigned.ts'

/** What is told of an event: that it began, what it came to. */
export type Occasion = 'running' | 'started' | 'succeeded' | 'failed'

/** Where commits have statuses. */
const statusSources = ['gitlab', 'github', 'gitea'] as const
export type StatusSource = (typeof statusSources)[number]

/** One thing to tell one receiver. */
type Letter =
  | { to: 'status'; source: StatusSource; status: CommitStatus }
  | { to: 'notice'; receiver: string; notice: Notice }

export interface Feedback {
  /** Keeps what is to be told; a fault of a receiver never becomes the event's. */
  tell(
    event: { id: string; facts: EventFacts },
    route: RouteSettings,
    occasion: Occasion,
    text: string,
    url?: string | undefined,
  ): Promise<void>
  /** The same, where no route is involved: a schedule. */
  notify(receivers: readonly string[], notice: Notice): Promise<void>
  close(): Promise<void>
}

const statusStates: Record<Occasion, StatusState> = {
  ...{ running: 'running', started: 'running', succeeded: 'success', failed: 'failure' },
}
/** 1, 2, 4 … seconds, a quarter of an hour in all: DingTalk hears nothing for ten minutes after a burst. */
const letterOptions = {
  ...{ attempts: 11, backoff: { type: 'exponential', delay: 1000 } },
  ...{ removeOnComplete: true, removeOnFail: 1000 },
} as const

export interface FeedbackOptions {
  client: Redis | Cluster
  /** Of the queue. */
  name: string
  notifiers: Readonly<Record<string, Notifier>>
  /** Takes secrets out of what is told: other programs' errors may have them. */
  mask: (text: string) => string
}

export async function openFeedback(options: FeedbackOptions): Promise<Feedback> {
  const { Queue: BullQueue } = await import('bullmq')
  const { client, name, notifiers, mask } = options
  const prefix = keyPrefix(name)
  const queue: Queue<Letter> = new BullQueue('feedback', { connection: client, prefix })
  queue.on('error', () => {})
  const post = async (id: string, letter: Letter) => {
    await queue.add(letter.to, letter, { ...letterOptions, jobId: id })
  }
  const notify: Feedback['notify'] = async (receivers, { text, ...rest }) => {
    const notice = { ...rest, text: mask(text) }
    const wanting = receivers.filter((one) => notifiers[one]?.wants(notice.what))
    await Promise.all(
      wanting.map((receiver) =>
        post(`${notice.id}-${receiver}`, { to: 'notice', receiver, notice }),
      ),
    )
  }
  return {
    notify,
    async tell({ id, facts }, route, occasion, text, url = '') {
      const { commit, project } = facts
      const source = statusSources.find((one) => one === facts.source)
      if (route.status && commit !== '' && source !== undefined) {
        const state = statusStates[occasion]
        const told = { state, text: mask(text), url }
        const status = { project, commit, name: `crosscloud/${route.name}`, ...told }
        await post(`${id}-status-${occasion}`, { to: 'status', source, status })
      }
      if (occasion === 'running') return
      const what: NoticeOccasion = occasion
      const notice = { id: `${id}-${what}`, what, route: route.name, text, url }
      await notify(route.notify, { ...notice, facts: templateFacts(facts, id) })
    },
    close: () => queue.close(),
  }
}

export interface PostmanOptions extends FeedbackOptions {
  setStatus(source: StatusSource, status: CommitStatus, signal: AbortSignal): Promise<void>
  unsigned: ReadUnsigned
  metrics: Metrics
  log: Log
  signal: AbortSignal
}

const AT_ONCE = 10

/** Delivers what was kept; a receiver that is away is tried again, one that refuses is not. */
export async function startPostman(options: PostmanOptions): Promise<Worker> {
  const { Worker: BullWorker, UnrecoverableError } = await import('bullmq')
  const { client, name, notifiers, mask, setStatus, unsigned, metrics, log, signal } = options
  const notify = async (receiver: string, notice: Notice) => {
    const notifier = notifiers[receiver]
    await notifier?.send(notice, signal, (await unsigned(signal)).map(mask))
  }
  const deliver = async ({ data: letter, attemptsMade, opts }: Job<Letter>) => {
    const receiver = letter.to === 'status' ? letter.source : letter.receiver
    try {
      if (letter.to === 'status') await setStatus(letter.source, letter.status, signal)
      else await notify(letter.receiver, letter.notice)
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
  const prefix = keyPrefix(name)
  const worker = new BullWorker<Letter>('feedback', deliver, {
    ...{ connection: client, prefix, concurrency: AT_ONCE },
  })
  worker.on('error', () => {})
  return worker
}
