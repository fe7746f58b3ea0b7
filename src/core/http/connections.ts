import http, { type Agent } from 'node:http'
import https from 'node:https'
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { type Proxies, proxyFor } from './proxy.ts'

export interface ConnectionOptions {
  proxies?: Proxies | undefined
  /** PEM text of an authority that is trusted for this host (`name` or `name:port`) beside the usual ones. */
  ca?: ((host: string) => string | undefined) | undefined
}

export interface Connections {
  /** What Node's client needs to reach a URL. */
  to(url: URL): Promise<{ agent: Agent; secureContext?: SecureContext }>
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
export function openConnections({ proxies, ca }: ConnectionOptions): Connections {
  const agents = new Map<string, Promise<Agent>>()
  const contexts = new Map<string, SecureContext>()

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
      const opening = agents.get(key) ?? openAgent(url, proxy)
      agents.set(key, opening)
      const agent = await opening
      return authority === undefined ? { agent } : { agent, secureContext: contextFor(authority) }
    },
    close() {
      for (const opening of agents.values())
        opening.then((agent) => agent.destroy()).catch(() => {})
    },
  }
}

async function openAgent({ protocol }: URL, proxy: string | undefined): Promise<Agent> {
  const settings = { keepAlive: true, maxSockets: MOST_SOCKETS, timeout: IDLE_TIMEOUT }
  if (protocol === 'https:') {
    if (proxy === undefined) return new https.Agent(settings)
    const { HttpsProxyAgent } = await import('https-proxy-agent')
    return new HttpsProxyAgent(proxy, settings)
  }
  if (proxy === undefined) return new http.Agent(settings)
  const { HttpProxyAgent } = await import('http-proxy-agent')
  return new HttpProxyAgent(proxy, settings)
}
