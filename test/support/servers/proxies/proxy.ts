import { once } from 'node:events'
import { createServer, type IncomingMessage, request as open } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Test } from 'tap'

/** An HTTP proxy, with tunnels for HTTPS. Whatever host is asked for, it leads to `to`. */
export async function startProxy(t: Pick<Test, 'teardown'>, to: URL) {
  const seen: string[] = []
  const note = (request: IncomingMessage, target: string) =>
    seen.push(`${request.method} ${target} ${request.headers['proxy-authorization'] ?? ''}`.trim())
  const proxy = createServer((request, response) => {
    note(request, request.url ?? '')
    const { pathname, search } = new URL(request.url ?? '')
    const onward = open(
      new URL(pathname + search, to),
      { method: request.method, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers)
        answer.pipe(response)
      },
    )
    request.pipe(onward)
  })
  const tunnels = new Set<Socket>()
  proxy.on('connect', (request: IncomingMessage, socket: Socket) => {
    note(request, request.url ?? '')
    const onward = connect(Number(to.port), to.hostname, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      onward.pipe(socket).pipe(onward)
    })
    for (const side of [socket, onward]) {
      tunnels.add(side)
      side.on('error', () => {})
    }
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    for (const side of tunnels) side.destroy()
    proxy.closeAllConnections()
    proxy.close()
  })
  const { port } = proxy.address() as AddressInfo
  return { url: `http://alice:secret@127.0.0.1:${port}`, seen }
}
