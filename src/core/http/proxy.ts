import { BlockList, isIP } from 'node:net'
import { isLoopback } from './loopback.ts'

/** As in HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
export interface Proxies {
  http?: string | undefined
  https?: string | undefined
  except?: string | undefined
}

/** The proxies that the usual variables name, in either spelling. */
export function proxiesOf(variables: Readonly<Record<string, string | undefined>>): Proxies {
  const find = (name: string) => variables[name] ?? variables[name.toLowerCase()]
  const [http, https, except] = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'].map(find)
  return { http, https, except }
}

/** The proxy that leads to a URL, if one does. Loopback is never proxied. */
export function proxyFor(url: URL, proxies: Proxies | undefined): string | undefined {
  const proxy = url.protocol === 'https:' ? proxies?.https : proxies?.http
  if (!proxy || isLoopback(url.hostname)) return undefined
  const exceptions = (proxies?.except ?? '').split(/[\s,]+/).filter((entry) => entry !== '')
  return exceptions.some((entry) => covers(entry.toLowerCase(), url)) ? undefined : proxy
}

/** `*`, a host or domain (with all below it), an address or a network; each but the last with a port. */
function covers(entry: string, { hostname, port, protocol }: URL): boolean {
  if (entry === '*') return true
  const host = hostname.replace(/^\[|\]$/g, '')
  if (entry.includes('/')) return inNetwork(entry, host)
  const [, name = '', asked] = /^(.*?)(?::(\d+))?$/.exec(isIP(entry) ? `[${entry}]` : entry) ?? []
  const own = port || (protocol === 'https:' ? '443' : '80')
  if (asked !== undefined && asked !== own) return false
  const domain = name.replace(/^\[|\]$/g, '').replace(/^\*?\./, '')
  return host === domain || (isIP(host) === 0 && host.endsWith(`.${domain}`))
}

function inNetwork(entry: string, host: string): boolean {
  const [network = '', bits = ''] = entry.split('/')
  const family = isIP(network)
  const length = Number(bits)
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits)) return false
  if (length > (family === 4 ? 32 : 128)) return false
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const list = new BlockList()
  list.addSubnet(network, length, type)
  return list.check(host, type)
}
