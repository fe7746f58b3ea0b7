import { readPemFile } from '../core/files/tls-files.ts'
import { createHttpClient, type HttpClient } from '../core/http/client.ts'
import { proxiesOf } from '../core/http/proxy.ts'
import type { Log } from '../core/log.ts'
import type { Secrets } from '../core/secrets.ts'
import { type Feedback, type FeedbackOptions, openFeedback } from './feedback/feedback.ts'
import { createNotifier } from './feedback/notifier.ts'
import { createMetrics, type Metrics } from './monitoring/metrics.ts'
import { accessQueue, type QueueOptions, queueOptions } from './queue/access.ts'
import { openQueueRedis, type QueueRedis, requirePersistence } from './queue/connection.ts'
import { type Intake, openIntake } from './queue/intake.ts'
import { openPartitions, type Partitions } from './queue/partitions.ts'
import { openPushes, type Pushes } from './queue/pushes.ts'
import { openRecords, type Records } from './queue/records.ts'
import { openWakeUps, type WakeUps } from './queue/wake-ups.ts'
import type { Role } from './settings/roles.ts'
import type { ServerSettings } from './settings/settings.ts'

export interface ServeOptions {
  settings: ServerSettings
  role: Role
  /** The file of the command line program, to run commands with. */
  program: string
  variables: Readonly<Record<string, string | undefined>>
  log: Log
  secrets: Secrets
}

/** Called in reverse order when the server closes. */
export type Closing = (() => Promise<unknown> | unknown)[]

/** What both roles need, receiving deliveries and working on events. */
export interface Dependencies {
  /** For the platforms and the receivers of notifications. */
  http: HttpClient
  redis: QueueRedis
  queue: QueueOptions
  intake: Intake
  pushes: Pushes
  records: Records
  partitions: Partitions
  wakeUps: WakeUps
  metrics: Metrics
  feedback: Feedback
  feedbackOptions: FeedbackOptions
}

export async function openDependencies(
  { settings, variables, log, secrets }: ServeOptions,
  closing: Closing,
): Promise<Dependencies> {
  const { folder, notify } = settings
  const http = await openHttp(settings, variables)
  closing.push(http.close)
  const redis = await openQueueRedis(settings.queue.redis, folder, log)
  closing.push(redis.close)
  await requirePersistence(redis, settings.queue['allow-volatile'], log)
  const client = redis.failFast
  const queue = queueOptions(redis.name, settings.queue)
  const access = accessQueue(client, queue)
  const records = openRecords(access)
  const wakeUps = await openWakeUps(client, queue.name)
  closing.push(wakeUps.close)
  const notifiers = Object.fromEntries(
    Object.entries(notify).map(([name, receiver]) => [name, createNotifier(name, receiver, http)]),
  )
  const feedbackOptions = { client, name: queue.name, notifiers, mask: secrets.mask }
  const feedback = await openFeedback(feedbackOptions)
  closing.push(feedback.close)
  return {
    http,
    redis,
    queue,
    intake: openIntake(access),
    pushes: openPushes(access),
    records,
    partitions: openPartitions(access),
    wakeUps,
    metrics: await createMetrics(records),
    feedback,
    feedbackOptions,
  }
}

async function openHttp(
  { ca: file, folder }: ServerSettings,
  variables: ServeOptions['variables'],
): Promise<HttpClient> {
  const proxies = proxiesOf(variables)
  if (file === undefined) return createHttpClient({ proxies })
  const authority = await readPemFile(file, { folder, owner: 'ca in crosscloud.server.yml' })
  return createHttpClient({ proxies, ca: () => authority })
}
