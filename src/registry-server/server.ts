import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe } from '../core/errors.ts'
import { wait } from '../core/retry.ts'
import { isRepositoryName } from '../registry/reference.ts'
import type { Scope } from '../registry/scopes.ts'
import { type AccessControl, createAccessControl, type RegistryAuth } from './auth.ts'
import { Refusal } from './refusal.ts'
import { jsonReply, pageReply, type RegistryRequest, type Reply, refusalReply } from './reply.ts'
import { parsePath, respond } from './routes.ts'
import { createStore, type RegistryStore } from './store.ts'

export type { RegistryAuth } from './auth.ts'

/** What the registry does wrong with one request, for tests. */
export type Fault =
  /** Respond with this instead; `code` and `message` make a registry's error document. */
  | { status: number; code?: string; message?: string; headers?: Record<string, string> }
  /** Break the connection after so many bytes of the request's body, or else of the response's. */
  | { cut: number }
  /** Wait so many milliseconds first. */
  | { delay: number }
  /** Forget all tokens first. */
  | { expireToken: true }

export interface EmbeddedRegistryOptions {
  /** Made when absent. What it holds is served again by the next registry started on it. */
  folder: string
  /** 0 takes a free one. */
  port?: number
  host?: string
  auth?: RegistryAuth
  /** Called before each request. */
  faults?: (request: { method: string; path: string }) => Fault | undefined
}

export interface EmbeddedRegistry {
  /** `host:port`, as it stands in a reference. */
  address: string
  url: string
  /** The latest requests, oldest first; `path` has the query, `status` is 0 for a broken one. */
  requests: { method: string; path: string; status: number; authorization?: string }[]
  close(): Promise<void>
}

const MOST_REQUESTS_KEPT = 10_000

/** Starts a small registry on a folder: the distribution API as docker, skopeo and we use it. */
export async function startRegistry(options: EmbeddedRegistryOptions): Promise<EmbeddedRegistry> {
  const { folder, port = 0, host = '127.0.0.1', auth, faults } = options
  const store = createStore(folder)
  await store.open()
  let url = ''
  const access = auth && createAccessControl(auth, () => `${url}/token`)
  const requests: EmbeddedRegistry['requests'] = []

  const server = createServer((message, response) => {
    const method = message.method ?? 'GET'
    const path = message.url ?? '/'
    const { authorization } = message.headers
    const entry = { method, path, status: 0, ...(authorization ? { authorization } : {}) }
    requests.push(entry)
    if (requests.length > MOST_REQUESTS_KEPT) requests.shift()
    response.on('finish', () => {
      entry.status = response.statusCode
    })
    void serve({ store, access, fault: faults?.({ method, path }) }, message, response)
  })
  // A large blob on a slow line takes longer than Node's five minutes.
  server.requestTimeout = 0
  // Longer than clients keep a connection, so that they never write to a closing one.
  server.keepAliveTimeout = 65_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const bound = (server.address() as AddressInfo).port
  const address = `${host.includes(':') ? `[${host}]` : host}:${bound}`
  url = `http://${address}`
  return {
    address,
    url,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

interface Dependencies {
  store: RegistryStore
  access: AccessControl | undefined
  fault: Fault | undefined
}

async function serve(
  dependencies: Dependencies,
  message: IncomingMessage,
  response: ServerResponse,
) {
  try {
    await reply(
      message,
      response,
      await responseTo(dependencies, message),
      cutOf(dependencies.fault, message),
    )
  } catch (error) {
    if (message.destroyed && !message.complete) return response.destroy()
    if (response.headersSent) return response.destroy()
    await reply(message, response, refusalReply(toRefusal(error))).catch(() => response.destroy())
  }
  return undefined
}

function toRefusal(error: unknown): Refusal {
  return error instanceof Refusal
    ? error
    : new Refusal(500, 'UNKNOWN', 'unknown error', describe(error))
}

async function responseTo(dependencies: Dependencies, message: IncomingMessage): Promise<Reply> {
  const { store, access, fault } = dependencies
  const url = new URL(message.url ?? '/', 'http://registry')
  if (fault) {
    const faulty = await inject(fault, message, access)
    if (faulty) return faulty
  }
  if (access && url.pathname === '/token') {
    return jsonReply(200, access.issue(message, url.searchParams, await readForm(message)))
  }
  const target = parsePath(decodePath(url.pathname))
  const method = message.method ?? 'GET'
  const challenge = access?.challenge(message, neededScopes(method, url, target?.name))
  if (challenge) {
    const reply = refusalReply(new Refusal(401, 'UNAUTHORIZED', 'authentication required'))
    return { ...reply, headers: { ...reply.headers, 'www-authenticate': challenge } }
  }
  if (target) return respond(store, { ...target, method, query: url.searchParams, message })
  if (url.pathname === '/v2/' || url.pathname === '/v2') return jsonReply(200, {})
  if (url.pathname === '/v2/_catalog') {
    const all = await store.repositories()
    return pageReply('/v2/_catalog', url.searchParams, all, (repositories) => ({ repositories }))
  }
  throw new Refusal(404, 'NOT_FOUND', 'no such page')
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    throw new Refusal(400, 'NAME_INVALID', 'invalid path')
  }
}

async function readForm(message: IncomingMessage): Promise<URLSearchParams> {
  let text = ''
  for await (const chunk of message) {
    text += String(chunk)
    if (text.length > 64 * 1024) throw new Refusal(413, 'UNSUPPORTED', 'the form is too long')
  }
  return new URLSearchParams(text)
}

function neededScopes(
  method: string,
  url: URL,
  name: RegistryRequest['name'] | undefined,
): Scope[] {
  if (name === undefined) return []
  const read = method === 'GET' || method === 'HEAD'
  const from = url.searchParams.get('from') ?? ''
  return [
    { repository: name, actions: read ? 'pull' : 'pull,push' },
    ...(isRepositoryName(from) ? [{ repository: from, actions: 'pull' as const }] : []),
  ]
}

/** Does what the fault asks for; gives the response when there is nothing more to do. */
async function inject(
  fault: Fault,
  message: IncomingMessage,
  access: AccessControl | undefined,
): Promise<Reply | undefined> {
  if ('delay' in fault) await pause(fault.delay, message)
  if ('expireToken' in fault) access?.expireTokens()
  if ('cut' in fault && hasBody(message)) {
    let received = 0
    for await (const chunk of message as AsyncIterable<Buffer>) {
      received += chunk.length
      if (received >= fault.cut) break
    }
    message.socket.destroy()
    throw new Error('cut')
  }
  if (!('status' in fault)) return undefined
  const { status, code, message: text = '', headers } = fault
  const reply: Reply =
    code === undefined ? { status } : refusalReply({ status, code, message: text })
  return { ...reply, headers: { ...reply.headers, ...headers } }
}

/** Ends early when the client hangs up, so that no timer outlives its request. */
async function pause(milliseconds: number, { socket }: IncomingMessage): Promise<void> {
  const gone = new AbortController()
  const leave = () => gone.abort()
  socket.once('close', leave)
  try {
    await wait(milliseconds, gone.signal)
  } finally {
    socket.off('close', leave)
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

function cutOf(fault: Fault | undefined, message: IncomingMessage): number | undefined {
  return fault && 'cut' in fault && !hasBody(message) ? fault.cut : undefined
}

async function reply(
  message: IncomingMessage,
  response: ServerResponse,
  { status, headers = {}, body = '' }: Reply,
  cut?: number,
): Promise<void> {
  // What the client still sends is read away: closing on it would lose the response on its way.
  if (!message.complete) message.resume()
  const length =
    body instanceof Readable || status === 204 || 'content-length' in headers
      ? {}
      : { 'content-length': Buffer.byteLength(body) }
  response.writeHead(status, {
    'docker-distribution-api-version': 'registry/2.0',
    ...headers,
    ...length,
  })
  if (body instanceof Readable || cut !== undefined) {
    const source = body instanceof Readable ? body : Readable.from([Buffer.from(body)])
    await (cut === undefined
      ? pipeline(source, response)
      : pipeline(source, cutting(cut), response))
  } else if (message.method === 'HEAD') response.end()
  else response.end(body)
}

function cutting(limit: number): Transform {
  let sent = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const rest = limit - sent
      sent += chunk.length
      if (chunk.length < rest) return done(null, chunk)
      this.push(chunk.subarray(0, rest))
      setTimeout(() => done(new Error('cut')), 20)
    },
  })
}
