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
  const end = (error: Error) => void (response ?? request).destroy(error)
  const stop = () => end(cancelled(signal))
  signal.addEventListener('abort', stop, { once: true })
  request.once('close', () => signal.removeEventListener('abort', stop))
  limitConnecting(request, timeouts.connect)
  request.setTimeout(timeouts.response)
  request.on('timeout', () => {
    // With bytes waiting here the pause is our own: a slow target holds up the source.
    if (response && response.readableLength > 0) request.setTimeout(timeouts.idle)
    else end(timedOut(response ? 'the answer stopped in the middle' : 'no answer came'))
  })
  return new Promise((resolve, reject) => {
    request.on('error', reject)
    request.once('response', (message) => {
      response = message
      // The reader of the body gets it; an error that nobody reads must not end the process.
      message.on('error', () => {})
      request.setTimeout(timeouts.idle)
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
