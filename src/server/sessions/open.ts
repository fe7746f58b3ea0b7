import type { HttpClient } from '../../core/http/client.ts'
import type { Log } from '../../core/log.ts'
import { keyPrefix } from '../queue/access.ts'
import type { QueueRedis } from '../queue/connection.ts'
import type { ServerSettings } from '../settings/settings.ts'
import { openIssuers } from './issuers.ts'
import { createSessions, type Sessions, type SessionsOptions } from './sessions.ts'
import { openSessionStore } from './store.ts'

export interface OpenSessionsOptions
  extends Pick<SessionsOptions, 'findToken' | 'onLogin' | 'keepTokens'> {
  settings: ServerSettings
  redis: Pick<QueueRedis, 'failFast' | 'name'>
  http: HttpClient
  variables: Readonly<Record<string, string | undefined>>
  log: Log
}

export interface OpenSessions extends Sessions {
  close(): void
}

/** `sessions:` of crosscloud.server.yml at work; undefined where there is none: no API then. */
export async function openSessions({
  settings: { sessions: settings, queue, folder },
  redis,
  http,
  variables,
  findToken,
  onLogin,
  keepTokens,
  log,
}: OpenSessionsOptions): Promise<OpenSessions | undefined> {
  if (settings === undefined) return undefined
  const stop = new AbortController()
  const issuers = await openIssuers({ settings, folder, http, variables, signal: stop.signal })
  const store = openSessionStore({
    client: redis.failFast,
    server: redis.name,
    base: `${keyPrefix(queue.name)}:`,
  })
  return {
    ...createSessions({ settings, issuers, store, findToken, onLogin, keepTokens, log }),
    close() {
      stop.abort()
      issuers.close()
    },
  }
}
