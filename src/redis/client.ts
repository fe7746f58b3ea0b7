import type { Cluster, Redis, RedisOptions } from 'ioredis'
import { cancelled } from '../core/errors.ts'
import { wait } from '../core/retry.ts'
import type { RedisAddress } from './address.ts'
import { redisError } from './errors.ts'

export interface RedisConnection {
  /** PEM texts. */
  tls?: { ca?: string; cert?: string; key?: string } | undefined
  sentinelPassword?: string | undefined
  signal?: AbortSignal | undefined
}

/** A client whose connection is made when it is first needed, and made again after it broke. */
export interface Connected<Client> {
  /** Runs work on a connection that stands; faults are told with the store's name. */
  use<T>(work: (client: Client) => Promise<T>): Promise<T>
  close(): void
}

const CONNECT_TIMEOUT = 5000
const COMMAND_TIMEOUT = 30_000
/** Between tries to connect, in milliseconds. Sentinels need seconds to name a new master. */
const PAUSES = { short: [200, 500, 1000], long: [200, 500, 1000, 2000, 2000, 3000, 3000, 3000] }

export async function connectSingle(
  address: RedisAddress,
  name: string,
  connection: RedisConnection,
): Promise<Connected<Redis>> {
  const { default: ioredis } = await import('ioredis')
  const { nodes, socket, master, db, kind } = address
  const [node] = nodes
  const place: Omit<RedisOptions, 'replyMapping'> =
    kind === 'sentinel'
      ? {
          sentinels: nodes,
          name: master ?? '',
          sentinelRetryStrategy: () => null,
          ...(connection.sentinelPassword && { sentinelPassword: connection.sentinelPassword }),
          ...(address.tls && {
            enableTLSForSentinelMode: true,
            sentinelTLS: connection.tls ?? {},
          }),
        }
      : socket === undefined
        ? { host: node?.host ?? '', port: node?.port ?? 0 }
        : { path: socket }
  const client = new ioredis.Redis({ ...common(address, connection), ...place, db })
  const pauses = kind === 'sentinel' ? PAUSES.long : PAUSES.short
  return keep(client, name, pauses, connection.signal)
}

export async function connectCluster(
  address: RedisAddress,
  name: string,
  connection: RedisConnection,
): Promise<Connected<Cluster>> {
  const { default: ioredis } = await import('ioredis')
  const { lazyConnect, retryStrategy: _, ...redisOptions } = common(address, connection)
  const client = new ioredis.Cluster(address.nodes, {
    lazyConnect,
    redisOptions,
    clusterRetryStrategy: () => null,
    // Certificates name hosts, and the slots table names addresses.
    dnsLookup: (host, callback) => callback(null, host),
    slotsRefreshTimeout: CONNECT_TIMEOUT,
    retryDelayOnClusterDown: 200,
    maxRedirections: 8,
  })
  return keep(client, name, PAUSES.short, connection.signal)
}

/** A command is never sent again by itself: a WATCH would not have seen what happened between. */
function common(address: RedisAddress, { tls }: RedisConnection) {
  const { username, password } = address
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(address.tls && { tls: tls ?? {} }),
    // CLIENT SETINFO would be one more round trip, and a right more.
    disableClientInfo: true,
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT,
    commandTimeout: COMMAND_TIMEOUT,
    retryStrategy: () => null,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
  } satisfies RedisOptions
}

function keep<Client extends Redis | Cluster>(
  client: Client,
  name: string,
  pauses: readonly number[],
  signal: AbortSignal | undefined,
): Connected<Client> {
  let earlier: unknown
  // Without a listener ioredis writes to the console by itself.
  client.on('error', (error: unknown) => {
    earlier = error
  })
  const stop = () => client.disconnect()
  signal?.addEventListener('abort', stop, { once: true })
  const told = (error: unknown) =>
    signal?.aborted ? cancelled(signal) : redisError(name, error, earlier)

  const ready = async (): Promise<void> => {
    for (let attempt = 0; client.status !== 'ready'; attempt++) {
      if (signal?.aborted) throw cancelled(signal)
      try {
        await client.connect()
      } catch (error) {
        const fault = told(error)
        const pause = pauses[attempt]
        if (!fault.retryable || pause === undefined) throw fault
        await wait(pause, signal)
      }
    }
  }
  return {
    async use(work) {
      await ready()
      try {
        return await work(client)
      } catch (error) {
        throw told(error)
      }
    },
    close() {
      signal?.removeEventListener('abort', stop)
      client.disconnect()
    },
  }
}
