import { setInterval } from 'node:timers'
import type { FastifyInstance } from 'fastify'
import { describe, StepError, toStepError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Secrets } from '../core/secrets.ts'
import { createApp } from './app.ts'
import { createEffects } from './effects/effects.ts'
import { harmlessVariables, type Workplace } from './effects/workplace.ts'
import { openFeedback, startPostman } from './feedback/feedback.ts'
import { createFollower } from './feedback/follow.ts'
import { createNotifier } from './feedback/notify.ts'
import { createStatusSetter } from './feedback/status.ts'
import { createMetrics } from './metrics.ts'
import { openQueueRedis, requirePersistence } from './queue/connection.ts'
import { createEventStore, queueNames } from './queue/events.ts'
import { openTickets, startWorker, sweep } from './queue/tickets.ts'
import { createReceiver } from './receive.ts'
import type { Role } from './roles.ts'
import { compileRoutes } from './routes.ts'
import { startSchedules } from './schedules.ts'
import { findRoute, type ServerSettings } from './settings.ts'
import { createEntrances } from './sources/entrances.ts'
import { createLaneWork } from './work.ts'

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

const SWEEP_EVERY = 30_000

/** Starts everything; a fault of the settings or of Redis is thrown before anything is open. */
export async function startServer(options: ServeOptions): Promise<Server> {
  const { settings, role, log, secrets } = options
  const { queue } = settings
  const closing: (() => Promise<unknown> | unknown)[] = []
  const closeAll = async () => {
    for (const close of closing.splice(0).reverse()) {
      await Promise.resolve(close()).catch((error: unknown) => {
        log.warn(`closing: ${describe(error)}`)
      })
    }
  }
  try {
    const redis = await openQueueRedis(queue.redis, settings.folder, log)
    closing.push(redis.close)
    await requirePersistence(redis, queue.volatile, log)
    const common = { server: redis.name, ...queue }
    const store = createEventStore(redis.quick, common)
    const tickets = await openTickets(redis.quick, queue.name)
    closing.push(tickets.close)
    const metrics = await createMetrics(store)
    const notifiers = Object.fromEntries(
      Object.entries(settings.notify).map(([name, one]) => [name, createNotifier(name, one)]),
    )
    const mail = { client: redis.quick, name: queue.name, notifiers }
    const feedback = await openFeedback(mail)
    closing.push(feedback.close)
    const place: Workplace = {
      ...{ folder: settings.folder, program: options.program, log, secrets },
      environment: harmlessVariables(options.variables),
    }
    const work = async () => {
      const stop = new AbortController()
      const shared = { metrics, log, signal: stop.signal }
      const laneWork = createLaneWork({
        ...{ ...shared, feedback, effectOf: createEffects(settings, place) },
        store: createEventStore(redis.patient, common),
        findRoute: (name) => findRoute(settings, name),
      })
      const { client, name } = { client: redis.patient, name: queue.name }
      const workers = [
        ...(await Promise.all(
          queueNames.map((one) =>
            startWorker({
              ...{ client, name, queue: one, concurrency: queue[one] },
              ...{ takeover: queue.takeover, work: laneWork },
            }),
          ),
        )),
        await startPostman({ ...mail, ...shared, client, setStatus: createStatusSetter(settings) }),
        await startSchedules({
          ...{ ...shared, client, name, schedules: settings.schedules, place, feedback },
        }),
      ]
      const sweeper = startSweeper(store, tickets, log)
      closing.push(async () => {
        clearInterval(sweeper)
        const timer = setTimeout(() => stop.abort(stopped()), queue.patience)
        await Promise.all(workers.map((one) => one?.close()))
        clearTimeout(timer)
      })
    }
    if (role !== 'receive') await work()
    const receive = createReceiver({
      ...{ store, tickets, metrics, log, routes: compileRoutes(settings.routes) },
      follow: createFollower(store, feedback, settings),
    })
    const app = await createApp({
      ...{ settings, receive, metrics, log },
      entrances: role === 'work' ? [] : createEntrances(settings),
      faults: async () => (redis.quick.status === 'ready' ? [] : [`${redis.name} does not answer`]),
    })
    closing.push(() => app.close())
    return { url: await listen(app, settings), close: closeAll }
  } catch (error) {
    await closeAll()
    throw error
  }
}

function startSweeper(
  ...[store, tickets, log]: [Parameters<typeof sweep>[0], Parameters<typeof sweep>[1], Log]
) {
  const look = () =>
    sweep(store, tickets).then(
      (added) => added > 0 && log.debug(`${added} lanes got a new ticket`),
      (error: unknown) => log.debug(`sweeping: ${toStepError(error).message}`),
    )
  void look()
  return setInterval(look, SWEEP_EVERY)
}

const stopped = () => new StepError('CANCELLED', 'the server was stopped')

async function listen(app: FastifyInstance, { listen: { host, port } }: ServerSettings) {
  try {
    return await app.listen({ host, port })
  } catch (error) {
    throw new StepError('INPUT_INVALID', `listening on ${host}:${port}: ${describe(error)}`, {
      hint: 'Set listen.port in crosscloud.server.yml to one that is free.',
      cause: error,
    })
  }
}
