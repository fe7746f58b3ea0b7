import type { FastifyInstance } from 'fastify'
import { describe, errorCodeOf, StepError, toStepError } from '../core/errors.ts'
import { createHttpClient, type HttpClient } from '../core/http/client.ts'
import { proxiesOf } from '../core/http/proxy.ts'
import type { Log } from '../core/log.ts'
import type { Secrets } from '../core/secrets.ts'
import { readPemFile } from '../core/tls-files.ts'
import { keepCatchingUp } from './backfill/backfill.ts'
import { createFeeds } from './backfill/feeds.ts'
import { applicationFaults, usesOf } from './check.ts'
import { createEffects } from './effects/effects.ts'
import { workplaceOf } from './effects/environment.ts'
import {
  type Feedback,
  type FeedbackOptions,
  openFeedback,
  startPostman,
} from './feedback/feedback.ts'
import { createFollower } from './feedback/follow.ts'
import { createNotifier } from './feedback/notify.ts'
import { createStatusSetter } from './feedback/status.ts'
import { createUnsigned } from './feedback/unsigned.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { accessQueue, type QueueOptions } from './queue/access.ts'
import { openQueueRedis, type QueueRedis, requirePersistence } from './queue/connection.ts'
import { queueNames } from './queue/event-record.ts'
import { type Intake, openIntake } from './queue/intake.ts'
import { type Lanes, openLanes } from './queue/partitions.ts'
import { openPushes, type Pushes } from './queue/pushes.ts'
import { openRecords, type Records } from './queue/records.ts'
import { openTickets, startWorker, sweep, type Tickets } from './queue/wake-ups.ts'
import { createLaneWork } from './queue/worker.ts'
import { createApp } from './routes/app.ts'
import { createReceiver, type Receiver } from './routes/receive.ts'
import { compileRoutes } from './routes/routes.ts'
import { startSchedules } from './schedules.ts'
import type { Role } from './settings/roles.ts'
import { findRoute, type ServerSettings } from './settings/settings.ts'
import { createEntrances } from './sources/endpoints.ts'

export interface ServeOptions {
  settings: ServerSettings
  role: Role
  /** The command line's own file, to run commands with. */
  program: string
  variables: Readonly<Record<string, string | undefined>>
  log: Log
  secrets: Secrets
}

export interface Server {
  url: string
  /**
   * Takes nothing more in, lets what is under way end, and gives back what does not end in time:
   * other servers go on with it.
   */
  close(): Promise<void>
}

/** Starts everything; a fault of the settings or of Redis is thrown before anything is open. */
export async function startServer(options: ServeOptions): Promise<Server> {
  const { role, log } = options
  const closing: Closing = []
  const close = async () => {
    for (const one of closing.splice(0).reverse()) {
      await Promise.resolve(one()).catch((error: unknown) => {
        log.warn(`closing: ${describe(error)}`)
      })
    }
  }
  try {
    const house = await openHouse(options, closing)
    const receiver = openReceiver(house, options)
    // First what may fail: a server that cannot listen must not begin an event.
    const { url, end } = await startListening(house, receiver, options)
    closing.push(end)
    if (role !== 'receive') await startWork(house, options, closing)
    if (role !== 'work') startCatchingUp(house, receiver, options, closing)
    // Closed before all of these: nothing more is taken in.
    closing.push(end)
    return { url, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Closed in reverse order. */
type Closing = (() => Promise<unknown> | unknown)[]

/** What taking deliveries and working on events have in common. */
interface House {
  http: HttpClient
  redis: QueueRedis
  options: QueueOptions
  intake: Intake
  pushes: Pushes
  records: Records
  lanes: Lanes
  tickets: Tickets
  metrics: Metrics
  mail: FeedbackOptions
  feedback: Feedback
}

async function openHouse(
  { settings, variables, log, secrets }: ServeOptions,
  closing: Closing,
): Promise<House> {
  const { queue, folder } = settings
  const http = await openHttp(settings, variables)
  closing.push(http.close)
  const redis = await openQueueRedis(queue.redis, folder, log)
  closing.push(redis.close)
  await requirePersistence(redis, queue.volatile, log)
  const options = { server: redis.name, ...queue }
  const quick = accessQueue(redis.quick, options)
  const records = openRecords(quick)
  const tickets = await openTickets(redis.quick, queue.name)
  closing.push(tickets.close)
  const metrics = await createMetrics(records)
  const notifiers = Object.fromEntries(
    Object.entries(settings.notify).map(([name, one]) => [name, createNotifier(name, one, http)]),
  )
  const mail = { client: redis.quick, name: queue.name, notifiers, mask: secrets.mask }
  const feedback = await openFeedback(mail)
  closing.push(feedback.close)
  const kept = {
    intake: openIntake(quick),
    pushes: openPushes(quick),
    records,
    lanes: openLanes(quick),
  }
  return { http, redis, options, ...kept, tickets, metrics, mail, feedback }
}

/** For every server that is asked, and every receiver of notifications. */
async function openHttp(
  { ca: file, folder }: ServerSettings,
  variables: ServeOptions['variables'],
): Promise<HttpClient> {
  const proxies = proxiesOf(variables)
  if (file === undefined) return createHttpClient({ proxies })
  const authority = await readPemFile(file, { folder, owner: 'ca in crosscloud.server.yml' })
  return createHttpClient({ proxies, ca: () => authority })
}

async function startWork(
  { http, redis, options, lanes, tickets, metrics, mail }: House,
  { settings, program, variables, log, secrets }: ServeOptions,
  closing: Closing,
): Promise<void> {
  const { queue, schedules } = settings
  const stopping = new AbortController()
  const stop = new AbortController()
  const common = { metrics, log, signal: stop.signal }
  // What was begun waits for Redis: it must not be begun again because of that.
  const client = redis.patient
  const feedback = await openFeedback({ ...mail, client })
  closing.push(feedback.close)
  const place = workplaceOf({ settings, program, variables, log, secrets })
  for (const fault of await applicationFaults(settings, place)) log.warn(fault)
  const unsigned = createUnsigned(usesOf(settings), place, log)
  const work = createLaneWork({
    ...{ ...common, stopping: stopping.signal, feedback },
    effectOf: createEffects(settings, place, http),
    lanes: openLanes(accessQueue(client, options)),
    findRoute: (name) => findRoute(settings, name),
    mask: secrets.mask,
  })
  const { name, takeover } = queue
  const workers = await Promise.all([
    ...queueNames.map((one) =>
      startWorker({ client, name, queue: one, concurrency: queue[one], takeover, work, log }),
    ),
    startPostman({
      ...{ ...mail, ...common, client, unsigned },
      setStatus: createStatusSetter(settings, http),
    }),
    startSchedules({ ...common, client, name, schedules, place, feedback }),
  ])
  const sweeper = startSweeper(lanes, tickets, log)
  closing.push(async () => {
    clearInterval(sweeper)
    stopping.abort(stopped())
    const timer = setTimeout(() => stop.abort(stopped()), queue.patience)
    await Promise.all(workers.map((one) => one?.close()))
    clearTimeout(timer)
  })
}

const SWEEP_EVERY = 30_000

function startSweeper(lanes: Lanes, tickets: Tickets, log: Log): NodeJS.Timeout {
  const look = () =>
    sweep(lanes, tickets).then(
      (added) => added > 0 && log.debug(`${added} lanes got a new ticket`),
      (error: unknown) => log.debug(`sweeping: ${toStepError(error).message}`),
    )
  void look()
  return setInterval(look, SWEEP_EVERY)
}

function openReceiver(
  { http, intake, records, tickets, metrics, feedback }: House,
  { settings, log }: ServeOptions,
): Receiver {
  return createReceiver({
    ...{ intake, tickets, metrics, log, routes: compileRoutes(settings.routes) },
    follow: createFollower(records, feedback, settings),
    caughtUp: new Set(createFeeds(settings, http).map(({ source }) => source)),
  })
}

async function startListening(
  { http, redis, metrics }: House,
  receiver: Receiver,
  { settings, role, log }: ServeOptions,
): Promise<{ url: string; end(): Promise<void> }> {
  const app = await createApp({
    ...{ settings, receiver, metrics, log },
    entrances: role === 'work' ? [] : createEntrances(settings, http, log),
    faults: async () => (redis.quick.status === 'ready' ? [] : [`${redis.name} does not answer`]),
  })
  let ending: Promise<void> | undefined
  const end = () => {
    ending ??= Promise.resolve(app.close())
    return ending
  }
  try {
    return { url: await listen(app, settings), end }
  } catch (error) {
    await end()
    throw error
  }
}

const NO_FEED_OF_GITEA =
  'gitea: what is pushed while no server listens is not taken in later: Gitea cannot be asked for it, nor delivers it again by itself; press Redeliver on the webhook’s page'

function startCatchingUp(
  { http, pushes }: House,
  { recover }: Receiver,
  { settings, log }: ServeOptions,
  closing: Closing,
): void {
  const feeds = createFeeds(settings, http)
  if (settings.gitea) log.info(NO_FEED_OF_GITEA)
  if (feeds.length === 0) return
  const stop = new AbortController()
  const over = keepCatchingUp({
    ...{ feeds, pushes, recover, log, signal: stop.signal },
  })
  closing.push(() => {
    stop.abort(stopped())
    return over
  })
}

const stopped = () => new StepError('CANCELLED', 'the server was stopped')

const LISTEN_HINTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'Set listen.port in crosscloud.server.yml to one that is free.',
  EACCES: 'Ports below 1024 need rights; set listen.port, and let a proxy listen there.',
  EADDRNOTAVAIL: 'Set listen.host to an address of this machine, or 0.0.0.0 for all of them.',
  ENOTFOUND: 'Set listen.host to an address of this machine, or 0.0.0.0 for all of them.',
}

async function listen(app: FastifyInstance, { listen: { host, port } }: ServerSettings) {
  try {
    return await app.listen({ host, port })
  } catch (error) {
    throw new StepError('INPUT_INVALID', `listening on ${host}:${port}: ${describe(error)}`, {
      hint: LISTEN_HINTS[errorCodeOf(error) ?? ''] ?? 'Check listen in crosscloud.server.yml.',
      cause: error,
    })
  }
}
