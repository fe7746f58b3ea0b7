import type { ClientRequest, IncomingMessage } from 'node:http'
import { cancelled } from '../errors.ts'

/** In milliseconds. */
export interface Timeouts {
  /** Until a connection stands, TLS with it. */
  connect: number
  /** Of no byte either way, until the response begins. */
  response: number
  /** Of no byte of a response that has begun. */
  idle: number
}

/** Some registries store a blob anew after its last byte, and only then respond. */
const TIMEOUTS: Timeouts = { connect: 10_000, response: 300_000, idle: 60_000 }

/** The response's head, within the time limits; they and the signal hold for its body too. */
export function awaitResponse(
  request: ClientRequest,
  signal: AbortSignal,
  limits: Partial<Timeouts> = {},
): Promise<IncomingMessage> {
  const timeouts = { ...TIMEOUTS, ...limits }
  let response: IncomingMessage | undefined
  return new Promise((resolve, reject) => {
    const end = (error: Error) => {
      ;(response ?? request).destroy(error)
      // A request that still waits for its connection emits nothing when it is destroyed.
      reject(error)
    }
    const stop = () => end(cancelled(signal))
    signal.addEventListener('abort', stop, { once: true })
    limitConnecting(request, timeouts.connect, end)
    request.setTimeout(timeouts.response)
    request.on('timeout', () => {
      // With bytes waiting here the pause is our own: a slow target holds up the source.
      if (response && response.readableLength > 0) request.setTimeout(timeouts.idle)
      else end(timedOut(response ? 'the answer stopped in the middle' : 'no answer came'))
    })
    request.on('error', reject)
    request.once('close', () => {
      signal.removeEventListener('abort', stop)
      // After "101 Switching Protocols" there is neither a response nor an error.
      reject(Object.assign(new Error('it ended without an answer'), { code: 'ECONNRESET' }))
    })
    request.once('response', (message) => {
      response = message
      // The reader of the body gets it; an error that nobody reads must not end the process.
      message.on('error', () => {})
      request.setTimeout(timeouts.idle)
      resolve(message)
    })
  })
}

/** A connection through a proxy stands when its socket comes: see `limitTunnel`. */
function limitConnecting(
  request: ClientRequest,
  milliseconds: number,
  end: (error: Error) => void,
): void {
  request.once('socket', (socket) => {
    if (!socket.connecting) return
    const timer = setTimeout(() => end(timedOut('no connection')), milliseconds)
    const connected = () => clearTimeout(timer)
    socket.once(request.protocol === 'https:' ? 'secureConnect' : 'connect', connected)
    request.once('close', connected)
  })
}

interface TunnelAgent {
  connectOpts: object
  connect(...given: never[]): Promise<unknown>
}

/** Ends the socket to a proxy that does not open the way: the agent itself would wait for good. */
export function limitTunnel(agent: TunnelAgent, milliseconds = TIMEOUTS.connect): void {
  const { connectOpts } = agent
  const connect = agent.connect.bind(agent)
  agent.connect = async (...given) => {
    const stop = new AbortController()
    const timer = setTimeout(() => stop.abort(timedOut('no connection')), milliseconds)
    try {
      // It is read at once, before anything is awaited.
      agent.connectOpts = { ...connectOpts, signal: stop.signal }
      return await connect(...given)
    } catch (error) {
      throw stop.signal.aborted ? stop.signal.reason : error
    } finally {
      clearTimeout(timer)
    }
  }
}

function timedOut(message: string): Error {
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' })
}
