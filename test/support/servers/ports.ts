import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/**
 * Below those that Linux gives to whoever wants any port (32768 to 60999 by default): a connection
 * of another test would take one of these before a server listens there.
 */
const FIRST = 20_000
const LAST = 32_000

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST))
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
  throw new Error(`no port from ${FIRST} to ${LAST} is free`)
}

/** Rejects unless something listens at this port of 127.0.0.1. */
export async function reach(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
}
