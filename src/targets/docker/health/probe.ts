import { once } from 'node:events'
import { type ClientRequest, get, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, errorCodeOf } from '../../../core/errors.ts'
import { isFound } from './body-pattern.ts'
import type { HttpCheck, StatusRange } from './check.ts'

export interface ProbeLimits {
  /** Milliseconds for a connection: a first packet that is lost is sent again only after 1 s. */
  connect: number
  /** milliseconds, all of them */
  request: number
  signal: AbortSignal | undefined
}

const MOST_BODY = 64 * 1024
/** docker-proxy accepts before the application listens, and closes then, in a millisecond or two. */
const OPEN_FOR = 200
const SUCCESS: readonly StatusRange[] = [[200, 299]]

/**
 * Asks by Node's own client, on a connection of its own: the first `fetch` of a Node 20 process
 * hangs when the connection is accepted and closed at once.
 * @returns what came instead of a good response; undefined when all is well
 */
export async function askHttp(
  address: string,
  { path, headers, statuses = SUCCESS, body }: HttpCheck,
  limits: ProbeLimits,
): Promise<string | undefined> {
  const deadline = Date.now() + limits.request
  // From its parts: whatever the path is, only the container is asked.
  const { pathname, search } = new URL(`http://container${path.startsWith('/') ? '' : '/'}${path}`)
  const target = { ...endpointOf(address), path: `${pathname}${search}` }
  const request = get({ ...target, agent: false, headers: { ...headers } })
  const end = limit(request, limits)
  try {
    request.once('socket', (socket) => limitConnecting(request, socket, limits.connect))
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const { statusCode = 0 } = response
    const isGood = statuses.some(([first, last]) => statusCode >= first && statusCode <= last)
    if (!isGood) return `HTTP ${statusCode}`
    if (body === undefined) return undefined
    const text = await startOf(response)
    const { signal } = limits
    return (await isFound(body, text, { within: deadline - Date.now(), signal }))
      ? undefined
      : `HTTP ${statusCode}, its body does not match /${body}/`
  } catch (error) {
    return errorCodeOf(error) ?? describe(error)
  } finally {
    end()
  }
}

/** A whole response, whatever it says, or why there is none. */
export async function ask(
  address: string,
  path: string,
  limits: ProbeLimits,
): Promise<{ status: number | undefined; error: string | undefined }> {
  const request = get({ ...endpointOf(address), path, agent: false })
  const end = limit(request, limits)
  try {
    request.once('socket', (socket) => limitConnecting(request, socket, limits.connect))
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    for await (const _ of response);
    return { status: response.statusCode, error: undefined }
  } catch (error) {
    return { status: undefined, error: describe(error) }
  } finally {
    end()
  }
}

/** Connects, and sees whether the connection stays open. */
export async function askTcp(address: string, limits: ProbeLimits): Promise<string | undefined> {
  const socket = connectTo(address)
  const end = limit(socket, limits)
  limitConnecting(socket, socket, limits.connect)
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise((resolve) => {
      socket.once('connect', () => {
        timer = setTimeout(resolve, OPEN_FOR, undefined)
      })
      socket.once('data', () => resolve(undefined))
      socket.once('error', (error) => resolve(errorCodeOf(error) ?? describe(error)))
      socket.once('close', () => resolve('the connection was closed at once'))
    })
  } finally {
    clearTimeout(timer)
    end()
  }
}

/** Whether anything takes connections there. */
export async function isTaken(address: string, limits: ProbeLimits): Promise<boolean> {
  const socket = connectTo(address)
  const end = limit(socket, limits)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    end()
  }
}

function connectTo(address: string): Socket {
  return connect(endpointOf(address))
}

function endpointOf(address: string): { host: string; port: number } {
  const { hostname, port } = new URL(address)
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) }
}

/** Destroys the connection when its time is over or the signal fires, and in the end. */
function limit(connection: ClientRequest | Socket, { request, signal }: ProbeLimits): () => void {
  connection.on('error', () => {})
  const late = new Error(`no response within ${request / 1000} s`)
  const timer = setTimeout(() => connection.destroy(late), request)
  const cancel = () => connection.destroy(new Error('cancelled'))
  if (signal?.aborted) cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  return () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', cancel)
    connection.destroy()
  }
}

function limitConnecting(connection: ClientRequest | Socket, socket: Socket, limit: number): void {
  if (!socket.connecting) return
  const late = new Error(`no connection within ${limit / 1000} s`)
  const timer = setTimeout(() => connection.destroy(late), limit)
  for (const event of ['connect', 'close']) socket.once(event, () => clearTimeout(timer))
}

async function startOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length >= MOST_BODY) break
  }
  return Buffer.concat(chunks).toString('utf8', 0, Math.min(length, MOST_BODY))
}
