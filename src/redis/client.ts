import type { Cluster, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import type { TlsTexts } from '../core/files/tls-files.ts'
import type { RedisAddress } from './address.ts'
import { isSelectError } from './errors.ts'

/** What a connection needs beside the address. Holds a password: never print it. */
export interface RedisAccess {
  tls?: TlsTexts | undefined
  sentinelPassword?: string | undefined
}

/**
 * How a client retries and how long it waits; its place and its credentials come from the address.
 */
export type RedisBehaviour = Omit<RedisOptions, 'replyMapping' | 'host' | 'port' | 'path' | 'db'>
export type ClusterBehaviour = Omit<ClusterOptions, 'redisOptions' | 'dnsLookup'>

/** In milliseconds. */
export const CONNECT_TIMEOUT = 5000

/**
 * A client of one server: reached by TCP, by a socket, or as the master that the Sentinels name.
 */
export async function createRedis(
  address: RedisAddress,
  access: RedisAccess,
  behaviour: RedisBehaviour,
): Promise<Redis> {
  const { default: ioredis } = await import('ioredis')
  const place = placeOf(address, access)
  const options = { ...common(address, access), ...behaviour, ...place, db: address.db }
  const client = new ioredis.Redis(options)
  // ioredis itself goes on with database 0 when it did not get the one of the address.
  client.on('error', (error: unknown) => {
    if (isSelectError(error)) client.disconnect(true)
  })
  return client
}

/** A client of a cluster; `behaviour` is that of the connection to each node. */
export async function createCluster(
  address: RedisAddress,
  access: RedisAccess,
  behaviour: RedisBehaviour,
  cluster: ClusterBehaviour,
): Promise<Cluster> {
  const { default: ioredis } = await import('ioredis')
  return new ioredis.Cluster(address.nodes, {
    ...cluster,
    redisOptions: { ...common(address, access), ...behaviour },
    // Certificates name hosts, and the slots table names addresses.
    dnsLookup: (host, callback) => callback(null, host),
  })
}

function common({ username, password, tls }: RedisAddress, access: RedisAccess): RedisBehaviour {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: access.tls ?? {} }),
    connectTimeout: CONNECT_TIMEOUT,
  }
}

function placeOf(
  { kind, nodes, socket, master, tls }: RedisAddress,
  access: RedisAccess,
): Omit<RedisOptions, 'replyMapping'> {
  if (kind === 'sentinel') {
    return {
      sentinels: nodes,
      name: master ?? '',
      ...(access.sentinelPassword && { sentinelPassword: access.sentinelPassword }),
      ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: access.tls ?? {} }),
    }
  }
  if (socket !== undefined) return { path: socket }
  const [node] = nodes
  return { host: node?.host ?? '', port: node?.port ?? 0 }
}
