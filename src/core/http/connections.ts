import http, { type Agent } from 'node:http'
import https from 'node:https'
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import pLimit, { type LimitFunction } from 'p-limit'
import { cancelled } from '../errors.ts'
import { type Proxies, proxyFor } from './proxy.ts'
import { limitTunnel, type Timeouts } from './timeouts.ts'

export interface ConnectionOptions {
  proxies?: Proxies | undefined
  /** PEM text of an authority that is trusted for this host (`name` or `name:port`) beside the usual ones. */
  ca?: ((host: string) => string | undefined) | undefined
  timeouts?: Partial<Timeouts> | undefined
}

export interface Connections {
  /** What Node's client needs to reach a URL. */
  to(url: URL): Promise<{ agent: Agent; secureContext?: SecureContext }>
  /**
   * Waits until a request may be sent there, and returns what must be called at its end. Only for
   * requests through a tunnel: what waits in the agent for a connection waits for good when the
   * proxy does not open one.
   */
  acquireSlot(url: URL, signal: AbortSignal): Promise<() => void>
  close(): void
}

/** Registries and GitLab answer 429 or 500 when a client opens many connections. */
const MOST_SOCKETS = 8
/**
 * How long a connection waits for its next request, without keeping the process: longer than
 * connecting may take, and shorter than servers wait, so that none is closed under a request.
 */
const IDLE_TIMEOUT = 15_000

/** Connections are kept, at most eight to a host; each trust has a pool of its own. */
export function openConnections({ proxies, ca, timeouts }: ConnectionOptions): Connections {
  const agents = new Map<string, Promise<Agent>>()
  const contexts = new Map<string, SecureContext>()
  const tunnels = new Map<string, LimitFunction>()

  const contextFor = (authority: string): SecureContext => {
    const known = contexts.get(authority)
    const context = known ?? createSecureContext({ ca: [...rootCertificates, authority] })
    contexts.set(authority, context)
    return context
  }

  return {
    async to(url) {
      const proxy = proxyFor(url, proxies)
      const authority = url.protocol === 'https:' ? ca?.(url.host) : undefined
      const key = `${url.protocol} ${proxy} ${authority}`
      const opening = agents.get(key) ?? openAgent(url, proxy, timeouts)
      agents.set(key, opening)
      const agent = await opening
      return authority === undefined ? { agent } : { agent, secureContext: contextFor(authority) }
    },
    async acquireSlot(url, signal) {
      if (url.protocol !== 'https:' || proxyFor(url, proxies) === undefined) return () => {}
      const limit = tunnels.get(url.host) ?? pLimit(MOST_SOCKETS)
      tunnels.set(url.host, limit)
      return waitForSlot(limit, signal)
    },
    close() {
      for (const opening of agents.values())
        opening.then((agent) => agent.destroy()).catch(() => {})
    },
  }
}

function waitForSlot(limit: LimitFunction, signal: AbortSignal): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(cancelled(signal))
    signal.addEventListener('abort', stop, { once: true })
    void limit(
      () =>
        new Promise<void>((end) => {
          signal.removeEventListener('abort', stop)
          if (signal.aborted) end()
          else resolve(end)
        }),
    )
  })
}

async function openAgent(
  { protocol }: URL,
  proxy: string | undefined,
  limits: Partial<Timeouts> | undefined,
): Promise<Agent> {
  const settings = { keepAlive: true, maxSockets: MOST_SOCKETS, timeout: IDLE_TIMEOUT }
  if (protocol === 'https:') {
    if (proxy === undefined) return new https.Agent(settings)
    const { HttpsProxyAgent } = await import('https-proxy-agent')
    const agent = new HttpsProxyAgent(proxy, { ...settings, maxSockets: Number.POSITIVE_INFINITY })
    limitTunnel(agent as never, limits?.connect)
    return agent
  }
  if (proxy === undefined) return new http.Agent(settings)
  const { HttpProxyAgent } = await import('http-proxy-agent')
  return new HttpProxyAgent(proxy, settings)
}
