import { isIP } from 'node:net'
import { StepError } from '../core/errors.ts'
import { NAME } from '../core/settings/schema.ts'
import type { ProxyServer, ResponseCounts, ServerMode, ServerState } from '../targets/proxy.ts'

/** What becomes of one server. */
export interface Change {
  server: ProxyServer
  mode?: ServerMode
  /** percent, 1 to 100 */
  weight?: number
}

/** What one kind of proxy can do; the order of things, and the waiting, is in traffic.ts. */
export interface Driver {
  readonly name: string
  readonly isWeighted: boolean
  /** Whether it tells a server that somebody took out from one that is down. */
  readonly tellsOut: boolean
  /** Whether the proxy checks its servers itself; else `up` is undefined. */
  readonly checks: boolean
  /** The state of each server, in their order. */
  read(): Promise<ServerState[]>
  /** In this order, or at once where the proxy can; back once the proxy works by it. */
  change(changes: readonly Change[]): Promise<void>
  /** How many requests the server may still have; undefined where the proxy cannot tell. */
  pending(server: ProxyServer): Promise<number | undefined>
  /** See ReverseProxy. */
  check?(): Promise<string | undefined>
  /** See ReverseProxy. */
  repair?(): Promise<string | undefined>
  /** See ReverseProxy. */
  responses?(server: ProxyServer): Promise<ResponseCounts | undefined>
  close(): Promise<void>
}

/** For people and for names in a proxy's configuration: `app-01-2`, or `app-01` with one port. */
export function serverName({ host, slot }: ProxyServer): string {
  return slot === undefined ? host : `${host}-${slot}`
}

/** As in a URL: IPv6 in brackets. */
export function endpointOf({ address, port }: ProxyServer): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`
}

/** They go into configuration and commands: INPUT_INVALID for what is no name, address or port. */
export function checkServers(servers: readonly ProxyServer[]): void {
  const names = new Set<string>()
  for (const server of servers) {
    const { host, slot, address, port } = server
    const isAddress = isIP(address) !== 0 || /^[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?$/.test(address)
    const isSlot = slot === undefined || (Number.isInteger(slot) && slot >= 1)
    const isPort = Number.isInteger(port) && port >= 1 && port <= 65_535
    if (!NAME.test(host) || !isAddress || !isSlot || !isPort) {
      const shown = JSON.stringify(server)
      throw new StepError('INPUT_INVALID', `${shown} is no server for a proxy`, {
        hint: 'Give the host a name, an IP address or host name, and ports from 1 to 65535.',
      })
    }
    for (const name of [serverName(server), endpointOf(server)]) {
      if (!names.has(name)) names.add(name)
      else throw new StepError('INPUT_INVALID', `two servers of the proxy are ${name}`)
    }
  }
}
