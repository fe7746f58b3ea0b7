import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createHttpClient, type HttpOptions } from '../../../src/core/http/client.ts'
import { retryAfterOf } from '../../../src/core/http/errors.ts'
import { startProxy } from '../../support/servers/proxies/proxy.ts'

const { signal } = new AbortController()
const get = { signal }

async function listen(t: Test, server: Server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

async function serve(t: Test, handle: RequestListener) {
  const server = createServer(handle)
  t.teardown(() => server.closeAllConnections())
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  const url = new URL(`http://127.0.0.1:${await listen(t, server)}/v2/`)
  return { url, sockets, server }
}

function clientFor(t: Test, options: HttpOptions = {}) {
  const client = createHttpClient(options)
  t.teardown(() => client.close())
  return client
}

t.test(
  'a connection serves again, after HEAD and after a response that nobody reads',
  async (t) => {
    const { url, sockets } = await serve(t, (request, response) => {
      response.setHeader('content-length', 100)
      response.end(request.method === 'HEAD' ? undefined : 'x'.repeat(100))
    })
    const client = clientFor(t)
    for (const method of ['HEAD', 'GET', 'HEAD', 'GET'] as const) {
      const response = await client.send(url, { method, signal })
      await response.discard()
      await response.discard()
      await sleep(5)
    }
    t.equal(sockets.size, 1)
  },
)

t.test(
  'the body of any request has a length, so that the next one on its connection is read',
  async (t) => {
    const { url, sockets } = await serve(t, async (request, response) => {
      response.end(`${request.method} ${await text(request)}`)
    })
    const client = clientFor(t)
    const body = Buffer.from('{}')
    for (const method of ['DELETE', 'GET', 'PATCH', 'POST', 'PUT'] as const) {
      const response = await client.send(url, { method, body, signal })
      t.equal(`${response.status} ${await text(response.body)}`, `200 ${method} {}`)
    }
    t.equal(sockets.size, 1)
  },
)

t.test('a server that switches protocols is an error', async (t) => {
  const server = createTcp((socket) => {
    socket.on('error', () => {})
    socket.on('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
    )
  })
  const url = new URL(`http://127.0.0.1:${await listen(t, server)}/`)
  await t.rejects(clientFor(t).send(url, get), { code: 'ECONNRESET' })
})

t.test(
  'a proxy that does not open the way ends in time, for each request and for good',
  async (t) => {
    const sockets = new Set<Socket>()
    const silent = createTcp((socket) => void sockets.add(socket.on('error', () => {})))
    const proxy = `http://127.0.0.1:${await listen(t, silent)}`
    t.teardown(() => {
      for (const socket of sockets) socket.destroy()
    })
    const client = clientFor(t, { proxies: { https: proxy }, timeouts: { connect: 300 } })
    const url = new URL('https://registry.test/')
    // More than the client has connections: those of the first must be free again.
    const sent = Array.from({ length: 9 }, () => client.send(url, get))
    for (const each of await Promise.allSettled(sent)) {
      t.match(each, { status: 'rejected', reason: { code: 'ETIMEDOUT' } })
    }
    const cancel = new AbortController()
    const late = clientFor(t, { proxies: { https: proxy } }).send(url, { signal: cancel.signal })
    setTimeout(() => cancel.abort(), 50)
    await t.rejects(late, { code: 'CANCELLED' })
  },
)

t.test('a response without end is not read for its connection', async (t) => {
  let closed = false
  const { url } = await serve(t, (_, response) => {
    response.on('close', () => {
      closed = true
    })
    Readable.from(endless()).pipe(response)
  })
  await (await clientFor(t).send(url, get)).discard()
  while (!closed) await sleep(5)
  t.ok(closed)
})

function* endless() {
  for (;;) yield Buffer.alloc(16_384)
}

t.test(
  'connecting, waiting and reading have time limits, and a slow reader has none',
  async (t) => {
    const timeouts = { connect: 100, response: 200, idle: 200 }
    const mute = createTcp(() => {})
    const secret = new URL(`https://127.0.0.1:${await listen(t, mute)}/`)
    const client = clientFor(t, { timeouts })
    await t.rejects(client.send(secret, get), { code: 'ETIMEDOUT', message: 'no connection' })

    const waiting: ServerResponse[] = []
    const { url } = await serve(t, (request, response) => {
      waiting.push(response)
      if (request.url === '/half') response.write('half')
      if (request.url === '/large') response.end(Buffer.alloc(32 << 20))
    })
    await t.rejects(client.send(url, get), { code: 'ETIMEDOUT', message: 'no answer came' })
    const half = await client.send(new URL('/half', url), get)
    await t.rejects(text(half.body), { message: /stopped in the middle/ })

    const large = await client.send(new URL('/large', url), get)
    let size = 0
    for await (const chunk of large.body) {
      if (size === 0) await sleep(700)
      size += (chunk as Buffer).length
    }
    t.equal(size, 32 << 20, 'a slow reader is not taken for an idle server')
  },
)

t.test('a request is cancelled while waiting, and while reading', async (t) => {
  const { url } = await serve(t, (request, response) => {
    if (request.url === '/half') response.write('half')
  })
  for (const path of ['/none', '/half']) {
    const stop = new AbortController()
    const sending = clientFor(t).send(new URL(path, url), { signal: stop.signal })
    const reading = sending.then(({ body }) => text(body))
    setTimeout(() => stop.abort(), 50)
    await t.rejects(reading, { code: 'CANCELLED' }, path)
  }
})

t.test('a refusal in the middle of a body is read, and the rest not sent', async (t) => {
  const { url } = await serve(t, (_, response) => {
    response.writeHead(413).end('too large')
  })
  const client = clientFor(t)
  const body = Readable.from(endless(), { objectMode: false })
  const response = await client.send(url, { method: 'PUT', signal, body })
  t.equal(response.status, 413)
  t.equal(await text(response.body), 'too large')
  t.ok(body.destroyed)
  t.ok(client.bytesSent() > 0)
})

t.test('a proxy is asked with its login, which no message shows', async (t) => {
  const { url } = await serve(t, (request, response) => response.end(`plain ${request.url}`))
  const proxy = await startProxy(t, url)
  const client = clientFor(t, { proxies: { http: proxy.url, https: proxy.url } })
  const response = await client.send(new URL('http://registry.example/v2/'), get)
  t.equal(await text(response.body), 'plain /v2/')
  const login = `Basic ${Buffer.from('alice:secret').toString('base64')}`
  t.strictSame(proxy.seen, [`GET http://registry.example/v2/ ${login}`])
  // The tunnel leads to a server without TLS: that it was asked for is what counts here.
  await t.rejects(client.send(new URL('https://harbor.example/v2/'), get), {
    message: /^(?!.*secret)/,
  })
  t.strictSame(proxy.seen[1], `CONNECT harbor.example:443 ${login}`)
})

t.test('a response can ask for a pause of an hour at most', async (t) => {
  const after = (value: string) => retryAfterOf({ 'retry-after': value })
  t.equal(after('2'), 2000)
  for (const value of ['7200', '9'.repeat(400), 'Fri, 31 Dec 2099 23:59:59 GMT']) {
    t.equal(after(value), 3_600_000, value)
  }
  t.equal(after('Thu, 01 Jan 1970 00:00:00 GMT'), 0)
  t.equal(after('soon'), undefined)
})
