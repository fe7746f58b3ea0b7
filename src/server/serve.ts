import type { FastifyInstance } from 'fastify'
import { describe, errorCodeOf, StepError } from '../core/errors.ts'
import { openApi } from './api/open.ts'
import { runBackfill } from './backfill/backfill.ts'
import { createFeeds } from './backfill/feeds.ts'
import {
  type Closing,
  type Dependencies,
  openDependencies,
  type ServeOptions,
} from './dependencies.ts'
import { createFollower } from './feedback/follow.ts'
import { createApp } from './routes/app.ts'
import { createReceiver, type Receiver } from './routes/receiver.ts'
import { compileRoutes } from './routes/routes.ts'
import type { ServerSettings } from './settings/settings.ts'
import { createEndpoints } from './sources/endpoints.ts'
import { serverStopped, startWork } from './work.ts'

export interface Server {
  url: string
  /**
   * Accepts nothing more, waits for running events, and hands back those that do not end in time:
   * other servers go on with them.
   */
  close(): Promise<void>
}

/** Starts the server; an error of the settings or of Redis is thrown before anything is open. */
export async function startServer(options: ServeOptions): Promise<Server> {
  const { role, log } = options
  const closing: Closing = []
  const close = async () => {
    for (const part of closing.splice(0).reverse()) {
      await Promise.resolve(part()).catch((error: unknown) => {
        log.warn(`closing: ${describe(error)}`)
      })
    }
  }
  try {
    const dependencies = await openDependencies(options, closing)
    const receiver = openReceiver(dependencies, options)
    // A server that cannot listen must not begin an event.
    const { url, end } = await startListening(dependencies, receiver, options, closing)
    closing.push(end)
    if (role !== 'receive') await startWork(dependencies, options, closing)
    if (role !== 'work') startBackfill(dependencies, receiver, options, closing)
    // Closed first: nothing more is accepted.
    closing.push(end)
    return { url, close }
  } catch (error) {
    await close()
    throw error
  }
}

function openReceiver(
  { http, intake, records, wakeUps, metrics, feedback }: Dependencies,
  { settings, log }: ServeOptions,
): Receiver {
  return createReceiver({
    intake,
    wakeUps,
    metrics,
    log,
    routes: compileRoutes(settings.routes),
    follow: createFollower(records, feedback, settings.routes),
    backfilled: new Set(createFeeds(settings, http).map(({ source }) => source)),
  })
}

async function startListening(
  dependencies: Dependencies,
  receiver: Receiver,
  options: ServeOptions,
  closing: Closing,
): Promise<{ url: string; end(): Promise<void> }> {
  const { http, redis, metrics } = dependencies
  const { settings, role, log } = options
  const app = await createApp({
    settings,
    receiver,
    metrics,
    log,
    endpoints: role === 'work' ? [] : createEndpoints(settings, http, log),
    problems: async () =>
      redis.failFast.status === 'ready' ? [] : [`${redis.name} does not answer`],
  })
  let ending: Promise<void> | undefined
  const end = () => {
    ending ??= Promise.resolve(app.close())
    return ending
  }
  try {
    if (role !== 'work') await openApi(app, dependencies, options, closing)
    return { url: await listen(app, settings), end }
  } catch (error) {
    await end()
    throw error
  }
}

const NO_FEED_OF_GITEA =
  'gitea: what is pushed while no server listens is not taken in later: Gitea cannot be asked for it, nor delivers it again by itself; press Redeliver on the webhook’s page'

function startBackfill(
  { http, pushes }: Dependencies,
  { recover }: Receiver,
  { settings, log }: ServeOptions,
  closing: Closing,
): void {
  const feeds = createFeeds(settings, http)
  if (settings.gitea) log.info(NO_FEED_OF_GITEA)
  if (feeds.length === 0) return
  const stop = new AbortController()
  const done = runBackfill({ feeds, pushes, recover, log, signal: stop.signal })
  closing.push(() => {
    stop.abort(serverStopped())
    return done
  })
}

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
