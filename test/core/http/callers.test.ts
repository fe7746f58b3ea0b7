import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createHttpClient } from '../../../src/core/http/client.ts'
import type { Proxies } from '../../../src/core/http/proxy.ts'
import { silentLog } from '../../../src/core/log.ts'
import { createSecrets } from '../../../src/core/secrets.ts'
import { openGitlab } from '../../../src/gitlab/client.ts'
import { fetchKeys } from '../../../src/identity/issuer.ts'
import { createRegistryClient } from '../../../src/registry/client.ts'
import { call } from '../../../src/server/platforms/http.ts'
import { makeCertificates } from '../../support/data/certificates.ts'
import { startProxy } from '../../support/servers/proxies/proxy.ts'
import { temporaryFolder } from '../../support/temporary.ts'

interface Way {
  /** Scheme, host and port of the server. */
  origin: string
  proxies?: Proxies
  ca?: string | undefined
  /** Milliseconds. */
  timeout?: number
  signal?: AbortSignal
}

const DIGEST = `sha256:${'a'.repeat(64)}`
const ONCE = { attempts: 1 }

function clientOf({ proxies, ca }: Way) {
  return createHttpClient({ proxies, ca: () => ca })
}

/** One request of each kind, as its module sends it. */
const callers: Record<string, (way: Way) => Promise<unknown>> = {
  async registry({ origin, proxies, ca, timeout = 5000, signal = new AbortController().signal }) {
    const { host, protocol } = new URL(origin)
    const client = createRegistryClient({
      credentials: { find: async () => undefined },
      secrets: createSecrets(),
      log: silentLog,
      insecure: protocol === 'http:' ? [host] : [],
      ca: ca === undefined ? {} : { [host]: ca },
      timeouts: { response: timeout },
      retry: ONCE,
      proxies,
      signal,
    })
    try {
      return await client.resolve({ registry: host, name: 'team/webapi', tag: '1' })
    } finally {
      client.close()
    }
  },
  async identity({ timeout = 5000, signal = new AbortController().signal, ...way }) {
    const { origin } = way
    const issuer = { issuer: origin, jwks: `${origin}/keys` }
    return fetchKeys(issuer, { http: clientOf(way), signal, timeout, retry: ONCE })
  },
  async gitlab({ timeout = 5000, signal = new AbortController().signal, ...way }) {
    const access = { url: way.origin, token: 'secret-token', http: clientOf(way), timeout, signal }
    const { api, ask } = await openGitlab({ ...access, attempts: 1 })
    return ask('opening team/webapi', () => api.Projects.show('team/webapi'))
  },
  async server({ timeout = 5000, signal = new AbortController().signal, ...way }) {
    const request = { what: 'asking', server: 'Jenkins', http: clientOf(way), timeout, signal }
    return call({ ...request, url: `${way.origin}/api/json`, method: 'POST', json: {} })
  },
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** What each caller takes for a good response. */
const good: Handler = (_request, response) => {
  response.setHeader('docker-content-digest', DIGEST)
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ keys: [], id: 1 }))
}

const certificates = temporaryFolder(t).then((folder) => makeCertificates(join(folder, 'tls')))
const pem = async (name: string) => readFile(join(await certificates, name), 'utf8')

async function serve(t: Test, handle: Handler, secure = false): Promise<URL> {
  const server = secure
    ? createSecureServer(
        { key: await pem('server-key.pem'), cert: await pem('server.pem') },
        handle,
      )
    : createServer(handle)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const scheme = secure ? 'https' : 'http'
  return new URL(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

for (const [name, ask] of Object.entries(callers)) {
  t.test(`${name}: HTTPS_PROXY leads to a server with a private authority`, async (t) => {
    const proxy = await startProxy(t, await serve(t, good, true))
    const ca = await pem('ca.pem')
    const way = { origin: 'https://server.example', proxies: { https: proxy.url } }
    await ask({ ...way, ca })
    t.match(proxy.seen, [/^CONNECT server\.example:443 Basic /])
    await t.rejects(
      ask(way),
      { code: 'UNAVAILABLE', message: /certificate/, hint: /certificate authority/ },
      'nobody else vouches for it',
    )
  })

  t.test(`${name}: HTTP_PROXY is asked for what NO_PROXY does not name`, async (t) => {
    const url = await serve(t, good)
    const proxy = await startProxy(t, url)
    await ask({ origin: 'http://server.example', proxies: { http: proxy.url } })
    t.match(proxy.seen, [/^(?:GET|HEAD|POST) http:\/\/server\.example\//])
    await ask({ origin: url.origin, proxies: { http: proxy.url } })
    t.equal(proxy.seen.length, 1, 'loopback is asked itself')
  })

  t.test(`${name}: a server that accepts and says nothing is UNAVAILABLE in time`, async (t) => {
    const { origin } = await serve(t, () => {})
    const error = { code: 'UNAVAILABLE', retryable: true, message: /no answer/ }
    await t.rejects(ask({ origin, timeout: 100 }), error)
  })

  t.test(`${name}: a request is cancelled while it waits`, async (t) => {
    const stop = new AbortController()
    const { origin } = await serve(t, () => stop.abort())
    await t.rejects(ask({ origin, signal: stop.signal }), { code: 'CANCELLED' })
  })

  t.test(`${name}: a status has the same code from every server`, async (t) => {
    let status = 0
    const { origin } = await serve(t, (_request, response) => {
      response.writeHead(status, { 'retry-after': '7' }).end()
    })
    const expected: [number, object][] = [
      [401, { code: 'UNAUTHORIZED', retryable: false }],
      [429, { code: 'UNAVAILABLE', retryable: true, retryAfter: 7000 }],
      [503, { code: 'UNAVAILABLE', retryable: true, retryAfter: 7000 }],
    ]
    for (const [number, error] of expected) {
      status = number
      const failure = await ask({ origin }).catch((error: unknown) => error)
      t.match(failure, { ...error, details: { status } }, `${status}`)
    }
  })

  t.test(
    `${name}: 403 is FORBIDDEN, or UNAVAILABLE where there were too many requests`,
    async (t) => {
      const headers: Record<string, string> = {}
      const { origin } = await serve(t, (_request, response) => {
        response.writeHead(403, headers).end()
      })
      await t.rejects(ask({ origin }), { code: 'FORBIDDEN', retryable: false })
      headers['x-ratelimit-remaining'] = '0'
      await t.rejects(ask({ origin }), { code: 'UNAVAILABLE' })
    },
  )
}
