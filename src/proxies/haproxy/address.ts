import { StepError } from '../../core/errors.ts'
import type { SshDestination } from '../../core/process/ssh.ts'

/** Where HAProxy's runtime API is. `text`: as it was written, for people; no password is in it. */
export type SocketAddress = { text: string } & (
  | { kind: 'unix'; socket: string }
  | { kind: 'tcp'; host: string; port: number }
  | ({ kind: 'ssh'; socket: string } & SshDestination)
)

const UNIX = /^unix:\/\/(\/[\w.@+/-]+)$/
const TCP = /^tcp:\/\/([\w][\w.-]*|\[[\da-f:]+\]):(\d{1,5})$/i
const SSH = /^ssh:\/\/(?:([\w.][\w.-]*)@)?([\w][\w.-]*)(?::(\d{1,5}))?(\/[\w.@+/-]+)$/i

/** Reads `unix:///path`, `tcp://host:port` or `ssh://user@host[:port]/path`, else INPUT_INVALID. */
export function parseSocketAddress(text: string): SocketAddress {
  const [, socket] = UNIX.exec(text) ?? []
  if (socket !== undefined) return { text, kind: 'unix', socket }
  const [, tcpHost, tcpPort] = TCP.exec(text) ?? []
  if (tcpHost !== undefined && isPort(tcpPort)) {
    return { text, kind: 'tcp', host: tcpHost.replace(/^\[|\]$/g, ''), port: Number(tcpPort) }
  }
  const [, user, host, port, path] = SSH.exec(text) ?? []
  if (host !== undefined && path !== undefined && (port === undefined || isPort(port))) {
    const number = port === undefined ? undefined : Number(port)
    return { text, kind: 'ssh', socket: path, host, port: number, user }
  }
  throw new StepError('INPUT_INVALID', `"${text}" is not the address of a runtime API`, {
    hint: 'Write unix:///run/haproxy/admin.sock, tcp://lb-01:9999 or ssh://user@lb-01/run/haproxy/admin.sock.',
  })
}

const isPort = (text: string | undefined) => Number(text) >= 1 && Number(text) <= 65535
