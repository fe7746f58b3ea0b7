import http, { type Agent, type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { Readable } from 'node:stream'
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { cancelled } from '../core/errors.ts'
import { type Answer, connectionError } from './answer.ts'
import { caFor, type OriginOptions } from './origin.ts'
import { type Proxies, proxyFor } from './proxy.ts'

export interface WireOptions extends OriginOptions {
  signal: AbortSignal
  proxy?: Proxies | undefined
  timeouts?: Partial<Timeouts> | undefined
}

/** In milliseconds. */
export interface Timeouts {
  /** Until a connection stands, TLS with it. */
  connect: number
  /** Of no byte either way, until the answer begins. */
  answer: number
  /** Of no byte of an answer that has begun. */
  silence: number
}

export interface WireRequest {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  headers: Record<string, string>
  body?: Buffer | Readable | undefined
  /** In place of the wire's own. */
  signal?: AbortSignal | undefined
}

/** HTTP below the registry's rules: connections are kept, at most eight a host. */
export interface Wire {
  /** One request, one answer of any status; a fault of the connection is thrown, with `what`. */
  send(what: string, url: URL, request: WireRequest): Promise<Answer>
  /** Of bodies, whether or not they arrived. */
  bytesSent(): number
  close(): void
}

/** Some registries store a blob anew after its last byte, and only then answer. */
const TIMEOUTS: Timeouts = { connect: 10_000, answer: 300_000, silence: 60_000 }
const IDLE_TIMEOUT = 30_000
/** An answer that nobody wants is read to this length, so that its connection can be kept. */
const MOST_DISCARDED = 64 * 1024

/** Node's own client: undici costs each command 0.15 s at its start, for the parser it compiles. */
export function createWire(options: WireOptions): Wire {
  const agents = new Map<string, Promise<Agent>>()
  const contexts = new Map<string, SecureContext>()
  const timeouts = { ...TIMEOUTS, ...options.timeouts }
  let sent = 0

  const agentFor = (url: URL): Promise<Agent> => {
    const proxy = proxyFor(url, options.proxy)
    const key = `${url.protocol} ${proxy}`
    const agent = agents.get(key) ?? openAgent(url, proxy)
    agents.set(key, agent)
    return agent
  }
  const contextFor = (url: URL): SecureContext | undefined => {
    const ca = url.protocol === 'https:' ? caFor(url.host, options) : undefined
    if (ca === undefined) return undefined
    const context = contexts.get(url.host) ?? createSecureContext({ ca: [...rootCertificates, ca] })
    contexts.set(url.host, context)
    return context
  }
  const attach = (request: ClientRequest, body: Readable) => {
    body.on('data', (chunk: Buffer) => {
      sent += chunk.length
    })
    body.once('error', (error) => request.destroy(error))
    request.once('close', () => body.destroy())
    body.pipe(request)
  }

  return {
    async send(what, url, { method, headers, body, signal = options.signal }) {
      if (signal.aborted) throw cancelled(signal)
      try {
        const { request: open } = url.protocol === 'https:' ? https : http
        const request = open(url, {
          agent: await agentFor(url),
          method,
          headers: { 'user-agent': 'crosscloud', ...headers },
          secureContext: contextFor(url),
        } as https.RequestOptions)
        const answered = answerTo(request, signal, timeouts)
        if (body instanceof Readable) attach(request, body)
        else request.end(body)
        sent += body instanceof Buffer ? body.length : 0
        const response = await answered
        const { statusCode: status = 0, headers: told } = response
        if (body instanceof Readable && status >= 300) stopSending(request, response, body)
        return { status, headers: told, url, body: response, discard: () => discard(response) }
      } catch (error) {
        throw signal.aborted ? cancelled(signal) : connectionError(what, error)
      }
    },
    bytesSent: () => sent,
    close() {
      for (const agent of agents.values()) agent.then((one) => one.destroy()).catch(() => {})
    },
  }
}

async function openAgent({ protocol }: URL, proxy: string | undefined): Promise<Agent> {
  const settings = { keepAlive: true, maxSockets: 8, timeout: IDLE_TIMEOUT }
  if (protocol === 'https:') {
    if (proxy === undefined) return new https.Agent(settings)
    const { HttpsProxyAgent } = await import('https-proxy-agent')
    return new HttpsProxyAgent(proxy, settings)
  }
  if (proxy === undefined) return new http.Agent(settings)
  const { HttpProxyAgent } = await import('http-proxy-agent')
  return new HttpProxyAgent(proxy, settings)
}

/** The response's head, within the time limits; they and the signal hold for its body too. */
function answerTo(
  request: ClientRequest,
  signal: AbortSignal,
  { connect, answer, silence }: Timeouts,
): Promise<IncomingMessage> {
  let response: IncomingMessage | undefined
  const end = (error: Error) => void (response ?? request).destroy(error)
  const stop = () => end(cancelled(signal))
  signal.addEventListener('abort', stop, { once: true })
  request.once('close', () => signal.removeEventListener('abort', stop))
  limitConnecting(request, connect)
  request.setTimeout(answer)
  request.on('timeout', () => {
    // With bytes waiting here the silence is our own: a slow target holds up the source.
    if (response && response.readableLength > 0) request.setTimeout(silence)
    else end(timedOut(response ? 'the answer stopped in the middle' : 'no answer came'))
  })
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    request.once('response', (message) => {
      response = message
      // Whoever reads the body is told; with nobody reading it must not end the process.
      message.on('error', () => {})
      request.setTimeout(silence)
      resolve(message)
    })
  })
}

function limitConnecting(request: ClientRequest, milliseconds: number): void {
  request.once('socket', (socket) => {
    if (!socket.connecting) return
    const timer = setTimeout(() => request.destroy(timedOut('no connection')), milliseconds)
    const connected = () => clearTimeout(timer)
    socket.once(request.protocol === 'https:' ? 'secureConnect' : 'connect', connected)
    request.once('close', connected)
  })
}

function timedOut(message: string): Error {
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' })
}

/** The answer is no already. The connection cannot be kept: the request on it stays half. */
function stopSending(request: ClientRequest, response: IncomingMessage, body: Readable): void {
  if (request.writableFinished) return
  body.unpipe(request)
  body.destroy()
  for (const event of ['end', 'close']) response.once(event, () => request.destroy())
}

async function discard(response: IncomingMessage): Promise<void> {
  if (response.readableEnded || response.destroyed) return
  let size = 0
  await new Promise<void>((resolve) => {
    response.once('end', resolve)
    response.once('close', resolve)
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > MOST_DISCARDED) response.destroy()
    })
  })
}
