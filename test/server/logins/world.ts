import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { createHttpClient } from '../../../src/core/http/client.ts'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { openLedger } from '../../../src/ledger/open.ts'
import { openLogins } from '../../../src/server/logins/open.ts'
import { keyPrefix } from '../../../src/server/queue/access.ts'
import { openQueueRedis } from '../../../src/server/queue/connection.ts'
import { startServer } from '../../../src/server/serve.ts'
import type { Login } from '../../../src/server/sessions/logins.ts'
import { openSessionStore } from '../../../src/server/sessions/store.ts'
import { readServerSettings, type ServerSettings } from '../../../src/server/settings/settings.ts'
import { freePort } from '../../support/servers/ports.ts'
import { startQueueRedis } from '../../support/servers/webhooks.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { type Browser, openBrowser, type Page } from './browser.ts'
import { CLIENT, type LoginProvider, startProvider } from './provider.ts'

export const SESSION = '__Host-crosscloud'
export const LOGIN = '__Host-crosscloud-login'

const ROLES = {
  operator: ['view', 'logs', 'deploy', 'cancel', 'audit-read'],
  viewer: ['view'],
}

interface WorldOptions {
  /** By name; default: one, gitlab. */
  providers?: Readonly<Record<string, LoginProvider>>
  /** More of each login, and of all. */
  issuer?: object
  logins?: object
  sessions?: object
  grants?: readonly object[]
}

export type World = Awaited<ReturnType<typeof startWorld>>

/** The whole server in this process, a real Redis, a ledger, and a real issuer. */
export async function startWorld(t: Test, options: WorldOptions = {}) {
  const providers = options.providers ?? { gitlab: await startProvider(t) }
  const folder = await temporaryFolder(t)
  const redis = await startQueueRedis(t)
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  for (const [name, provider] of Object.entries(providers)) {
    provider.open(`${url}/login/callback/${name}`)
  }
  const issuers = Object.fromEntries(
    Object.entries(providers).map(([name, { url: issuer }]) => [
      name,
      { issuer, 'client-id': CLIENT.id, 'client-secret': CLIENT.secret, ...options.issuer },
    ]),
  )
  const place = `sqlite:${join(folder, 'ledger.db')}`
  const grants = options.grants ?? [
    { who: 'group:team/ops', role: 'operator', apps: ['*'], envs: ['*'] },
    { who: 'user:zhang', role: 'viewer', apps: ['webapi'], envs: ['test'] },
  ]
  const written = {
    listen: { host: '127.0.0.1', port },
    queue: { redis: redis.url },
    ledger: place,
    sessions: { url, 'failed-logins': 1000, ...options.sessions },
    logins: { issuers, ...options.logins },
    policy: { roles: ROLES, grants },
    applications: { webapi: { repository: 'https://127.0.0.1:1/webapi.git', branch: 'main' } },
  }
  const file = join(folder, 'crosscloud.server.yml')
  await writeFile(file, stringify(written))
  const lines: string[] = []
  const keep = (text: string) => void lines.push(text)
  const log = { ...silentLog, warn: keep, error: keep, info: keep, debug: keep }
  const secrets = createSecrets()
  const settings = await readServerSettings(file, {}, secrets)
  const server = await startServer({
    ...{ settings, log, secrets, role: 'receive', program: '' },
    variables: { CROSSCLOUD_STATE: join(folder, 'state'), HOME: folder },
  })
  t.teardown(() => server.close())
  const ledger = await openLedger(place)
  t.teardown(() => ledger.close())
  const [provider] = Object.values(providers) as [LoginProvider]
  const base = { url, redis, ledger, provider, providers, lines, settings }
  return {
    ...base,
    ...driving(url),
    second: (onLogin?: (login: Login) => Promise<void>) => openSecond(t, settings, onLogin),
  }
}

/** What another server with the same settings has, over the same Redis. */
async function openSecond(
  t: Test,
  settings: ServerSettings,
  onLogin: (login: Login) => Promise<void> = async () => {},
) {
  const redis = await openQueueRedis(settings.queue.redis, '.', silentLog)
  t.teardown(redis.close)
  const http = createHttpClient()
  t.teardown(http.close)
  const holding = holdChecks(redis.failFast)
  const logins = await openLogins({
    ...{ settings, http, variables: {}, onLogin, log: silentLog },
    redis: { failFast: holding.client, name: redis.name },
  })
  if (logins === undefined) throw new Error('there are no logins')
  t.teardown(logins.close)
  const store = openSessionStore({
    ...{ client: redis.failFast, server: redis.name, base: `${keyPrefix(settings.queue.name)}:` },
  })
  const authenticate = (session: string) =>
    logins.authenticate({
      ...{ method: 'GET', url: '/api/v1/session', ip: '192.0.2.1' },
      headers: { cookie: `${SESSION}=${session}` },
    })
  return { authenticate, store, logins, holdNextCheck: holding.holdNextCheck }
}

/** Stops a server when it has read a session, and before it claims to ask the issuer. */
function holdChecks<Client extends object>(real: Client) {
  let hold: (() => Promise<void>) | undefined
  const client = new Proxy(real, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== 'set') return value.bind(target)
      return async (key: string, ...rest: unknown[]) => {
        if (key.includes('login-check')) await hold?.()
        return value.call(target, key, ...rest)
      }
    },
  })
  const holdNextCheck = () => {
    let goOn = () => {}
    const going = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const reached = new Promise<void>((resolve) => {
      hold = async () => {
        hold = undefined
        resolve()
        await going
      }
    })
    return { reached, goOn }
  }
  return { client, holdNextCheck }
}

export function driving(url: string) {
  const isHere = ({ origin }: URL) => origin === url
  return {
    /** Goes to the issuer and comes back; the last page. */
    async login(browser: Browser, query = ''): Promise<Page> {
      const { page } = await browser.go(
        `${url}/login${query}`,
        (to) => isHere(to) && !isCallback(to),
      )
      return page
    },
    /** The same up to the address that the issuer sends the browser back to. */
    async until(browser: Browser, change: (to: URL) => void = () => {}, query = ''): Promise<URL> {
      const { stopped: there } = await browser.go(`${url}/login${query}`, () => true)
      if (there === undefined) throw new Error('no redirect to the issuer')
      change(there)
      const { stopped } = await browser.go(there, isHere)
      if (stopped === undefined) throw new Error('the issuer did not come back')
      return stopped
    },
    who: (browser: Browser, headers: Record<string, string> = {}) =>
      browser.send(`${url}/api/v1/session`, {
        headers: { accept: 'application/json', ...headers },
      }),
    /** A request that changes something, as a page of `origin` sends it. */
    act: (browser: Browser, headers: Record<string, string> = { origin: url }) =>
      browser.send(`${url}/api/v1/plans`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
        body: JSON.stringify({ app: 'webapi', step: 'deploy', inputs: {} }),
      }),
  }
}

const isCallback = ({ pathname }: URL) => pathname.startsWith('/login/callback/')

export const newBrowser = openBrowser
