import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  request as open,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import {
  type AddressInfo,
  connect,
  createServer as createTcp,
  type Server,
  type Socket,
} from 'node:net'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createWire, type WireOptions } from '../../src/registry/wire.ts'

const get = { method: 'GET', headers: {} } as const

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

function wireFor(t: Test, options: Partial<WireOptions> = {}) {
  const wire = createWire({ signal: new AbortController().signal, ...options })
  t.teardown(() => wire.close())
  return wire
}

t.test('a connection serves again, after HEAD and after an answer that nobody reads', async (t) => {
  const { url, sockets } = await serve(t, (request, response) => {
    response.setHeader('content-length', 100)
    response.end(request.method === 'HEAD' ? undefined : 'x'.repeat(100))
  })
  const wire = wireFor(t)
  for (const method of ['HEAD', 'GET', 'HEAD', 'GET'] as const) {
    const answer = await wire.send('x', url, { method, headers: {} })
    await answer.discard()
    await answer.discard()
    await sleep(5)
  }
  t.equal(sockets.size, 1)
})

t.test('an answer without end is not read for its connection', async (t) => {
  let closed = false
  const { url } = await serve(t, (_, response) => {
    response.on('close', () => {
      closed = true
    })
    Readable.from(endless()).pipe(response)
  })
  await (await wireFor(t).send('x', url, get)).discard()
  while (!closed) await sleep(5)
  t.ok(closed)
})

function* endless() {
  for (;;) yield Buffer.alloc(16_384)
}

t.test('time limits', async (t) => {
  const timeouts = { connect: 100, answer: 200, silence: 200 }
  const mute = createTcp(() => {})
  const secret = new URL(`https://127.0.0.1:${await listen(t, mute)}/`)
  const wire = wireFor(t, { timeouts })
  await t.rejects(wire.send('a', secret, get), { code: 'UNAVAILABLE', message: /no connection/ })

  const waiting: ServerResponse[] = []
  const { url } = await serve(t, (request, response) => {
    waiting.push(response)
    if (request.url === '/half') response.write('half')
    if (request.url === '/large') response.end(Buffer.alloc(32 << 20))
  })
  await t.rejects(wire.send('b', url, get), {
    code: 'UNAVAILABLE',
    message: 'b: no answer came (ETIMEDOUT)',
    retryable: true,
  })
  const half = await wire.send('c', new URL('/half', url), get)
  await t.rejects(text(half.body), { message: /stopped in the middle/ })

  const large = await wire.send('d', new URL('/large', url), get)
  let size = 0
  for await (const chunk of large.body) {
    if (size === 0) await sleep(700)
    size += (chunk as Buffer).length
  }
  t.equal(size, 32 << 20, 'a slow reader is not taken for a silent registry')
})

t.test('cancelled while waiting, and while reading', async (t) => {
  const { url } = await serve(t, (request, response) => {
    if (request.url === '/half') response.write('half')
  })
  for (const path of ['/none', '/half']) {
    const stop = new AbortController()
    const sending = wireFor(t, { signal: stop.signal }).send('x', new URL(path, url), get)
    const reading = sending.then(({ body }) => text(body))
    setTimeout(() => stop.abort(), 50)
    await t.rejects(reading, { code: 'CANCELLED' }, path)
  }
})

t.test('a refusal in the middle of a body is read, and the rest not sent', async (t) => {
  const { url } = await serve(t, (_, response) => {
    response.writeHead(413).end('too large')
  })
  const wire = wireFor(t)
  const body = Readable.from(endless(), { objectMode: false })
  const answer = await wire.send('x', url, { method: 'PUT', headers: {}, body })
  t.equal(answer.status, 413)
  t.equal(await text(answer.body), 'too large')
  t.ok(body.destroyed)
  t.ok(wire.bytesSent() > 0)
})

/** Leads to `to` whatever host is asked for, so that no name has to be known. */
async function startProxy(t: Test, to: URL) {
  const seen: string[] = []
  const note = (request: IncomingMessage, target: string) =>
    seen.push(`${request.method} ${target} ${request.headers['proxy-authorization'] ?? ''}`.trim())
  const proxy = createServer((request, response) => {
    note(request, request.url ?? '')
    const { pathname } = new URL(request.url ?? '')
    const onward = open(new URL(pathname, to), (answer) => answer.pipe(response))
    request.pipe(onward)
  })
  proxy.on('connect', (request: IncomingMessage, socket: Socket) => {
    note(request, request.url ?? '')
    const onward = connect(Number(to.port), to.hostname, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      onward.pipe(socket).pipe(onward)
    })
    for (const one of [socket, onward]) one.on('error', () => {})
  })
  t.teardown(() => proxy.closeAllConnections())
  return { url: `http://alice:secret@127.0.0.1:${await listen(t, proxy)}`, seen }
}

t.test('through a proxy', async (t) => {
  const { url } = await serve(t, (request, response) => response.end(`plain ${request.url}`))
  const proxy = await startProxy(t, url)
  const wire = wireFor(t, { proxy: { http: proxy.url, https: proxy.url } })
  const answer = await wire.send('x', new URL('http://registry.example/v2/'), get)
  t.equal(await text(answer.body), 'plain /v2/')
  const login = `Basic ${Buffer.from('alice:secret').toString('base64')}`
  t.strictSame(proxy.seen, [`GET http://registry.example/v2/ ${login}`])
  // The tunnel leads to a server without TLS: that it was asked for is what counts here.
  await t.rejects(wire.send('y', new URL('https://harbor.example/v2/'), get), {
    code: 'UNAVAILABLE',
    message: /^(?!.*secret)/,
  })
  t.strictSame(proxy.seen[1], `CONNECT harbor.example:443 ${login}`)
})
