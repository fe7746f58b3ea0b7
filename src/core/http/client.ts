import http, { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import https from 'node:https'
import { Readable } from 'node:stream'
import { cancelled } from '../errors.ts'
import { type ConnectionOptions, openConnections } from './connections.ts'
import { awaitResponse } from './timeouts.ts'

export type HttpOptions = ConnectionOptions

export interface HttpRequest {
  method?: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  headers?: Readonly<Record<string, string>>
  body?: Buffer | Readable | undefined
  signal: AbortSignal
}

/** The head of a response. Its body must be read or discarded, or its connection stays taken. */
export interface HttpResponse {
  status: number
  headers: IncomingHttpHeaders
  /** What was asked for. */
  url: URL
  body: Readable
  discard(): Promise<void>
}

/** Requests to registries, issuers, GitLab and other servers go through a client like this. */
export interface HttpClient {
  /**
   * One request, one response of any status; redirects are not followed. Rejects with CANCELLED, or
   * with the error of the connection, for which `connectionError` finds the words.
   */
  send(url: URL, request: HttpRequest): Promise<HttpResponse>
  /** Of bodies, whether or not they arrived. */
  bytesSent(): number
  close(): void
}

/** A response that nobody reads is read up to this length, so that its connection can be kept. */
const MOST_DISCARDED = 64 * 1024

/** Node's own client: undici costs each command 0.15 s at its start, for the parser it compiles. */
export function createHttpClient(options: HttpOptions = {}): HttpClient {
  const connections = openConnections(options)
  let sent = 0

  const attach = (request: ClientRequest, body: Readable) => {
    body.on('data', (chunk: Buffer) => {
      sent += chunk.length
    })
    body.once('error', (error) => request.destroy(error))
    request.once('close', () => body.destroy())
    body.pipe(request)
  }

  return {
    async send(url, { method = 'GET', headers, body, signal }) {
      if (signal.aborted) throw cancelled(signal)
      const end = await connections.acquireSlot(url, signal)
      try {
        const { request: open } = url.protocol === 'https:' ? https : http
        const request = open(url, {
          ...(await connections.to(url)),
          method,
          headers: { 'user-agent': 'crosscloud', ...lengthOf(body), ...headers },
        })
        request.once('close', end)
        const responding = awaitResponse(request, signal, options.timeouts)
        if (body instanceof Readable) attach(request, body)
        else request.end(body)
        sent += body instanceof Buffer ? body.length : 0
        const message = await responding
        const { statusCode: status = 0, headers: received } = message
        if (body instanceof Readable && status >= 300) stopSending(request, message, body)
        return { status, headers: received, url, body: message, discard: () => discard(message) }
      } catch (error) {
        end()
        throw signal.aborted ? cancelled(signal) : error
      }
    },
    bytesSent: () => sent,
    close: connections.close,
  }
}

/** Node gives the body of a DELETE no length: its bytes would pass for the next request. */
function lengthOf(body: HttpRequest['body']): Record<string, string> {
  return body instanceof Buffer ? { 'content-length': `${body.length}` } : {}
}

/** The response is a refusal. The connection cannot be kept: half of the request is still unsent. */
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
