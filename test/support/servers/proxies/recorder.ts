import { once } from 'node:events'
import { createServer, type IncomingMessage, request as open, type RequestOptions } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface Recorder {
  /** `127.0.0.1:port`; of a socket its path. */
  address: string
  /** `GET /v1.41/containers/json`, since the last `clear`; by one program, where it is named. */
  requests(agent?: RegExp): readonly string[]
  clear(): void
  /** From now on every request that is not a GET or HEAD is refused, as by a server that only reads. */
  refuseWrites(refused: boolean): void
  /** The next request that is like this is refused as by an engine that cannot, others are not. */
  refuseNext(pattern: RegExp): void
}

/** Stands before an HTTP server, at a socket where `path` names one, and notes what it is asked. */
export async function startRecorder(
  t: Pick<Test, 'teardown'>,
  to: Pick<RequestOptions, 'socketPath' | 'host' | 'port'>,
  path?: string,
): Promise<Recorder> {
  let seen: { line: string; agent: string }[] = []
  let refusing = false
  let refuseOnce: RegExp | undefined
  const server = createServer((request: IncomingMessage, response) => {
    const { method = '', url = '', headers } = request
    seen.push({ line: `${method} ${url}`, agent: headers['user-agent'] ?? '' })
    if (refusing && method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { 'content-type': 'application/json' })
      response.end(
        '{"errors":[{"code":"UNSUPPORTED","message":"read-only"}],"message":"read-only"}',
      )
      return
    }
    if (refuseOnce?.test(`${method} ${url}`)) {
      refuseOnce = undefined
      response.writeHead(500, { 'content-type': 'application/json' })
      response.end('{"message":"cannot update a stopped container: unknown"}')
      return
    }
    const onward = open({ ...to, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    response.on('close', () => onward.destroy())
    request.pipe(onward)
  })
  if (path === undefined) server.listen(0, '127.0.0.1')
  else server.listen(path)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    address: path ?? `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: (agent = /(?:)/) =>
      seen.filter((each) => agent.test(each.agent)).map(({ line }) => line),
    clear() {
      seen = []
    },
    refuseWrites(refused) {
      refusing = refused
    },
    refuseNext(pattern) {
      refuseOnce = pattern
    },
  }
}
