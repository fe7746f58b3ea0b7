import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** `before`: the statement never arrives. `after`: it is carried out, and its answer is lost. */
export type CutMode = 'before' | 'after'

export interface CuttingProxy {
  port: number
  /** Statements seen since the last `arm`. */
  statements(): readonly string[]
  /** Cuts the connection at the n-th statement from now on; 0 cuts none. */
  arm(at: number, mode?: CutMode): void
  /** Takes no connection, and breaks those there are. */
  down(): void
  up(): void
}

const COM_QUERY = 3

/** Stands before a MySQL server and reads as much of its protocol as tells one statement from the next. */
export async function startCuttingProxy(t: Test, port: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>()
  let seen: string[] = []
  let cutAt = 0
  let how: CutMode = 'before'
  let isDown = false
  const breakAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  const proxy = createServer((client) => {
    if (isDown) {
      client.destroy()
      return
    }
    const server = connect(port, '127.0.0.1')
    let answerLost = false
    const cut = () => {
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.on('error', cut).on('close', () => {
        sockets.delete(socket)
        cut()
      })
    }
    let rest = Buffer.alloc(0)
    client.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes])
      for (;;) {
        const length = rest.length < 4 ? Infinity : rest.readUIntLE(0, 3)
        if (rest.length < 4 + length) return
        const packet = rest.subarray(0, 4 + length)
        rest = rest.subarray(4 + length)
        if (packet[3] === 0 && packet[4] === COM_QUERY) {
          seen.push(packet.toString('utf8', 5, 85))
          if (seen.length === cutAt) {
            if (how === 'before') return cut()
            answerLost = true
          }
        }
        server.write(packet)
      }
    })
    server.on('data', (bytes: Buffer) => {
      if (answerLost) cut()
      else client.write(bytes)
    })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    proxy.close()
    breakAll()
  })
  return {
    port: (proxy.address() as AddressInfo).port,
    statements: () => seen,
    arm(at, mode = 'before') {
      seen = []
      cutAt = at
      how = mode
    },
    down() {
      isDown = true
      breakAll()
    },
    up() {
      isDown = false
    },
  }
}
