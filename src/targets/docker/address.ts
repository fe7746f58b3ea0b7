import { StepError } from '../../core/errors.ts'

/** `text`: as it was written, for people; there is no password in it. */
export type EngineAddress = { text: string } & (
  | { kind: 'unix'; socket: string }
  | { kind: 'tcp'; host: string; port: number | undefined }
  | { kind: 'ssh'; host: string; port: number | undefined; user: string | undefined }
)

/** Reads `unix:///path`, `tcp://host:port` or `ssh://user@host[:port]`; anything else is INPUT_INVALID. */
export function parseAddress(text: string): EngineAddress {
  const socket = /^unix:\/\/(\/[^\0]+)$/.exec(text)?.[1]
  if (socket) return { text, kind: 'unix', socket: fitting(socket) }
  const parts =
    /^(tcp|ssh):\/\/(?:([\w.][\w.-]*)@)?([\w][\w.-]*|\[[\da-f:]+\])(?::(\d{1,5}))?\/?$/i.exec(text)
  const [, kind, user, host, portText] = parts ?? []
  const port = portText === undefined ? undefined : Number(portText)
  if (host === undefined || (port !== undefined && (port < 1 || port > 65535)))
    throw unreadable(text)
  if (kind?.toLowerCase() === 'ssh') return { text, kind: 'ssh', host, port, user }
  if (user !== undefined) throw unreadable(text)
  return { text, kind: 'tcp', host: host.replace(/^\[|\]$/g, ''), port }
}

/** unix(7): sun_path holds 108 bytes with the closing zero; Node cuts a longer path silently. */
const LONGEST_SOCKET_PATH = 107

function fitting(socket: string): string {
  const length = Buffer.byteLength(socket)
  if (length <= LONGEST_SOCKET_PATH) return socket
  throw new StepError(
    'INPUT_INVALID',
    `the socket's path has ${length} bytes, and the system takes ${LONGEST_SOCKET_PATH}: ${socket}`,
    { hint: 'Name it through a symbolic link with a shorter path.' },
  )
}

function unreadable(text: string): StepError {
  return new StepError('INPUT_INVALID', `"${text}" is not the address of a Docker Engine`, {
    hint: 'Write unix:///var/run/docker.sock, tcp://host:2376 or ssh://user@host.',
  })
}

export const isLoopback = (ip: string) => ip.startsWith('127.') || ip === '::1'

/** A port that is published there is reached by any address of its host, also by loopback. */
export const isUnspecified = (ip: string) => ['', '0.0.0.0', '::'].includes(ip)
