import { once } from 'node:events'
import {
  type Agent,
  createServer,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import type { ProxyServer } from '../../../src/targets/proxy.ts'

/** A small web application behind a proxy: it says who it is, can be slow, and is `/broken`. */
export interface Backend {
  server: ProxyServer
  /** Requests that came, by their id; one that came twice is counted twice. */
  seen: string[]
  /** From now on requests of `/held` wait for their response. */
  hold(): void
  /** How many wait. */
  held(): number
  /** Responds to those, and to all that come later. */
  release(): void
}

/** Each on a port of its own of 127.0.0.1, as the slots of the host app-01. */
export async function startBackends(t: Pick<Test, 'teardown'>, slots: number): Promise<Backend[]> {
  const started = Array.from({ length: slots }, (_, index) => startBackend(t, index + 1))
  return Promise.all(started)
}

async function startBackend(t: Pick<Test, 'teardown'>, slot: number): Promise<Backend> {
  const seen: string[] = []
  const waiting: (() => void)[] = []
  let isHolding = false
  const respond = async (incoming: IncomingMessage, response: ServerResponse) => {
    await text(incoming)
    const { pathname, searchParams } = new URL(incoming.url ?? '', 'http://backend')
    const id = searchParams.get('id')
    if (id !== null) seen.push(id)
    if (pathname === '/held' && isHolding) {
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
    response.writeHead(pathname === '/broken' ? 500 : 200).end(`slot ${slot}`)
  }
  const server = createServer((incoming, response) => void respond(incoming, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    server: { host: 'app-01', slot, address: '127.0.0.1', port },
    seen,
    held: () => waiting.length,
    release() {
      isHolding = false
      for (const resolve of waiting.splice(0)) resolve()
    },
    hold() {
      isHolding = true
    },
  }
}

export interface Reply {
  status: number
  body: string
  /** `name=value` of the cookies that it sets. */
  cookies: string[]
}

/** One request on a connection of its own, or on one that `agent` keeps. */
export async function send(
  url: string,
  options: { method?: string; cookie?: string; agent?: Agent } = {},
): Promise<Reply> {
  const { method = 'GET', cookie, agent = false } = options
  const sent = request(url, { method, agent, ...(cookie && { headers: { cookie } }) })
  sent.end(method === 'POST' ? 'x=1' : undefined)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const body = await text(response)
  const cookies = (response.headers['set-cookie'] ?? []).map((each) => each.split(';')[0] ?? '')
  return { status: response.statusCode ?? 0, body, cookies }
}
