import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import t, { type Test } from 'tap'
import type { HttpCheck } from '../../../src/targets/docker/health/check.ts'
import { askHttp, askTcp, isTaken } from '../../../src/targets/docker/health/probe.ts'
import { freePort } from '../../support/servers/ports.ts'
import { missingProgram } from '../../support/servers/server.ts'
import { TYPESCRIPT } from '../../support/typescript.ts'

const limits = { connect: 5000, request: 5000, signal: undefined }

async function listen(t: Test, handler: RequestListener): Promise<string> {
  const server = createServer(handler).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function listenTcp(t: Test, onSocket: Parameters<typeof createTcpServer>[1]) {
  const server = createTcpServer(onSocket).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('an HTTP check is judged by status and body, and follows no redirect', async (t) => {
  const paths: (string | undefined)[] = []
  const address = await listen(t, (request, response) => {
    paths.push(request.url)
    const status = Number(request.url?.slice(1))
    response.writeHead(status, { location: '/200' }).end(`state: ${request.headers.host}`)
  })
  const ask = (path: string, more: Partial<HttpCheck> = {}) =>
    askHttp(address, { port: 1, path, ...more }, limits)
  t.equal(await ask('/204'), undefined)
  t.equal(await ask('/302'), 'HTTP 302')
  t.equal(await ask('/401'), 'HTTP 401')
  const statuses = [[200, 399] as const, [401, 401] as const]
  t.equal(await ask('/302', { statuses }), undefined)
  t.equal(await ask('/401', { statuses }), undefined)
  t.equal(await ask('/403', { statuses }), 'HTTP 403')
  t.equal(await ask('/500', { statuses }), 'HTTP 500')
  t.same(paths, ['/204', '/302', '/401', '/302', '/401', '/403', '/500'])
  const headers = { Host: 'shop.example.com' }
  t.equal(await ask('/200', { headers, body: '^state: shop\\.' }), undefined)
  t.equal(await ask('/200', { body: 'UP' }), 'HTTP 200, its body does not match /UP/')
})

t.test('a check asks the container alone, whatever its path is', async (t) => {
  const seen: (string | undefined)[] = []
  const own = await listen(t, (request, response) => {
    seen.push(request.url)
    response.end()
  })
  const other = await listen(t, (_, response) => {
    t.fail('another server was asked')
    response.end()
  })
  const path = `@${new URL(other).host}/latest/meta-data?x`
  t.equal(await askHttp(own, { port: 1, path }, limits), undefined)
  t.equal(await askHttp(own, { port: 1, path: `//${new URL(other).host}/x y` }, limits), undefined)
  t.same(seen, [`/${path}`, `//${new URL(other).host}/x%20y`])
})

t.test('a check that gets no response says what came instead', async (t) => {
  const silent = await listen(t, () => {})
  const short = { ...limits, request: 100 }
  const check = { port: 1, path: '/' }
  t.equal(await askHttp(silent, check, short), 'no response within 0.1 s')
  const stop = new AbortController()
  const asked = askHttp(silent, check, { ...limits, signal: stop.signal })
  stop.abort()
  t.equal(await asked, 'cancelled')
  const closing = await listenTcp(t, (socket) => socket.destroy())
  t.equal(await askHttp(closing, check, limits), 'ECONNRESET')
  t.equal(await askTcp(closing, limits), 'the connection was closed at once')
  const endless = await listen(t, (_, response) => {
    const more = () => response.write('x'.repeat(100_000), more)
    more()
  })
  t.match(await askHttp(endless, { ...check, body: 'UP' }, limits), /does not match/)
})

t.test('a body pattern that finds no end stops neither the process nor a cancel', async (t) => {
  const address = await listen(t, (_, response) => response.end(`${'a'.repeat(52)}!`))
  const check = { port: 1, path: '/', body: '^(a+)+$' }
  let turns = 0
  const turning = setInterval(() => turns++, 10)
  t.teardown(() => clearInterval(turning))
  const late = await askHttp(address, check, { ...limits, request: 500 })
  t.equal(late, '/^(a+)+$/ needs too long for its body')
  t.ok(turns > 1, 'all else goes on meanwhile')
  const stop = new AbortController()
  const asked = askHttp(address, check, { ...limits, request: 600_000, signal: stop.signal })
  setTimeout(() => stop.abort(), 200)
  t.equal(await asked, 'cancelled')
  t.match(await askHttp(address, { ...check, body: '(' }, limits), /Invalid regular expression/)
})

t.test('a TCP check wants a connection that stays open, or bytes', async (t) => {
  const open = await listenTcp(t, (socket) => socket.on('error', () => {}))
  t.equal(await askTcp(open, limits), undefined)
  const greeting = await listenTcp(t, (socket) => socket.end('+OK\r\n'))
  t.equal(await askTcp(greeting, limits), undefined)
  t.equal(await isTaken(open, limits), true)
  const closed = `http://127.0.0.1:${await freePort()}`
  t.equal(await isTaken(closed, limits), false)
  t.equal(await askTcp(closed, limits), 'ECONNREFUSED')
})

t.test(
  'docker-proxy, which accepts and closes, does not hold up the first check',
  { skip: missingProgram('docker-proxy') },
  async (t) => {
    const [port, closed] = [await freePort(), await freePort()]
    const ports = ['-host-ip', '127.0.0.1', '-host-port', String(port)]
    const target = ['-container-ip', '127.0.0.1', '-container-port', String(closed)]
    // It reports on descriptor 3 that it listens.
    const proxy = spawn('docker-proxy', ['-proto', 'tcp', ...ports, ...target], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    })
    t.teardown(() => proxy.kill())
    await once(proxy.stdio[3] as NodeJS.ReadableStream, 'data')
    const probe = new URL('../../../src/targets/docker/health/probe.ts', import.meta.url)
    const limits = '{ connect: 60_000, request: 60_000 }'
    const child = spawn(process.execPath, [
      '--import',
      TYPESCRIPT,
      '--input-type=module',
      '--eval',
      `const { askHttp, askTcp } = await import('${probe}')
    console.log(await askHttp('http://127.0.0.1:${port}', { path: '/' }, ${limits}))
    console.log(await askTcp('http://127.0.0.1:${port}', ${limits}))`,
    ])
    const said: Buffer[] = []
    child.stdout.on('data', (chunk) => said.push(chunk))
    await once(child, 'close')
    const [http, tcp] = Buffer.concat(said).toString().trim().split('\n')
    t.match(http, /ECONNRESET|socket hang up/)
    t.equal(tcp, 'the connection was closed at once')
  },
)
