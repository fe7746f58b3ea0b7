import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, errorCodeOf, StepError } from '../../core/errors.ts'
import type { SocketAddress } from './address.ts'
import { openForward } from './forward.ts'

/** HAProxy's runtime API: https://docs.haproxy.org/2.6/management.html, section 9.3. */
export interface Runtime {
  /** What HAProxy responds to one line of commands; a connection each, as the API closes it. */
  ask(line: string): Promise<string>
  close(): Promise<void>
}

/** milliseconds */
const TIMEOUT = 10_000
/** Bytes; the states of some twenty thousand servers. */
const LONGEST = 4 * 2 ** 20

export function openRuntime(
  name: string,
  address: SocketAddress,
  sshConfig: string | undefined,
): Runtime {
  const forward =
    address.kind === 'ssh' ? openForward(name, address, address.socket, sshConfig) : undefined
  const open = async (): Promise<Socket> => {
    if (address.kind === 'tcp') return connect({ host: address.host, port: address.port })
    return connect({ path: forward ? await forward.socket() : address.socket })
  }
  return {
    async ask(line) {
      const socket = await open()
      const timer = setTimeout(() => socket.destroy(new Error('does not answer in time')), TIMEOUT)
      try {
        await once(socket, 'connect')
        socket.write(`${line}\n`)
        const response = await answerOf(socket)
        if (response !== '') return response
        throw new Error('the connection was closed without an answer')
      } catch (error) {
        throw unreachable(name, address, error)
      } finally {
        clearTimeout(timer)
        socket.destroy()
      }
    },
    close: async () => forward?.close(),
  }
}

async function answerOf(socket: Socket): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > LONGEST) throw new Error(`its answer is longer than ${LONGEST} bytes`)
  }
  return Buffer.concat(chunks).toString()
}

function unreachable(name: string, { text: where }: SocketAddress, error: unknown): StepError {
  const code = errorCodeOf(error)
  const isDenied = code === 'EACCES'
  return new StepError(
    isDenied ? 'FORBIDDEN' : 'UNAVAILABLE',
    `${name} (${where}): ${isDenied ? 'this user may not open the socket' : describe(error)}`,
    {
      hint: isDenied
        ? "Add this user to the socket's group, or name one with `group` on its stats socket line."
        : 'See that HAProxy runs and has this `stats socket`, then run the command again.',
      cause: error,
    },
  )
}
