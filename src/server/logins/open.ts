import { readPemFile } from '../../core/files/tls-files.ts'
import { createHttpClient, type HttpClient } from '../../core/http/client.ts'
import { proxiesOf } from '../../core/http/proxy.ts'
import { keyPrefix } from '../queue/access.ts'
import type { QueueRedis } from '../queue/connection.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { openSessionStore } from '../sessions/store.ts'
import type { ServerSettings } from '../settings/settings.ts'
import type { FreshnessOptions } from './freshness.ts'
import { githubProtocol } from './github.ts'
import { createLoginIssuer } from './issuer.ts'
import { createLogins, isLoginSession, type Logins, type LoginsOptions } from './logins.ts'
import { oidcProtocol } from './oidc.ts'
import { namingOf } from './person.ts'
import { kindOf } from './settings.ts'
import { openLoginStore } from './store.ts'

export interface OpenLoginsOptions extends Pick<LoginsOptions, 'onLogin' | 'log'> {
  settings: ServerSettings
  redis: Pick<QueueRedis, 'failFast' | 'name'>
  http: HttpClient
  variables: Readonly<Record<string, string | undefined>>
}

export interface OpenLogins extends Logins {
  close(): void
}

/** `logins:` of crosscloud.server.yml at work; undefined where there are none. */
export async function openLogins(options: OpenLoginsOptions): Promise<OpenLogins | undefined> {
  const { settings, redis, onLogin, log } = options
  const { logins, sessions, queue } = settings
  if (logins === undefined || sessions === undefined) return undefined
  const stop = new AbortController()
  const { issuers, close } = await openIssuers(options, stop.signal)
  const place = {
    client: redis.failFast,
    server: redis.name,
    base: `${keyPrefix(queue.name)}:`,
  }
  const made = createLogins({
    settings: logins,
    url: sessions.url,
    failedLogins: sessions['failed-logins'],
    sessions: openSessionStore(place),
    store: openLoginStore(place),
    ...{ issuers, onLogin, log },
  })
  return {
    ...made,
    close() {
      stop.abort()
      close()
    },
  }
}

async function openIssuers(
  { settings, http, variables }: OpenLoginsOptions,
  stop: AbortSignal,
): Promise<{ issuers: FreshnessOptions['issuers']; close(): void }> {
  const { logins, sessions, folder } = settings
  const clients: HttpClient[] = []
  const issuers = new Map<string, NonNullable<ReturnType<FreshnessOptions['issuers']['get']>>>()
  const jobIssuers = Object.values(sessions?.issuers ?? {}).map(({ issuer }) => issuer)
  for (const [name, issuer] of Object.entries(logins?.issuers ?? {})) {
    const owner = `logins.issuers.${name}`
    let own = http
    if (issuer.ca !== undefined) {
      const authority = await readPemFile(issuer.ca, { folder, owner })
      own = createHttpClient({ proxies: proxiesOf(variables), ca: () => authority })
      clients.push(own)
    }
    const protocol = kindOf(issuer) === 'github' ? githubProtocol : oidcProtocol
    issuers.set(name, {
      issuer: createLoginIssuer(name, issuer, protocol(issuer, { http: own, owner, stop })),
      naming: namingOf(name, logins as NonNullable<typeof logins>, jobIssuers),
    })
  }
  return {
    issuers,
    close() {
      for (const client of clients) client.close()
    },
  }
}

/** Requests that come by cookie are a person's; all others are as before. */
export function withLogins(sessions: Sessions, logins: Logins | undefined): Sessions {
  if (logins === undefined) return sessions
  return {
    ...sessions,
    authenticate: (request) =>
      logins.isByCookie(request) ? logins.authenticate(request) : sessions.authenticate(request),
    async end(session) {
      if (!isLoginSession(session)) return sessions.end(session)
      await logins.end(session)
      return true
    },
  }
}
