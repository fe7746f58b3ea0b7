import { isIPv6 } from 'node:net'
import { resolve } from 'node:path'
import type { StoreAddress } from '../../config/store/address.ts'
import { realPath } from '../../core/git/checkout.ts'
import { formatRepository, type Repository } from '../../registry/reference.ts'
import type { HostAddress } from '../../settings.ts'

type EngineAddress = HostAddress['address']

/** Engines answer on both, without TLS and with it. */
const ENGINE_PORTS = [2375, 2376]

/** Whether two addresses may reach one engine; names that DNS gives one address are not known here. */
export function isSameEngine(one: EngineAddress, other: EngineAddress): boolean {
  if (one.kind === 'unix' || other.kind === 'unix') {
    return one.kind === 'unix' && other.kind === 'unix' && one.socket === other.socket
  }
  if (hostOf(one.host) !== hostOf(other.host)) return false
  // By ssh a machine is entered, whatever port its engine has.
  if (one.kind === 'ssh' || other.kind === 'ssh') return true
  const ports = [one.port ?? 2375, other.port ?? 2375]
  return ports[0] === ports[1] || ports.every((port) => ENGINE_PORTS.includes(port))
}

export function isSameRepository(one: Repository, other: Repository): boolean {
  return repositoryOf(one) === repositoryOf(other)
}

const repositoryOf = ({ registry, name }: Repository) =>
  formatRepository({ registry: registry.toLowerCase().replace(/\.?(?::(?:443|80))?$/, ''), name })

/** Whether values of one config centre are, or may be, values of the other. */
export function isSameStore(one: StoreAddress, other: StoreAddress, folder: string): boolean {
  if (one.kind === 'file' && other.kind === 'file') {
    return realPath(resolve(folder, one.path)) === realPath(resolve(folder, other.path))
  }
  if (one.kind === 'redis' && other.kind === 'redis') {
    const shared = meet(redisNodes(one.redis), redisNodes(other.redis))
    return shared && one.redis.db === other.redis.db
  }
  if (one.kind === 'etcd' && other.kind === 'etcd') {
    const [first, second] = [`${one.etcd.prefix}/`, `${other.etcd.prefix}/`]
    const isWithin = first.startsWith(second) || second.startsWith(first)
    return isWithin && meet(one.etcd.hosts.map(nodeOf), other.etcd.hosts.map(nodeOf))
  }
  return false
}

type Redis = Extract<StoreAddress, { kind: 'redis' }>['redis']

const redisNodes = ({ socket, nodes }: Redis) =>
  socket === undefined ? nodes.map(({ host, port }) => `${hostOf(host)}:${port}`) : [socket]

const nodeOf = (member: string) => {
  const at = member.lastIndexOf(':')
  return `${hostOf(member.slice(0, at))}${member.slice(at)}`
}

const meet = (some: readonly string[], others: readonly string[]) =>
  some.some((each) => others.includes(each))

/** One text for all that one host may be written as: `APP-01.`, `10.1` for 10.0.0.1, `[::1]`. */
function hostOf(written: string): string {
  const bare = written.replace(/^\[|\]$/g, '').toLowerCase()
  const url = `http://${isIPv6(bare) ? `[${bare}]` : bare}`
  const found = URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, '') : bare
  const [, high, low] = /^::ffff:([\da-f]+):([\da-f]+)$/.exec(found) ?? []
  if (high !== undefined && low !== undefined) return mapped(high, low)
  const name = found.replace(/\.$/, '')
  return LOOPBACK.test(name) ? 'localhost' : name
}

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|::1)$/

/** An IPv4 address that is written as an IPv6 one. */
function mapped(high: string, low: string): string {
  const parts = [high, low].map((part) => Number.parseInt(part, 16))
  return hostOf(parts.flatMap((part) => [part >> 8, part & 255]).join('.'))
}
